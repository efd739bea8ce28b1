import { describeError } from '../../support/log.js'
import type { ShardId } from '../../support/names.js'
import {
  checkObject,
  hasMethods,
  optionError,
  warnAboutUnknown,
} from '../../support/option-errors.js'
import { withAdvice, type Advice } from '../shared/advice.js'
import { askAll, Node, unreachable } from '../shared/nodes.js'
import { parseInfo, type Info, type Row } from './answer.js'
import type { FollowerReading, ReplicationSource } from '../source.js'
import { checkNameAndFilter, parseClients, parseShard, passesFilter } from '../shared/options.js'

/** What is used of a client of `ioredis` or `redis`: one plain connection to one node. */
export interface RedisClient {
  info(section: string): Promise<unknown>
}

/** A follower, as the `filter` option sees it. */
export interface RedisFollower {
  /** The name that it is reported under. */
  readonly replica: string
}

/** Options of {@link redisSource}. */
export interface RedisSourceOptions {
  /**
   * A connection to the leader, which needs the right `+info`. After a failover it must reach the new one, as a client of
   * `ioredis` with Sentinels does. Not a client of a cluster: it asks any node.
   */
  readonly client: RedisClient
  /** The shard to report the followers under. */
  readonly shard: ShardId
  /**
   * Connections to the replicas, by the name to report each under. Exactly these are reported then, with what they say of
   * themselves. Without it, those are reported that the leader sees, by `ip:port`, as of a second ago at most.
   *
   * @default those that the leader sees
   * @example { 'replica-1': new Redis({ host: 'replica-1.example' }) }
   */
  readonly replicas?: Readonly<Record<string, RedisClient>>
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default `redis:` and the shard
   */
  readonly name?: string
  /**
   * Decides which followers to report. It is called for each follower at each read.
   *
   * @default all are reported
   * @example ({ replica }) => replica !== 'backup'
   */
  readonly filter?: (follower: RedisFollower) => boolean
}

/**
 * Reads the replicas of one Redis or Valkey server.
 *
 * The leader seqno is the `master_repl_offset` of the leader, in bytes of its replication stream. The applied seqno is the
 * offset that a replica has acknowledged, or its own `slave_repl_offset` where its client is given.
 *
 * @throws TypeError that names the invalid option.
 */
export function redisSource(options: RedisSourceOptions): ReplicationSource {
  const { client, shard, replicas, name, passes } = checkOptions(options)
  const leader = createNode(client)
  const nodes = new Map([...replicas].map(([replica, each]) => [replica, createNode(each)]))

  return {
    name,
    async read(signal) {
      const answers = await askAll(nodes, signal)
      const newest = await leader.ask(signal).catch((error: unknown) => {
        throw signal.aborted ? signal.reason : explain(error)
      })
      if (newest.role !== 'master') throw new Error(`Redis: ${IS_REPLICA}`)
      const followers = options.replicas
        ? [...answers].map(([replica, each]) =>
            each.answer
              ? followerOf(replica, each.answer, newest)
              : unreachable(replica, each.error),
          )
        : fromRows(newest.rows)
      const { master_repl_offset: leaderSeqno, master_replid: epoch } = newest
      return { shards: [{ shard, leaderSeqno, epoch, followers: followers.filter(passes) }] }
    },
  }
}

const IS_REPLICA =
  'the client reaches a replica: give the source one that follows the leader, such as one of ioredis with Sentinels'

function createNode(client: RedisClient): Node<Info> {
  /** Why the client has no connection. */
  let failure: Error | undefined
  const { on } = client as { on?: (event: string, listener: (error?: Error) => void) => void }
  on?.call(client, 'error', (error) => (failure = error))
  on?.call(client, 'ready', () => (failure = undefined))
  return new Node(async () => {
    // A client without a connection would queue the question.
    const { status, isReady } = client as { status?: unknown; isReady?: unknown }
    const isLost = isReady === false || ['close', 'reconnecting', 'end'].includes(String(status))
    if (isLost) throw failure ?? new Error('the client is not connected')
    try {
      return parseInfo(await client.info('replication'))
    } catch (error) {
      throw failure ?? (error as Error)
    }
  })
}

/** What a replica says of itself. */
function followerOf(replica: string, info: Info, leader: Info): FollowerReading {
  if (info.role === 'master') {
    return { replica, connected: false, problem: 'it is a leader itself, and follows nobody' }
  }
  const isSynchronizing = info.master_sync_in_progress === 1n
  const connected = info.master_link_status === 'up' || isSynchronizing
  // Offsets of another history are not comparable. While it loads the data of its leader, it has none.
  const isComparable = info.master_replid === leader.master_replid && !isSynchronizing
  const { slave_repl_offset: applied, slave_read_repl_offset: received } = info
  return {
    replica,
    connected,
    ...(isComparable && applied !== undefined && { appliedSeqno: applied }),
    ...(isComparable && received !== undefined && { receivedSeqno: received }),
    ...(!connected && { problem: 'it has no connection to its leader' }),
  }
}

/** The replicas that the leader sees. */
function fromRows(rows: readonly Row[]): FollowerReading[] {
  const followers = new Map<string, FollowerReading>()
  for (const { ip, port, state, offset, type } of rows) {
    // Tools such as `redis-cli --replica` have no port.
    if (port === 0n) continue
    const replica = `${ip}:${port}`
    // Valkey can list a second connection of a replica that synchronizes.
    const isSecond = type === 'rdb-channel'
    if (isSecond && followers.has(replica)) continue
    const isOnline = state === 'online' && !isSecond
    // Of two with one address, the leader has not given up the first yet.
    followers.set(replica, { replica, connected: true, ...(isOnline && { appliedSeqno: offset }) })
  }
  return [...followers.values()]
}

/** What to do about an error. The first that matches. */
const ADVICE: Advice = [
  [/NOPERM/, 'give the user the right: ACL SETUSER name +info'],
  [/NOAUTH|WRONGPASS/, 'check the user and its password'],
  [/ECONNREFUSED|ENOTFOUND|ETIMEDOUT|connected|closed/, 'check host and port, and the server'],
]

function explain(error: unknown): Error {
  return new Error(`Redis: ${withAdvice(describeError(error), ADVICE)}`)
}

function checkOptions(options: RedisSourceOptions) {
  checkObject('options', options)
  const { client, shard, replicas = {}, name, filter, ...unknown } = options
  warnAboutUnknown('redisSource', unknown)
  checkClient('client', client)
  const clients = parseClients('replicas', replicas, checkClient)
  const id = parseShard(shard)
  checkNameAndFilter({ name, filter })
  const passes = ({ replica }: FollowerReading) =>
    passesFilter(filter, { replica: String(replica) })
  return { client, shard: id, replicas: clients, name: name ?? `redis:${id}`, passes }
}

function checkClient(option: string, client: unknown): void {
  const expected = 'a client of ioredis or redis, with a connection to one server'
  // Clients of a cluster have the nodes of each slot.
  const isOfCluster = Array.isArray((client as { slots?: unknown } | undefined)?.slots)
  if (!hasMethods(client, 'info') || isOfCluster) {
    // A connection string can hold a password.
    throw optionError(option, expected, typeof client === 'string' ? 'a string' : client)
  }
}
