import { parseName } from '../../support/names.js'
import {
  addOffsets,
  fieldsOf,
  findConsumers,
  isFailure,
  list,
  name,
  parseSubscriptions,
  topicsIn,
  withKnown,
  type Cluster,
  type Failure,
  type Group,
  type Offset,
  type Offsets,
  type Question,
} from './answer.js'
import type { KafkajsAdmin } from './clients.js'
import { isUnreachable } from './errors.js'
import { endAfterCalls } from './kafkajs-ended.js'
import { isAboutMetadata, KafkajsTopics } from './kafkajs-topics.js'
import {
  Batches,
  isLongTurn,
  Parts,
  pause,
  UNANSWERED,
  type Deadline,
  type KafkaClient,
  type Outcome,
} from './parts.js'

type Members = Omit<Group, 'commits'>
type Listed = Pick<Cluster, 'shareGroups'> & { readonly groups: readonly string[] }

/** @internal Its offsets end at the last stable one: it can ask for no other. */
export class KafkajsClient implements KafkaClient {
  private admin: KafkajsAdmin | undefined
  private isOutdated = true
  /** Clients that wait for brokers before they end. */
  private readonly closing = new Set<KafkajsAdmin>()
  private listed: Listed = { groups: [] }
  private consumers: Cluster['consumers'] = new Map()
  /** What the members of groups had subscribed to the last time. */
  private subscriptions: ReadonlyMap<string, readonly string[]> = new Map()
  private readonly connecting = new Parts<null, void>(async () => {
    await this.admin?.connect()
    await this.topics.seed()
  })
  private readonly listing = new Parts<null, Listed>(() => this.askList())
  private readonly commits = new Parts<null, Offsets>((_, group) => this.askCommits(group))
  private readonly members = new Batches<string, ReadonlyMap<string, Members>>(
    (groups) => this.askMembers(groups),
    Infinity,
  )
  private readonly topics = new KafkajsTopics((error) => {
    this.isOutdated ||= isUseless(error)
  })

  /** @param source a client, or a function that creates one. Then it is closed after each read, and replaced if needed. */
  constructor(private readonly source: KafkajsAdmin | (() => KafkajsAdmin)) {}

  async read(question: Question, deadline: Deadline): Promise<Cluster> {
    try {
      await this.connect(deadline)
      return await this.readCluster(question, deadline)
    } finally {
      await this.close()
    }
  }

  /** A client that is not connected asks only the first broker of its list, so another client is tried if that hangs. */
  private async connect(deadline: Deadline): Promise<void> {
    const { source } = this
    const isReplaceable = typeof source === 'function'
    for (let tries = 3; ; tries--) {
      if (!this.admin || (isReplaceable && this.isOutdated && this.closing.size < MAX_CLOSING)) {
        this.admin = isReplaceable ? endAfterCalls(source()) : source
        this.topics.use(this.admin)
        for (const parts of [this.connecting, this.listing, this.commits, this.members])
          parts.reopen()
      }
      const { error } = await this.connecting.readOne(null, deadline)
      this.isOutdated = isUseless(error)
      if (error === undefined) return
      if (tries === 1 || !isReplaceable || !isUseless(error)) throw error as Error
      void this.close()
    }
  }

  /** Its timers would keep the process running. It waits for brokers that do not answer: then another client is needed. */
  private async close(): Promise<void> {
    const { admin, closing } = this
    if (typeof this.source !== 'function' || !admin?.disconnect || closing.has(admin)) return
    closing.add(admin)
    const ending = admin.disconnect().catch(() => undefined)
    await Promise.race([ending.then(() => closing.delete(admin)), pause()])
    if (closing.has(admin)) this.isOutdated = true
  }

  private async readCluster(question: Question, deadline: Deadline): Promise<Cluster> {
    const listFailure = question.groups ? undefined : await this.list(deadline)
    const { shareGroups } = this.listed
    const names = question.groups ?? withKnown(this.listed.groups, this.consumers)
    const groups = await this.readGroups(names, deadline)
    const isAnyRead = groups.size === 0 || [...groups.values()].some((group) => !isFailure(group))
    const find = (isDenied: (topic: string) => boolean) =>
      findConsumers(question, groups, this.consumers, isDenied)
    const seen = find(() => false)
    const gone = [...this.consumers.keys()].filter((topic) => !seen.has(topic))
    const denied = await this.topics.findDenied(gone, deadline)
    const consumers = denied.size > 0 ? find((topic) => denied.has(topic)) : seen
    this.consumers = consumers
    if (!isAnyRead) return { groups, topics: new Map(), consumers }
    const wanted = question.topics ?? [...consumers.keys()]
    const topics = await this.topics.read(wanted, consumers, deadline)
    return { groups, topics, consumers, listFailure, ...(shareGroups && { shareGroups }) }
  }

