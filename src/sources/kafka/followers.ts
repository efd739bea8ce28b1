import type { FollowerReading, ReplicationReading, ShardReading } from '../source.js'
import {
  isFailure,
  pause,
  type Cluster,
  type Failure,
  type Group,
  type Partition,
  type Question,
  type Topic,
} from './answer.js'
import type { Copies } from './brokers.js'
import type { Epochs } from './epochs.js'
import { describeFailure } from './errors.js'

/** A follower of one partition, as the `filter` option sees it. */
export interface KafkaFollower {
  /** The name that it is reported under: a group, or `broker/ID`. */
  readonly replica: string
  readonly topic: string
  readonly partition: number
}

/** How many shards are built in one turn of the event loop. */
const PIECE = 2000

/** Turns what was found into a reading. */
export class Report {
  private readonly shards: ShardReading[] = []
  private readonly consumers = new Map<string, (readonly [string, Group])[]>()
  private readonly problems = new Map<string, number>()
  private added = 0

  constructor(
    private readonly question: Question,
    private readonly cluster: Cluster,
    private readonly copiesOf: ((topic: string, partition: Partition) => Copies) | undefined,
    private readonly epochs: Epochs,
    private readonly passes: ((follower: KafkaFollower) => boolean) | undefined,
  ) {}

  /** @throws the reason if there are groups or topics, and none of them can be read. */
  async create(): Promise<ReplicationReading> {
    const { groups, topics, listFailure } = this.cluster
    const [failedGroups, failedTopics] = [failuresIn(groups), failuresIn(topics)]
    for (const [failed, all] of [
      [failedGroups, groups] as const,
      [failedTopics, topics] as const,
    ]) {
      if (failed[0] && failed.length === all.size) throw failed[0][1].error
    }
    this.findConsumers()
    for (const [topic, found] of topics) {
      if (isFailure(found)) this.addUnknownTopic(topic, found)
      else await this.addTopic(topic, found)
    }
    const isListed = listFailure === undefined
    const unlisted = isListed
      ? []
      : [`the list of groups is outdated: ${describeFailure(listFailure)}`]
    this.addProblem('groups', [...unlisted, ...describe(failedGroups)])
    const complete = isListed && failedGroups.length + failedTopics.length === 0
    this.epochs.end(complete)
    const note = this.noteOnSilence()
    return { shards: this.shards, complete, ...(note !== undefined && { note }) }
  }

  /** Finds the groups to report for each topic. */
  private findConsumers(): void {
    const { groups, topics } = this.question
    for (const [replica, group] of this.cluster.groups) {
      if (isFailure(group)) continue
      const consumed = new Set([...group.commits.keys(), ...group.subscribed])
      for (const topic of groups && topics ? topics : consumed) {
        const consumers = this.consumers.get(topic)
        if (consumers) consumers.push([replica, group])
        else this.consumers.set(topic, [[replica, group]])
      }
    }
  }

  private async addTopic(topic: string, { id, partitions }: Topic): Promise<void> {
    const consumers = this.consumers.get(topic) ?? []
    for (const partition of partitions) {
      const { end, error } = partition
      if (consumers.length > 0) {
        const toReading = ([replica, group]: (typeof consumers)[number]) =>
          toFollower(replica, group, topic, partition)
        this.addShard(topic, partition, '', id, { end, error, followers: consumers.map(toReading) })
      }
      if (this.copiesOf) {
        this.addShard(topic, partition, '/brokers', id, this.copiesOf(topic, partition))
      }
      if (++this.added % PIECE === 0) await pause()
    }
  }

  private addShard(
    topic: string,
    { partition }: Pick<Partition, 'partition'>,
    suffix: string,
    id: string | undefined,
    { end, error, followers: all }: Copies,
  ): void {
    const { passes } = this
    const followers = passes
      ? all.filter(({ replica }) => passes({ replica: String(replica), topic, partition }))
      : all
    if (followers.length === 0) return
    const shard = `${topic}/${partition}${suffix}`
    if (end === undefined) {
      this.shards.push({ shard, followers: followers.map(disconnected), ...this.problemOf(error) })
    } else {
      const epoch = this.epochs.epochOf(shard, end, id)
      this.shards.push({ shard, leaderSeqno: end, epoch, followers })
    }
  }

  /** Adds the partitions of a topic that groups have commits for. */
  private addUnknownTopic(topic: string, failure: Failure): void {
    const followers = new Map<number, FollowerReading[]>()
    for (const [replica, { commits }] of this.consumers.get(topic) ?? []) {
      for (const partition of (commits.get(topic) ?? []).keys()) {
        followers.set(partition, [...(followers.get(partition) ?? []), { replica }])
      }
    }
    for (const [partition, all] of followers) {
      this.addShard(topic, { partition }, '', undefined, { ...failure, followers: all })
    }
    if (followers.size === 0) this.addProblem(topic, describe([[topic, failure]]))
  }

  /** Describes why a partition cannot be read. Of many that a broker leads, only some are named. */
  private problemOf(error: unknown): { problem?: string } {
    const problem = `cannot be read: ${describeFailure(error)}`
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

  private noteOnSilence(): string | undefined {
    const silent = (this.question.groups ?? []).filter((name) => {
      const group = this.cluster.groups.get(name)
      return group && !isFailure(group) && group.commits.size + group.subscribed.length === 0
    })
    return silent.length === 0 ? undefined : `group ${listed(silent)}: ${SILENT}`
  }
}

const SILENT = 'no data: it has no commits, does not exist, or the user may not describe it'
const LOST =
  'records were deleted before it consumed them: its commit is before the start of the log'
const AHEAD =
  'its commit is past the end of the log. The log may have lost records, the topic may have been created again or restored, or the commit may come from another cluster'

/** How many partitions with the same problem are named. */
const MAX_NAMED = 20

function failuresIn(found: ReadonlyMap<string, object>): (readonly [string, Failure])[] {
  const failures: (readonly [string, Failure])[] = []
  for (const [name, each] of found) if (isFailure(each)) failures.push([name, each])
  return failures
}

/** Describes failures, those with the same reason together. */
function describe(failures: readonly (readonly [string, Failure])[]): string[] {
  const names = new Map<string, string[]>()
  for (const [name, { error }] of failures) {
    const reason = describeFailure(error)
    const all = names.get(reason)
    if (all) all.push(name)
    else names.set(reason, [name])
  }
  return [...names].map(([reason, all]) => `${listed(all)} cannot be read: ${reason}`)
}

function listed(names: readonly string[]): string {
  const others = names.length - 10
  return others > 0 ? `${names.slice(0, 10).join(', ')} and ${others} others` : names.join(', ')
}

function disconnected(follower: FollowerReading): FollowerReading {
  return { ...follower, connected: false }
}

function toFollower(
  replica: string,
  { commits, hasMembers }: Group,
  topic: string,
  { partition, start, end, highWatermark }: Partition,
): FollowerReading {
  const offset = commits.get(topic)?.[partition]
  const follower = hasMembers === false ? { replica, connected: false } : { replica }
  if (end === undefined) return follower
  // A client may read the start after the end.
  const first = start < end ? start : end
  if (offset === undefined || offset === -1n) return { ...follower, appliedSeqno: first }
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
