import { hasMethods } from '../../support/option-errors.js'
import {
  fieldsOf,
  isFailure,
  pause,
  topicsOf,
  type Cluster,
  type Deadline,
  type Failure,
  type Group,
  type KafkaClient,
  type Offsets,
  type Question,
  type Topic,
} from './answer.js'
import { isAboutMetadata, isUnreachable } from './errors.js'
import { askHalves, halvesOf } from './halves.js'
import {
  countPartitions,
  parseCommits,
  parseGroups,
  parseLogs,
  parseMembers,
  type Members,
} from './kafkajs-answers.js'
import { Parts } from './parts.js'

/** What is used of an admin client of `kafkajs`, 2.2 or newer. */
export interface KafkajsAdmin {
  /** Does nothing while it is connected. */
  connect(): Promise<unknown>
  fetchOffsets(question: { groupId: string }): Promise<unknown>
  fetchTopicOffsets(topic: string): Promise<unknown>
  listGroups(): Promise<unknown>
  describeGroups?(groups: string[]): Promise<unknown>
  fetchTopicMetadata?(question: { topics: string[] }): Promise<unknown>
  disconnect?(): Promise<unknown>
}

export function isKafkajs(admin: unknown): admin is KafkajsAdmin {
  return hasMethods(admin, 'connect', 'fetchOffsets', 'fetchTopicOffsets', 'listGroups')
}

/** Its offsets end at the last stable one: it can ask for no other. */
export class KafkajsClient implements KafkaClient {
  private admin: KafkajsAdmin | undefined
  private isOutdated = false
  private listed: readonly string[] = []
  /** Topics that were read the last time, and those that could not be. */
  private readable: ReadonlySet<string> = new Set()
  private doubtful: ReadonlySet<string> = new Set()
  private refreshing: Promise<unknown> | undefined
  private seeding: Promise<void> | undefined
  private readonly listing = new Parts<boolean, readonly string[]>((all) => this.askList(all))
  private readonly commits = new Parts<null, Offsets>((_, group) => this.askCommits(group))
  private readonly members = new Parts<readonly string[], ReadonlyMap<string, Members>>((groups) =>
    this.askMembers(groups),
  )
  private readonly checks = new Parts<readonly string[], unknown>((topics) => this.check(topics))
  private readonly logs = new Parts<number, Topic>((partitions, topic) =>
    this.askLogs(topic, partitions),
  )

  /** @param source a client, or a function that creates one. Then it is closed after each read, and replaced if needed. */
  constructor(private readonly source: KafkajsAdmin | (() => KafkajsAdmin)) {
    if (typeof source !== 'function') this.admin = source
  }

  async read(question: Question, deadline: Deadline): Promise<Cluster> {
    const { source } = this
    if (typeof source !== 'function') return this.readCluster(question, deadline)
    if (this.isOutdated) this.admin = undefined
    this.isOutdated = false
    const admin = (this.admin ??= source())
    try {
      return await this.readCluster(question, deadline)
    } finally {
      await this.close(admin)
    }
  }

  /** Its timers would keep the process running. It waits for brokers that do not answer: then another client is needed. */
  private async close(admin: KafkajsAdmin): Promise<void> {
    const closing = admin.disconnect?.().catch(() => undefined)
    const isClosed = await Promise.race([closing?.then(() => true), pause()])
    if (!isClosed) this.isOutdated = true
  }

  private async readCluster(question: Question, deadline: Deadline): Promise<Cluster> {
    const parts = new Map([['groups', !question.groups]])
    const isAsked = !this.listing.isOpen('groups')
    const outcome = (await this.listing.read(parts, deadline)).get('groups')
    if (outcome?.answer) this.listed = outcome.answer
    else {
      if (isAsked) this.replaceAfter(outcome?.error)
      if (this.listed.length === 0) throw outcome?.error
    }
    const groups = await this.readGroups(question.groups ?? this.listed, deadline)
    const isAnyRead = groups.size === 0 || [...groups.values()].some((group) => !isFailure(group))
    if (!isAnyRead) return { groups, topics: new Map() }
    const topics = await this.readTopics(topicsOf(question, groups), groups, deadline)
    return { groups, topics, listFailure: question.groups ? undefined : outcome?.error }
  }

  private async readGroups(
    names: readonly string[],
    deadline: Deadline,
  ): Promise<Map<string, Group | Failure>> {
    const commits = await this.commits.read(new Map(names.map((name) => [name, null])), deadline)
    const groups = new Map<string, Group | Failure>()
    const read = [...commits].flatMap(([group, outcome]) => (isFailure(outcome) ? [] : [group]))
    await pause()
    const parts = new Map(read.length > 0 ? [['members', read]] : [])
    const described = await this.members.read(parts, deadline)
    const members = described.get('members')
    for (const [group, outcome] of commits) {
      const { hasMembers, subscribed = [] } = members?.answer?.get(group) ?? {}
      if (outcome.answer) groups.set(group, { commits: outcome.answer, hasMembers, subscribed })
      else {
        groups.set(group, outcome)
        this.replaceAfter(outcome.error)
      }
    }
    await pause()
    return groups
  }

