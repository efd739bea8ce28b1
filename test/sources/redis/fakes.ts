import {
  redisSource,
  type RedisClient,
  type RedisSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/redis'

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
