import { parseName } from '../../support/names.js'
import { checkObject, hasMethods, optionError } from '../../support/option-errors.js'
import { watchPauses } from '../../support/timers.js'
import { DEFAULT_TIMEOUT_MILLIS } from '../shared/nodes.js'
import { checkCommonOptions } from '../shared/options.js'
import type { ReplicationSource } from '../source.js'
import { KafkaBrokers, type ListOffsets } from './brokers.js'
import { isKafkajs, isPlatformatic, type KafkajsAdmin, type PlatformaticAdmin } from './clients.js'
import { Epochs } from './epochs.js'
import { explainFailure } from './errors.js'
import { Report, type KafkaFollower } from './followers.js'
import { KafkajsClient } from './kafkajs.js'
import type { KafkaClient } from './parts.js'
import { PlatformaticClient } from './platformatic.js'

export type { ListOffsets } from './brokers.js'
export type { KafkajsAdmin, PlatformaticAdmin } from './clients.js'
export type { KafkaFollower } from './followers.js'

/** Options of {@link kafkaSource}. */
export interface KafkaSourceOptions {
  /**
   * An `Admin` of `@platformatic/kafka`, or a function that creates an admin client of `kafkajs`. That client is closed
   * after each read, and replaced when it would keep failing: once it knows a topic that was deleted or has a partition
   * without a leader. Without a function, an admin client of `kafkajs` then fails for all topics.
   *
   * Its user needs `Describe` on the groups and the topics.
   *
   * @example () => new Kafka({ clientId: 'lag-monitor', brokers }).admin()
   */
  readonly admin: KafkajsAdmin | PlatformaticAdmin | (() => KafkajsAdmin)
  /**
   * The consumer groups to report. It may be empty if there are `brokers` and `topics`.
   *
   * @default all groups that the client lists, new ones from the next read on
   */
  readonly groups?: readonly string[] | undefined
  /**
   * The topics to report. Each of the `groups` is reported for each of them, even without a commit.
   *
   * @default for each group the topics that it has commits for or that its members have subscribed to
   */
  readonly topics?: readonly string[] | undefined
  /**
   * Reports the brokers that hold a copy of a partition, too. Pass `listOffsetsV9` of `@platformatic/kafka`: no admin client
   * has a method for it, and `kafkajs` cannot do it.
   *
   * @default brokers are not reported
   */
  readonly brokers?: ListOffsets | undefined
  /**
   * Where the log ends for the groups: at the last stable offset (`read_committed`), or at the high watermark, beyond
   * transactions that are open. Choose what the consumers have. `kafkajs` can only ask for the last stable offset.
   *
   * @default 'read_uncommitted', and 'read_committed' with kafkajs
   */
  readonly isolation?: 'read_committed' | 'read_uncommitted' | undefined
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default `kafka:` and the groups, or `kafka`
   */
  readonly name?: string | undefined
  /**
   * Decides which followers to report. It is called for each follower of each partition at each read.
   *
   * @default all are reported
   * @example ({ replica, topic }) => !replica.startsWith('console-') && topic !== 'retired'
   */
  readonly filter?: ((follower: KafkaFollower) => boolean) | undefined
}

/**
 * Reads how far consumer groups are behind the ends of the partitions that they consume.
 *
 * Each partition is a shard: `topic/partition`. The leader seqno is the offset at which the log ends for consumers. The
 * applied seqno is the committed offset of a group, but at least the start of the log. Followers are named by their group.
 * Brokers are reported in separate shards, `topic/partition/brokers`, where the leader seqno is the end of the leader's
 * own log, and the applied seqno that of the log of `broker/ID`.
 *
 * @throws TypeError that names the invalid option.
 */
export function kafkaSource(options: KafkaSourceOptions): ReplicationSource {
  const { client, brokers, question, name, passes } = checkOptions(options)
  const epochs = new Epochs()
  return {
    name,
    async read(signal, timeoutMillis = DEFAULT_TIMEOUT_MILLIS) {
      const deadline = startDeadline(signal, timeoutMillis)
      try {
        let cluster = await client.read(question, deadline)
        if (deadline.hasPaused() && deadline.left() > timeoutMillis / 2) {
          cluster = await client.read(question, deadline)
        }
        const copiesOf = await brokers?.read(cluster.topics, deadline)
        return await new Report(question, cluster, copiesOf, epochs, passes).create()
      } catch (error) {
        signal.throwIfAborted()
        throw explainFailure(error)
      } finally {
        deadline.stop()
      }
    },
  }
}

/** A pause of the process after which everything is read again. The client can take less for large answers. */
const PAUSE_MILLIS = 500

/** Starts the time of a read, without pauses. */
function startDeadline(signal: AbortSignal, timeoutMillis: number) {
  let end = performance.now() + timeoutMillis
  let pauses = 0
  const { check, stop } = watchPauses((length) => {
    pauses++
    end += length
  }, PAUSE_MILLIS)
  const left = () => {
    check()
    return Math.max(1, end - performance.now())
  }
  return { signal, left, hasPaused: () => pauses > 0, stop }
}

const EXPECTED_ADMIN =
  'an Admin of @platformatic/kafka, an admin client of kafkajs, or a function that creates one'

function checkOptions(options: KafkaSourceOptions) {
  checkObject('options', options)
  const { admin, groups, topics, brokers, isolation, ...common } = options
  const check = (option: string, isValid: boolean, expected: string, value: unknown) => {
    if (!isValid) throw optionError(option, expected, value)
  }
  const client = createClient(admin, isolation)
  const isList = (value: unknown) =>
    value === undefined ||
    (Array.isArray(value) && value.every((each) => typeof each === 'string' && parseName(each)))
  check('groups', isList(groups), 'an array of group ids', groups)
  check('topics', isList(topics), 'an array of topics', topics)
  const isUseful = groups?.length !== 0 || (brokers !== undefined && topics !== undefined)
  check('groups', isUseful, 'at least one group, or brokers and topics', groups)
  const canAsk =
    brokers === undefined ||
    (isPlatformatic(admin) && hasMethods((brokers as ListOffsets | null)?.api, 'async'))
  check('brokers', canAsk, 'listOffsetsV9 of @platformatic/kafka, and its Admin', brokers)
  const { name, passes } = checkCommonOptions<KafkaFollower>('kafka', common)
  return {
    client,
    brokers: brokers && new KafkaBrokers(admin as PlatformaticAdmin, brokers),
    question: { groups: groups && [...new Set(groups)], topics: topics && [...new Set(topics)] },
    name:
      name ?? parseName(['kafka', ...(groups?.length ? [groups.join()] : [])].join(':')) ?? 'kafka',
    passes: common.filter && passes,
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
  if (!isKafkajs(admin) && typeof admin !== 'function') {
    throw optionError('admin', EXPECTED_ADMIN, admin)
  }
  if (isolation !== levels[0])
    return new KafkajsClient(admin as KafkajsAdmin | (() => KafkajsAdmin))
  throw optionError('isolation', 'read_committed, the only level kafkajs supports', isolation)
}
