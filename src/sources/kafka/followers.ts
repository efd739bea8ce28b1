import { describeError } from '../../support/log.js'
import { append } from '../shared/groups.js'
import type { FollowerReading, ReplicationReading, ShardReading } from '../source.js'
import {
  isFailure,
  type Cluster,
  type Consumer,
  type Failure,
  type Partition,
  type Question,
  type Topic,
} from './answer.js'
import type { Copies } from './brokers.js'
import { epochOf, type Epochs } from './epochs.js'
import { describeFailure } from './errors.js'
import { isLongTurn, pause } from './parts.js'

/** A follower of one partition, as the `filter` option sees it. */
export interface KafkaFollower {
  /** The name that it is reported under: a group, or `broker/ID`. */
  readonly replica: string
  readonly topic: string
  readonly partition: number
}

/** @internal Turns what was found into a reading. */
export class Report {
  private readonly shards: ShardReading[] = []
  /** The descriptions of errors, and how often each was reported. */
  private readonly descriptions = new Map<unknown, string>()
  private readonly problems = new Map<string, number>()

  constructor(
    private readonly question: Question,
    private readonly cluster: Cluster,
    private readonly copiesOf: ((partition: Partition) => Copies) | undefined,
    private readonly epochs: Epochs,
    private readonly passes: ((follower: KafkaFollower) => boolean) | undefined,
  ) {}

  /** @throws Error if there are groups or topics, and none of them can be read. */
  async create(): Promise<ReplicationReading> {
    const { groups, topics, listFailure } = this.cluster
    if (listFailure !== undefined && groups.size === 0 && !this.copiesOf) throw listFailure as Error
    const failedGroups = failuresIn(groups)
    const failedTopics = failuresIn(topics)
    for (const [topic, found] of topics) {
      if (isFailure(found)) this.addUnknownTopic(topic, found)
      else await this.addTopic(topic, found)
    }
    const unlisted = listFailure === undefined ? [] : [describeOldList(listFailure)]
    // Without the list, members are not known either.
    const unread = listFailure === undefined ? this.unknownMembers() : []
    const unknown = describe(unread).map((each) => `members of ${each}`)
    // No topic can have a name with a space.
    this.addProblem('consumer groups', [...unlisted, ...describe(failedGroups), ...unknown])
    // What cannot be read is in the reading as it was last known, but for the brokers that copy a topic.
    const complete = unlisted.length + (this.copiesOf ? failedTopics.length : 0) === 0
    if (complete) this.epochs.keep(topics)
    const notes = this.notes()
    return { shards: this.shards, complete, ...(notes.length > 0 && { note: notes.join('; ') }) }
  }

  private unknownMembers(): Failures {
    const failures: [string, Failure][] = []
    for (const [name, group] of this.cluster.groups) {
      if (isFailure(group) || group.membersError === undefined) continue
      failures.push([name, { error: group.membersError }])
    }
    return failures
  }

  private async addTopic(topic: string, { id, partitions }: Topic): Promise<void> {
    const consumers = this.cluster.consumers.get(topic) ?? []
    const logs = this.epochs.logsOf(topic)
    for (const log of partitions) {
      const { partition, end, error } = log
      if (consumers.length > 0) {
        const followers = consumers.map((consumer) => toFollower(consumer, log))
        const epoch = end === undefined ? undefined : epochOf(logs.groups, partition, end, id)
        this.addShard(topic, partition, '', { end, error, followers }, epoch)
      }
      if (this.copiesOf) {
        const copies = this.copiesOf(log)
        const epoch =
          copies.end === undefined ? undefined : epochOf(logs.brokers, partition, copies.end, id)
        this.addShard(topic, partition, '/brokers', copies, epoch)
      }
      if (isLongTurn()) await pause()
    }
  }

  private addShard(
    topic: string,
    partition: number,
    suffix: string,
    { end, error, followers: all }: Copies,
    epoch?: string,
  ): void {
    const { passes } = this
    const followers = passes
      ? all.filter(({ replica }) => passes({ replica: String(replica), topic, partition }))
      : all
    if (followers.length === 0) return
    const shard = `${topic}/${partition}${suffix}`
    if (end !== undefined) this.shards.push({ shard, leaderSeqno: end, epoch, followers })
    else
      this.shards.push({ shard, followers: followers.map(disconnected), ...this.problemOf(error) })
  }

