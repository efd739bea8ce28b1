import type { ShardId } from '../../support/names.js'
import { checkObject, hasMethods, optionError } from '../../support/option-errors.js'
import { Nodes } from '../shared/nodes.js'
import { checkShardOptions, parseClients } from '../shared/options.js'
import type { ReplicationSource } from '../source.js'
import type { Info } from './answer.js'
import { readLeader, readNodes } from './followers.js'
import { LeaderHistory } from './leader.js'
import { createQuestion, type RedisClient } from './question.js'

export type { RedisClient }

/** A follower, as the `filter` option sees it. */
export interface RedisFollower {
  /** The name that it is reported under. */
  readonly replica: string
}

/** Options of {@link redisSource}: `nodes`, or `client` if their addresses are not known. */
export interface RedisSourceOptions {
  /** The shard to report the followers under. */
  readonly shard: ShardId
  /**
   * Connections to all nodes, the leader too, by the name to report each under. The source finds the leader, even after a
   * failover, and asks each replica itself. The user needs the permission `+info`.
   *
   * @example { 'redis-1': new Redis({ host: 'redis-1.example' }), 'redis-2': new Redis({ host: 'redis-2.example' }) }
   */
  readonly nodes?: Readonly<Record<string, RedisClient>> | undefined
  /**
   * A connection to the leader. Reported are the replicas that the leader sees, by `ip:port`, as of a second ago at most. After
   * a failover it must reach the new one, as a client of `ioredis` with Sentinels does.
   */
  readonly client?: RedisClient | undefined
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default `redis:` and the shard
   */
  readonly name?: string | undefined
  /**
   * Decides which followers to report. It is called for each follower at each read.
   *
   * @default all are reported
   * @example ({ replica }) => replica !== 'backup'
   */
  readonly filter?: ((follower: RedisFollower) => boolean) | undefined
}

/**
 * Reads the replicas of one Redis or Valkey server, or of one shard of a Redis Cluster.
 *
 * The leader seqno is the `master_repl_offset` of the leader, in bytes of its replication stream. The applied seqno is the
 * `slave_repl_offset` of a replica, or the offset that it has acknowledged where only `client` is given.
 *
 * @throws TypeError that names the invalid option.
 */
export function redisSource(options: RedisSourceOptions): ReplicationSource {
  const { client, clients, shard, name, passes } = checkOptions(options)
  const history = new LeaderHistory()
  const nodes = new Nodes<Info>(
    (answers) => (client ? [CLIENT] : [history.elect(answers).leader ?? []].flat()),
    [...clients].map(([node, each]) => [node, createQuestion(each)]),
  )
  return {
    name,
    async read(signal, timeoutMillis) {
      const survey = await nodes.read(signal, timeoutMillis)
      const found = prefixErrors(() =>
        client ? readLeader(CLIENT, survey, history) : readNodes(survey, history),
      )
      const followers = found.followers.filter(({ replica }) =>
        passes({ replica: String(replica) }),
      )
      return { shards: [{ shard, ...found, followers }], complete: !client }
    },
  }
}

function prefixErrors<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new Error(`Redis: ${(error as Error).message}`, { cause: error })
  }
}

/** The name of the only node where `client` is given. */
const CLIENT = 'leader'

function checkOptions(options: RedisSourceOptions) {
  checkObject('options', options)
  const { client, nodes, ...rest } = options
  const { replicas } = options as { replicas?: unknown }
  if (replicas !== undefined) {
    throw optionError('replicas', 'the option nodes in its place, with the leader too', replicas)
  }
  if (client !== undefined && nodes !== undefined) {
    throw optionError('client', 'either client or nodes', 'both')
  }
  if (nodes === undefined) checkClient('client', client)
  const clients = parseClients('nodes', nodes ?? { [CLIENT]: client as RedisClient }, checkClient)
  if (clients.size === 0) throw optionError('nodes', 'at least one node', 'none')
  return { client, clients, ...checkShardOptions<RedisFollower>('redis', rest) }
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
