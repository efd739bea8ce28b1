import { describeError } from '../../support/log.js'
import { parseName } from '../../support/names.js'
import {
  checkObject,
  hasMethods,
  optionError,
  warnAboutUnknown,
} from '../../support/option-errors.js'
import { KafkaBrokers, type FollowedLog, type ListOffsets } from './brokers.js'
import { keyOf, type KafkaClient, type Log } from './answer.js'
import { isKafkajs, KafkajsClient, type KafkajsAdmin } from './kafkajs.js'
import { isPlatformatic, PlatformaticClient, type PlatformaticAdmin } from './platformatic.js'
import { KafkaHistory } from './epochs.js'
import { withAdvice, type Advice } from '../shared/advice.js'
import { Node } from '../shared/nodes.js'
import { checkNameAndFilter, passesFilter } from '../shared/options.js'
import type { FollowerReading, ReplicationSource, ShardReading } from '../source.js'

export type { ListOffsets } from './brokers.js'
export type { KafkajsAdmin } from './kafkajs.js'
export type { PlatformaticAdmin } from './platformatic.js'

/** A follower of one partition, as the `filter` option sees it. */
export interface KafkaFollower {
  /** The name that it is reported under: a group, or `broker/ID`. */
  readonly replica: string
  readonly topic: string
  readonly partition: number
}

/** Options of {@link kafkaSource}. */
export interface KafkaSourceOptions {
  /**
   * An admin client of `kafkajs`, which is connected if it is not, or an `Admin` of `@platformatic/kafka`. Its user needs the right to
   * describe the groups and the topics.
   */
  readonly admin: KafkajsAdmin | PlatformaticAdmin
  /** The consumer groups to report. It may be empty if there are `brokers` and `topics`. */
  readonly groups: readonly string[]
  /**
   * The topics to report. Each group is reported for each of them, also without a committed offset.
   *
   * @default for each group the topics that it has committed offsets for
   */
  readonly topics?: readonly string[]
  /**
   * Reports the brokers that hold a copy of a partition, too. Pass `listOffsetsV9` of `@platformatic/kafka`: no admin client
   * has a method for it, and `kafkajs` cannot do it.
   *
   * @default brokers are not reported
   */
  readonly brokers?: ListOffsets
  /**
   * Where the log ends for the groups: at the last stable offset (`read_committed`), or at the high watermark, beyond
   * transactions that are open. Choose what the consumers have. `kafkajs` can only ask for the last stable offset.
   *
   * @default 'read_uncommitted', and 'read_committed' with kafkajs
   */
  readonly isolation?: 'read_committed' | 'read_uncommitted'
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default `kafka:` and the groups
   */
  readonly name?: string
  /**
   * Decides which followers to report. It is called for each follower of each partition at each read.
   *
   * @default all are reported
   * @example ({ replica, topic }) => !(replica === 'billing' && topic === 'retired')
   */
  readonly filter?: (follower: KafkaFollower) => boolean
}

/**
 * Reads how far consumer groups are behind the ends of the partitions that they consume.
 *
 * Each partition is a shard: `topic/partition`. The leader seqno is the offset at which the log ends for consumers. The
 * applied seqno is the committed offset of a group, but at least the start of the log. Followers are named by their group.
 * Brokers are reported in shards of their own, `topic/partition/brokers`, where the leader seqno is the end of the leader's
 * own log, and the applied seqno that of the log of `broker/ID`.
 *
 * @throws TypeError that names the invalid option.
 */
export function kafkaSource(options: KafkaSourceOptions): ReplicationSource {
  const { client, brokers, groups, topics, name, passes } = checkOptions(options)
  const history = new KafkaHistory()
  const groupsAndLogs = new Node(() => readGroupsAndLogs())

  function toShards(suffix: string, logs: readonly FollowedLog[]): ShardReading[] {
    return logs.flatMap(({ log, end, followers: all }) => {
      const shard = `${keyOf(log)}${suffix}`
      const { topic, partition, topicId } = log
      const epoch = history.epochOf(shard, end, topicId)
      const followers = all.filter(({ replica }) =>
        passes({ replica: String(replica), topic, partition }),
      )
      return followers.length === 0 ? [] : [{ shard, leaderSeqno: end, epoch, followers }]
    })
  }

  return {
    name,
    async read(signal) {
      try {
        const { followed, missing } = await groupsAndLogs.ask(signal)
        const logs = followed.map(({ log }) => log)
        const copies = brokers ? await brokers.read(logs, signal) : []
        const shards = [...toShards('', followed), ...toShards('/brokers', copies)]
        const note = missing.length > 0 ? { note: `${missing.join(', ')}: ${MISSING}` } : {}
        return { shards: history.addRemoved(shards), ...note }
      } catch (error) {
        throw signal.aborted ? signal.reason : explain(error)
      }
    },
  }

  async function readGroupsAndLogs() {
    // A topic that does not exist would make a client fail for all topics.
    const existing = topics && new Set(await client.listTopics())
    const commits = await client.readCommits(groups)
    const offsets = new Map(commits.map((each) => [`${keyOf(each)}/${each.group}`, each.offset]))
    const consumed = new Set(commits.map(({ topic, group }) => `${topic}/${group}`))
    const wanted = topics ?? [...new Set(commits.map(({ topic }) => topic))]
    const found = wanted.filter((topic) => existing?.has(topic) !== false)
    const followed = (await client.readLogs(found, commits)).map((log): FollowedLog => {
      const names = groups.filter(
        (group) => topics !== undefined || consumed.has(`${log.topic}/${group}`),
      )
      const followers = names.map((group) =>
        toFollower(group, offsets.get(`${keyOf(log)}/${group}`), log),
      )
      return { log, end: log.end, followers }
    })
    const silent = groups.filter((group) => !commits.some((each) => each.group === group))
    const lost = wanted.filter((topic) => !found.includes(topic))
    const missing = [...silent.map((id) => `group ${id}`), ...lost.map((id) => `topic ${id}`)]
    return { followed, missing }
  }
}