  /** Adds the partitions of a topic that were read before, or that groups have commits for. */
  private addUnknownTopic(topic: string, failure: Failure): void {
    const consumers = this.cluster.consumers.get(topic) ?? []
    const lists = [
      this.epochs.logsOf(topic).groups,
      ...consumers.map(({ offsets = [] }) => offsets),
    ]
    const partitions = new Set(lists.flatMap((each) => Object.keys(each)))
    for (const partition of consumers.length > 0 ? partitions : []) {
      const followers = consumers.map(({ replica }) => ({ replica }))
      this.addShard(topic, Number(partition), '', { ...failure, followers })
    }
    if (consumers.length === 0 || partitions.size === 0) {
      this.addProblem(topic, describe([[topic, failure]]))
    }
  }

  /** Describes why a partition cannot be read. Of many that a broker leads, only some are named. */
  private problemOf(error: unknown): { problem?: string } {
    let problem = this.descriptions.get(error)
    if (problem === undefined) {
      problem = `cannot be read: ${describeFailure(error)}`
      this.descriptions.set(error, problem)
    }
    const count = (this.problems.get(problem) ?? 0) + 1
    this.problems.set(problem, count)
    if (count > MAX_NAMED) return {}
    return { problem: count < MAX_NAMED ? problem : `${problem}. There are more such partitions` }
  }

  /** Adds what is wrong with something that is not in any shard, as a shard without followers. */
  private addProblem(shard: string, problems: readonly string[]): void {
    if (problems.length > 0)
      this.shards.push({ shard, followers: [], problem: problems.join('; ') })
  }

  /** Says why groups are not reported, although nothing is wrong. */
  private notes(): string[] {
    const silent = (this.question.groups ?? []).filter((name) => {
      const group = this.cluster.groups.get(name)
      return group && !isFailure(group) && group.commits.size + group.subscribed.length === 0
    })
    const { shareGroups = [] } = this.cluster
    return [
      ...(silent.length > 0 ? [`group ${listed(silent)}: ${SILENT}`] : []),
      ...(shareGroups.length > 0 ? [`group ${listed(shareGroups)}: ${SHARING}`] : []),
    ]
  }
}

const SILENT = 'no data: it has no commits, does not exist, or the user may not describe it'
const SHARING = 'it is a share group, which has no commits'
const LOST =
  'records were deleted before it consumed them: its commit is before the start of the log'
const AHEAD =
  'its commit is past the end of the log. The log may have lost records, the topic may have been created again or restored, or the commit may come from another cluster'

/** How many partitions with the same problem are named. */
const MAX_NAMED = 20

type Failures = readonly (readonly [name: string, failure: Failure])[]

/** @throws Error if there are only failures. */
function failuresIn(found: ReadonlyMap<string, object>): Failures {
  const failures: [string, Failure][] = []
  for (const [name, each] of found) if (isFailure(each)) failures.push([name, each])
  if (failures.length === 0 || failures.length < found.size) return failures
  throw new Error(describe(failures, describeError).join('; '))
}

/** Describes failures, those with the same reason together. */
function describe(failures: Failures, describeReason = describeFailure): string[] {
  const names = new Map<string, string[]>()
  for (const [name, { error }] of failures) append(names, describeReason(error), name)
  return [...names].map(([reason, all]) => `${listed(all)} cannot be read: ${reason}`)
}

function describeOldList(error: unknown): string {
  return `the list of groups is outdated: ${describeFailure(error)}`
}

function listed(names: readonly string[]): string {
  const others = names.length - 10
  return others > 0 ? `${names.slice(0, 10).join(', ')} and ${others} others` : names.join(', ')
}

function disconnected(follower: FollowerReading): FollowerReading {
  return { ...follower, connected: false }
}

function toFollower(
  { replica, hasMembers, offsets }: Consumer,
  { partition, start, end, highWatermark }: Partition,
): FollowerReading {
  if (!offsets) return { replica, connected: false }
  const offset = offsets[partition]
  const follower = hasMembers === false ? { replica, connected: false } : { replica }
  if (end === undefined) return follower
  // A client may read the start after the end.
  const first = start < end ? start : end
  if (offset === undefined || offset === -1n) return { ...follower, appliedSeqno: first }
  if (offset !== null && typeof offset === 'object') {
    const problem = `its commit cannot be read: ${describeFailure(offset.error)}`
    return { replica, connected: false, problem }
  }
  if (offset === null || offset < 0n) {
    const problem = `its commit is not an offset${offset === null ? '' : `: ${offset}`}`
    return { replica, diverged: true, problem }
  }
  if (offset > end) {
    // Past the last stable offset are records of open transactions, which some groups consume.
    const isAhead = highWatermark !== undefined && offset > highWatermark
    return isAhead ? { replica, diverged: true, problem: AHEAD } : follower
  }
  // What was deleted before it was consumed can no longer be consumed.
  return offset < first
    ? { ...follower, appliedSeqno: first, problem: LOST }
    : { ...follower, appliedSeqno: offset }
}