  /** Renews the list of groups. Returns why that is not possible. The last list then stays. */
  private async list(deadline: Deadline): Promise<unknown> {
    const { answer, error } = await this.listing.readOne(null, deadline)
    this.isOutdated ||= isUseless(error)
    if (answer) this.listed = answer
    return error
  }

  private async readGroups(
    names: readonly string[],
    deadline: Deadline,
  ): Promise<Map<string, Group | Failure>> {
    const [commits, members] = await Promise.all([
      this.commits.read(new Map(names.map((name) => [name, null])), deadline),
      this.members.read(new Map([['', names]]), deadline),
    ])
    const groups = new Map<string, Group | Failure>()
    const subscriptions = new Map<string, readonly string[]>()
    for (const [some, { answer, error }] of members) {
      for (const group of some) {
        const outcome: Outcome<Offsets> = commits.get(group) ?? UNANSWERED
        const found = answer?.get(group) ?? unknown(error, this.subscriptions.get(group))
        subscriptions.set(group, found.subscribed)
        groups.set(group, outcome.answer ? toGroup(outcome.answer, found) : outcome)
        this.isOutdated ||= isUseless(outcome.error)
        if (isLongTurn()) await pause()
      }
    }
    this.subscriptions = subscriptions
    return groups
  }

  /** Asks a question. The client asks any broker, so another one may answer if one cannot be reached. */
  private async ask<T>(question: (admin: KafkajsAdmin) => Promise<T>): Promise<T> {
    const admin = this.admin as KafkajsAdmin
    try {
      return await question(admin)
    } catch (error) {
      if (!isUnreachable(error)) throw error
      return question(admin)
    }
  }

  private async askList(): Promise<Listed> {
    const answer = await this.ask((admin) => admin.listGroups())
    const [groups, shareGroups]: [string[], string[]] = [[], []]
    for (const row of list(fieldsOf(answer)['groups'], 'groups')) {
      const { groupId, protocolType } = fieldsOf(row)
      const all = protocolType === 'share' ? shareGroups : groups
      const group = parseName(groupId)
      if (group !== undefined) all.push(group)
    }
    return { groups, shareGroups }
  }

  private async askCommits(group: string): Promise<Offsets> {
    const topics = await this.ask((admin) => admin.fetchOffsets({ groupId: group }))
    const commits = new Map<string, Offset[]>()
    for (const [, topic, rows] of topicsIn(list(topics, 'topics'), 'topic')) {
      addOffsets(commits, topic, rows, ['partition', 'offset'])
    }
    return commits
  }

  private async askMembers(groups: readonly string[]): Promise<ReadonlyMap<string, Members>> {
    const found = new Map<string, Members>()
    const answer = await this.ask(async (admin) => admin.describeGroups?.([...groups]))
    if (answer === undefined) return found
    for (const row of list(fieldsOf(answer)['groups'], 'groups')) {
      const { groupId, state, protocolType, members } = fieldsOf(row)
      const rows = list(members, 'members')
      const subscribed = protocolType === 'consumer' ? parseSubscriptions(rows) : []
      const group = { hasMembers: rows.length > 0, subscribed }
      found.set(name(groupId, 'groupId'), state === 'Dead' ? DEAD : group)
    }
    return found
  }
}

function unknown(membersError?: unknown, subscribed: readonly string[] = []): Members {
  return { hasMembers: undefined, subscribed, membersError }
}

/** What the client finds for a group of the new protocol, and for one that does not exist. */
const DEAD = unknown(new Error('kafkajs cannot describe groups of the new protocol (KIP-848)'))

function toGroup(commits: Offsets, members: Members): Group {
  return { commits, ...(members === DEAD && commits.size === 0 ? unknown() : members) }
}

/** How many clients may wait before another one is created. */
const MAX_CLOSING = 3

/** Whether a client would fail again after this error. */
function isUseless(error: unknown): boolean {
  return error !== undefined && (isAboutMetadata(error) || isUnreachable(error))
}