const MISSING = 'nothing is known. It has no commits, does not exist, or may not be described'
const AHEAD = 'it has committed more than the log has: the log has lost records'

function toFollower(replica: string, offset: bigint | undefined, log: Log): FollowerReading {
  if (offset === undefined) return { replica }
  // Past the last stable offset are records of open transactions, which some groups consume.
  if (offset > log.end) return log.endsAtStable ? { replica } : { replica, problem: AHEAD }
  // What was deleted before it was consumed cannot be consumed any more. A client may read the start after the end.
  const start = log.start < log.end ? log.start : log.end
  return { replica, appliedSeqno: offset < start ? start : offset }
}

/** What to do about an error. The first that matches. */
const ADVICE: Advice = [
  [/group authorization failed/i, 'grant the user the right Describe on the groups'],
  [/topic authorization failed/i, 'grant the user the right Describe on the topics'],
  [/authentication/i, 'check the user and its password'],
  [
    /find group coordinator/i,
    'grant the user the right Describe on the groups, and check whether the brokers run',
  ],
  [
    /does not host this topic-partition/i,
    'if a topic was deleted, kafkajs needs a new admin client',
  ],
  [
    /connect|ECONN|timed? ?out|not answered yet|has no leader/i,
    'check whether the brokers run and can be reached',
  ],
]

function explain(error: unknown): Error {
  return new Error(`Kafka: ${withAdvice(describeError(error), ADVICE)}`)
}

const EXPECTED_ADMIN = 'an admin client of kafkajs or an Admin of @platformatic/kafka'

function checkOptions(options: KafkaSourceOptions) {
  checkObject('options', options)
  const { admin, groups, topics, brokers, isolation, name, filter, ...unknown } = options
  warnAboutUnknown('kafkaSource', unknown)
  const check = (option: string, isValid: boolean, expected: string, value: unknown) => {
    if (!isValid) throw optionError(option, expected, value)
  }
  const client = createClient(admin, isolation)
  const isList = (value: unknown) =>
    Array.isArray(value) && value.every((each) => typeof each === 'string' && parseName(each))
  check('groups', isList(groups), 'an array of group ids', groups)
  check('topics', topics === undefined || isList(topics), 'an array of topics', topics)
  const isUseful = groups.length > 0 || (brokers !== undefined && topics !== undefined)
  check('groups', isUseful, 'at least one group, or brokers and topics', groups)
  const canAsk =
    brokers === undefined ||
    (isPlatformatic(admin) && hasMethods((brokers as ListOffsets | null)?.api, 'async'))
  check('brokers', canAsk, 'listOffsetsV9 of @platformatic/kafka, and its Admin', brokers)
  checkNameAndFilter({ name, filter })
  return {
    client,
    brokers: brokers && new KafkaBrokers(admin as PlatformaticAdmin, brokers),
    groups: [...new Set(groups)],
    topics: topics && [...new Set(topics)],
    name:
      name ??
      parseName(['kafka', ...(groups.length > 0 ? [groups.join()] : [])].join(':')) ??
      'kafka',
    passes: (follower: KafkaFollower) => passesFilter(filter, follower),
  }
}

function createClient(admin: unknown, isolation: unknown): KafkaClient {
  const levels = ['read_uncommitted', 'read_committed']
  if (isolation !== undefined && !levels.includes(isolation as string)) {
    throw optionError('isolation', levels.join(' or '), isolation)
  }
  if (isPlatformatic(admin)) {
    return new PlatformaticClient(admin, isolation === 'read_committed' ? 1 : 0)
  }
  if (!isKafkajs(admin)) throw optionError('admin', EXPECTED_ADMIN, admin)
  if (isolation !== levels[0]) return new KafkajsClient(admin)
  throw optionError('isolation', 'read_committed, as kafkajs asks for nothing else', isolation)
}
