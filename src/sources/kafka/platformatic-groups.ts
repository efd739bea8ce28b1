import { parseName } from '../../support/names.js'
import { append } from '../shared/groups.js'
import {
  addOffsets,
  fieldsOf,
  index,
  isFailure,
  list,
  map,
  name,
  parseSubscriptions,
  topicsIn,
  withKnown,
  type Consumers,
  type Failure,
  type Group,
  type Offset,
  type Offsets,
} from './answer.js'
import { sendRequest, type PlatformaticAdmin } from './clients.js'
import { rowsOf } from './errors.js'
import { Batches, isLongTurn, Parts, pause, UNANSWERED, type Deadline } from './parts.js'

/** A group in the list of groups. */
interface Listed {
  readonly hasMembers: boolean
  /** Whether its members can be asked for their subscriptions. */
  readonly hasSubscriptions: boolean
}

type Commits = ReadonlyMap<string, Offsets | Failure>

/** Reads groups through `@platformatic/kafka`. */
export class PlatformaticGroups {
  shareGroups: readonly string[] = []
  private listed: ReadonlyMap<string, Listed> = new Map()
  /** Why the list is outdated, if it is. */
  private listError: unknown
  private readonly subscriptions = new Map<string, readonly string[]>()
  /** The broker that each group is asked at. The client finds it by itself: this one is only for grouping the questions. */
  private readonly coordinators = new Map<string, number | Failure>()
  private readonly listing = new Parts<null, ReadonlyMap<string, Listed>>(() => this.askList())
  private readonly finding = new Batches<string, void>((groups) => this.findCoordinators(groups))
  private readonly reading = new Batches<string, Commits>((groups) => this.askCommits(groups))
  private readonly describing = new Batches<string, void>((groups, key) =>
    this.describe(groups, parseInt(key)),
  )

  constructor(private readonly admin: PlatformaticAdmin) {}

  /** Renews the list of groups. Returns why that is not possible. The last list then stays. */
  async list(deadline: Deadline): Promise<unknown> {
    if (!this.admin.listGroups) return new Error('the admin client has no listGroups')
    const { answer, error } = await this.listing.readOne(null, deadline)
    if (answer) this.listed = answer
    return (this.listError = error)
  }

  /** Reads groups. Default: those in the list, and those of the last read. */
  async read(
    names: readonly string[] | undefined,
    last: Consumers,
    brokers: ReadonlySet<number>,
    deadline: Deadline,
  ): Promise<ReadonlyMap<string, Group | Failure>> {
    const groups = new Map<string, Group | Failure>()
    const wanted = names ?? withKnown(this.listed.keys(), last)
    await this.readCoordinators(wanted, deadline)
    const parts = new Map<string, string[]>()
    for (const group of wanted) {
      const found = this.coordinators.get(group) ?? ''
      if (typeof found === 'object') groups.set(group, found)
      else if (found === '' || brokers.has(found)) append(parts, `${found}`, group)
      else groups.set(group, { error: new Error(`its coordinator, broker ${found}, is missing`) })
    }
    const [batches] = await Promise.all([
      this.reading.read(parts, deadline),
      this.describing.read(this.joined(parts), deadline),
    ])
    for (const [some, { answer, error }] of batches) {
      for (const group of some) groups.set(group, answer ? this.toGroup(group, answer) : { error })
      if (isLongTurn()) await pause()
    }
    for (const group of this.coordinators.keys()) {
      // That of a group that could not be read can have changed.
      if (isFailure(groups.get(group) ?? UNANSWERED)) this.coordinators.delete(group)
    }
    return groups
  }

  /** Finds the coordinators of groups that are new. */
  private async readCoordinators(wanted: readonly string[], deadline: Deadline): Promise<void> {
    const unknown = wanted.filter((group) => !this.coordinators.has(group))
    if (unknown.length === 0 || !this.admin.findCoordinator) return
    for (const [some, outcome] of await this.finding.read(new Map([['', unknown]]), deadline)) {
      const { error = UNANSWERED.error } = outcome
      for (const group of some) {
        if (!this.coordinators.has(group)) this.coordinators.set(group, { error })
      }
    }
  }