  private async readTopics(
    names: readonly string[],
    groups: ReadonlyMap<string, Group | Failure>,
    deadline: Deadline,
  ): Promise<Map<string, Topic | Failure>> {
    const topics = await this.findUnreadable(names, deadline)
    const counts = countPartitions(groups)
    const parts = names.filter((topic) => !topics.has(topic))
    const logs = await this.logs.read(
      new Map(parts.map((topic) => [topic, counts.get(topic) ?? 0])),
      deadline,
    )
    for (const [topic, outcome] of logs) {
      topics.set(topic, outcome.answer ?? outcome)
      this.replaceAfter(outcome.error)
    }
    const isReadable = (topic: string) => !isFailure(topics.get(topic) ?? NONE)
    this.readable = new Set(names.filter(isReadable))
    this.doubtful = new Set(names.filter((topic) => !isReadable(topic)))
    return new Map(names.map((topic) => [topic, topics.get(topic) ?? NONE]))
  }

  /**
   * Finds topics whose metadata the client refuses, because a partition has no leader. Once it has been asked for the
   * offsets of
   * such a topic, it also refuses the metadata of all others.
   */
  private async findUnreadable(
    names: readonly string[],
    deadline: Deadline,
  ): Promise<Map<string, Topic | Failure>> {
    const found = new Map<string, Topic | Failure>()
    const added = names.filter((topic) => !this.readable.has(topic) && !this.doubtful.has(topic))
    const parts = new Map<string, readonly string[]>()
    for (const topic of names) if (this.doubtful.has(topic)) parts.set(topic, [topic])
    if (added.length > 0) parts.set('', added)
    let checks = await this.checks.read(parts, deadline)
    if (checks.get('')?.error !== undefined) {
      for (const topic of added) parts.set(topic, [topic])
      parts.delete('')
      checks = await this.checks.read(parts, deadline)
    }
    for (const [topic, { error }] of checks) {
      if (error !== undefined && topic !== '') found.set(topic, { error })
    }
    return found
  }

  private async askList(isWanted: boolean): Promise<readonly string[]> {
    await this.admin?.connect()
    if (!isWanted) return []
    return parseGroups(await this.ask((admin) => admin.listGroups()))
  }

  private async askCommits(group: string): Promise<Offsets> {
    const answer = await this.ask((admin) => admin.fetchOffsets({ groupId: group }))
    return parseCommits(answer)
  }

  private async askMembers(groups: readonly string[]): Promise<ReadonlyMap<string, Members>> {
    const describe = async (some: readonly string[]) =>
      parseMembers(await this.admin?.describeGroups?.([...some]))
    if (!this.admin?.describeGroups) return new Map()
    const { answers } = await askHalves(groups, halvesOf, describe)
    return new Map(answers.flatMap((answer) => [...answer]))
  }

  private async check(topics: readonly string[]): Promise<void> {
    await this.admin?.fetchTopicMetadata?.({ topics: [...topics] })
  }

  private async askLogs(topic: string, count: number): Promise<Topic> {
    const ask = async () => parseLogs(await this.admin?.fetchTopicOffsets(topic))
    const partitions = await ask().catch(async (error: unknown) => {
      if (fieldsOf(error)['type'] !== 'NOT_LEADER_FOR_PARTITION') throw error
      await this.refresh()
      return ask()
    })
    if (partitions.length >= count) return { partitions }
    await this.refresh()
    return { partitions: await ask() }
  }

  /** Partitions and their leaders are remembered for minutes. This is the call that looks them up again. */
  private async refresh(): Promise<void> {
    this.refreshing ??= this.admin?.listGroups().finally(() => (this.refreshing = undefined))
    await this.refreshing
  }

  /**
   * To learn the brokers, the client asks for all topics of the cluster, and refuses the answer if a partition of any has no
   * leader. Once it has been asked for the offsets of one topic, it asks only for that one.
   */
  private async ask<T>(question: (admin: KafkajsAdmin) => Promise<T>): Promise<T> {
    const admin = this.admin as KafkajsAdmin
    try {
      return await question(admin)
    } catch (error) {
      if (!isAboutMetadata(error)) throw error
      await (this.seeding ??= this.seed(admin).finally(() => (this.seeding = undefined)))
      return question(admin)
    }
  }

  private async seed(admin: KafkajsAdmin): Promise<void> {
    for (const topic of [...[...this.readable].slice(0, 5), '__consumer_offsets']) {
      try {
        await admin.fetchTopicMetadata?.({ topics: [topic] })
        await admin.fetchTopicOffsets(topic)
        return
      } catch {
        // Another topic may do.
      }
    }
  }

  /** Lets the next read create another client, if this one would fail again. */
  private replaceAfter(error: unknown): void {
    if (isAboutMetadata(error) || isUnreachable(error)) this.isOutdated = true
  }
}

const NONE: Failure = { error: undefined }
