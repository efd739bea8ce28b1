import {
  redisSource,
  type RedisClient,
  type RedisSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/redis'

export const HISTORY = 'e11f1d609cdbc8025f135a2230dd6abab4c19a07'

/** An answer to INFO replication, as Redis 7.0.15 gives it. */
function toAnswer(...lines: string[]): string {
  const history = [
    'master_failover_state:no-failover',
    `master_replid:${HISTORY}`,
    'master_replid2:0000000000000000000000000000000000000000',
    'master_repl_offset:151',
    'second_repl_offset:-1',
    'repl_backlog_active:1',
    'repl_backlog_histlen:151',
  ]
  return ['# Replication', ...lines, ...history, ''].join('\r\n')
}

const ROW = 'slave0:ip=127.0.0.1,port=37102,state=online,offset=151,lag=0'
export const LEADER = toAnswer('role:master', 'connected_slaves:1', ROW)

/** While `redis-cli --replica` runs too. */
export const LEADER_WITH_TOOL = toAnswer(
  'role:master',
  'connected_slaves:2',
  ROW,
  'slave1:ip=127.0.0.1,port=0,state=online,offset=0,lag=1',
)

export const REPLICA = toAnswer(
  'role:slave',
  'master_host:127.0.0.1',
  'master_port:37101',
  'master_link_status:up',
  'master_last_io_seconds_ago:1',
  'master_sync_in_progress:0',
  'slave_read_repl_offset:151',
  'slave_repl_offset:151',
  'slave_priority:100',
  'connected_slaves:0',
)

/** After its leader was killed. */
export const REPLICA_ALONE = edit(REPLICA, 'master_link_status', 'down')

/** After it was promoted. */
export const PROMOTED = edit(
  toAnswer('role:master', 'connected_slaves:0')
    .replace(HISTORY, '9ebff28804d582f5055095f1704fa2720519cfa5')
    .replace(/(?<=master_replid2:)0+/, HISTORY),
  'second_repl_offset',
  '152',
)

/** Changes a field of an answer. */
export function edit(answer: string, field: string, value: string): string {
  const changed = answer.replace(new RegExp(`(?<=^|\\n)${field}:[^\\r]*`), `${field}:${value}`)
  if (changed === answer) throw new Error(`${field} is not in the answer, or is ${value} already`)
  return changed
}

/** A client whose node answers this to each `INFO replication`, and something else to `INFO server`. */
export function answering(answer: unknown, server = ''): RedisClient {
  return { info: (section) => Promise.resolve(section === 'server' ? server : answer) }
}

export function failing(error: Error): RedisClient {
  return { info: () => Promise.reject(error) }
}

const toClient = (each: RedisClient | string) => (typeof each === 'string' ? answering(each) : each)

/**
 * A leader, and a replica that answers each question only after the leader has been asked once more.
 *
 * @param answer returns what the leader answers, by how many questions it has been asked
 */
export function slowerThanLeader(answer: (asked: number) => string, replica: string) {
  let asked = 0
  const waiting = new Map<() => void, number>()
  const leader: RedisClient = {
    info() {
      asked++
      for (const [resolve, due] of waiting) if (asked >= due) setImmediate(resolve)
      return Promise.resolve(answer(asked))
    },
  }
  const slow: RedisClient = {
    async info() {
      await new Promise<void>((resolve) => waiting.set(resolve, asked + 1))
      return replica
    },
  }
  return { leader, slow }
}

/** Reads what a leader sees. */
export async function readClient(
  leader: RedisClient | string,
  options: Partial<RedisSourceOptions> = {},
) {
  const source = redisSource({ client: toClient(leader), shard: 'cache', ...options })
  const { shards, complete } = await source.read(AbortSignal.timeout(5000))
  return { ...shards[0], complete }
}

/** Returns a function that reads nodes by their names. Each call can change what nodes answer. */
export function nodesReader(options: Partial<RedisSourceOptions> = {}) {
  const current = new Map<string, RedisClient>()
  let read: (() => Promise<object>) | undefined
  return async (nodes: Record<string, RedisClient | string>) => {
    for (const [name, each] of Object.entries(nodes)) current.set(name, toClient(each))
    const clients = [...current.keys()].map((name): [string, RedisClient] => [
      name,
      { info: (section) => (current.get(name) as RedisClient).info(section) },
    ])
    const create = () => {
      const source = redisSource({ nodes: Object.fromEntries(clients), shard: 'cache', ...options })
      return async () => {
        const { shards, complete } = await source.read(AbortSignal.timeout(5000), 1000)
        return { ...shards[0], complete }
      }
    }
    return (read ??= create())() as Promise<Awaited<ReturnType<typeof readClient>>>
  }
}