  private async findCoordinators(groups: readonly string[]): Promise<void> {
    const asking = this.admin.findCoordinator?.({ keyType: 0, keys: [...groups] })
    const { rows, errorAt } = await rowsOf(asking, 'coordinators')
    for (const [i, row] of rows.entries()) {
      const { key, nodeId } = fieldsOf(row)
      const error = errorAt(`/coordinators/${i}`)
      const found = error === undefined ? index(nodeId, 'nodeId') : { error }
      this.coordinators.set(name(key, 'key'), found)
    }
  }

  private async askList(): Promise<ReadonlyMap<string, Listed>> {
    // Without types, only groups of the classic protocol are listed.
    const groups = await this.admin.listGroups?.({ types: [] })
    const listed = new Map<string, Listed>()
    const shareGroups: string[] = []
    for (const [key, row] of map(groups, 'groups')) {
      const { state, groupType, protocolType } = fieldsOf(row)
      const group = parseName(typeof key === 'string' ? key : undefined)
      if (group === undefined) continue
      const hasMembers = !/^(empty|dead)$/i.test(String(state))
      const hasSubscriptions = hasMembers && groupType === 'classic' && protocolType === 'consumer'
      if (groupType === 'share') shareGroups.push(group)
      else listed.set(group, { hasMembers, hasSubscriptions })
    }
    this.shareGroups = shareGroups
    return listed
  }

  private async askCommits(groups: readonly string[]): Promise<Commits> {
    const commits = new Map<string, Offsets | Failure>()
    const asking = this.admin.listConsumerGroupOffsets({ groups: [...groups] })
    const { rows, errorAt } = await rowsOf(asking, 'groups')
    for (const [i, row] of rows.entries()) {
      const { groupId, topics } = fieldsOf(row)
      const error = errorAt(`/groups/${i}`)
      const found = error === undefined ? parseCommits(topics) : { error }
      commits.set(name(groupId, 'groupId'), found)
      if (isLongTurn()) await pause()
    }
    return commits
  }

  /** A group that is not in the answer has no commits. */
  private toGroup(group: string, answer: Commits): Group | Failure {
    const commits = answer.get(group) ?? new Map<string, Offset[]>()
    if (isFailure(commits)) return commits
    const membersError = this.listError
    const isListed = this.admin.listGroups && membersError === undefined ? false : undefined
    const { hasMembers = isListed } = this.listed.get(group) ?? {}
    return { commits, hasMembers, membersError, subscribed: this.subscriptions.get(group) ?? [] }
  }

  /** Returns the groups whose members can be asked for their subscriptions. Forgets the subscriptions of all others. */
  private joined(parts: ReadonlyMap<string, readonly string[]>): Map<string, readonly string[]> {
    const canJoin = (group: string) => this.listed.get(group)?.hasSubscriptions
    for (const group of this.subscriptions.keys()) {
      if (!canJoin(group)) this.subscriptions.delete(group)
    }
    return new Map([...parts].map(([key, groups]) => [key, groups.filter(canJoin)]))
  }

  /**
   * Reads what the members of groups have subscribed to, at their coordinator. If that is not possible, the last
   * subscriptions stay. `describeGroups` of the client is not used: it ends the process for a group that has a member
   * without partitions (seen with 1.35.0).
   */
  private async describe(groups: readonly string[], coordinator: number): Promise<void> {
    try {
      const asking = sendRequest(this.admin, coordinator, 'DescribeGroups', groups, false)
      const { rows } = await rowsOf(asking, 'groups')
      for (const row of rows) {
        const { groupId, members } = fieldsOf(row)
        const topics = parseSubscriptions(list(members, 'members'))
        this.subscriptions.set(name(groupId, 'groupId'), topics)
      }
    } catch {
      // The commits of these groups are read in any case.
    }
  }
}

function parseCommits(topics: unknown): Offsets {
  const commits = new Map<string, Offset[]>()
  for (const [, topic, rows] of topicsIn(list(topics, 'topics'))) {
    addOffsets(commits, topic, rows, ['partitionIndex', 'committedOffset'])
  }
  return commits
}
