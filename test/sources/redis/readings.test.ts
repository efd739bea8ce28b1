import fc from 'fast-check'
import { Cluster, Redis } from 'ioredis'
import {
  redisSource,
  type RedisClient,
  type RedisSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { EventEmitter } from 'node:events'
import { createClient, createCluster } from 'redis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { recordDiag } from '../../support/diag.js'
import { HISTORY, LEADER, LEADER_WITH_TOOL, PROMOTED, REPLICA, REPLICA_ALONE } from './answers.js'

const answering = (answer: unknown): RedisClient => ({ info: () => Promise.resolve(answer) })
const failing = (error: Error): RedisClient => ({ info: () => Promise.reject(error) })

/** Reads a leader, and replicas that are asked themselves. */
async function read(
  leader: RedisClient | string,
  replicas?: Record<string, RedisClient | string>,
  options: Partial<RedisSourceOptions> = {},
) {
  const toClient = (each: RedisClient | string) =>
    typeof each === 'string' ? answering(each) : each
  const clients = Object.entries(replicas ?? {}).map(([name, each]) => [name, toClient(each)])
  const source = redisSource({
    client: toClient(leader),
    shard: 'cache',
    ...(replicas && { replicas: Object.fromEntries(clients) as Record<string, RedisClient> }),
    ...options,
  })
  const { shards } = await source.read(AbortSignal.timeout(5000))
  return shards[0]
}

const edit = (answer: string, field: string, value: string) => {
  const changed = answer.replace(new RegExp(`(?<=^|\\n)${field}:[^\\r]*`), `${field}:${value}`)
  expect(changed).not.toBe(answer)
  return changed
}

describe('what the leader sees', () => {
  it('is its offset and those that replicas have acknowledged, in the history of its replication id', async () => {
    expect(await read(LEADER)).toEqual({
      shard: 'cache',
      leaderSeqno: 151n,
      epoch: HISTORY,
      followers: [{ replica: '127.0.0.1:37102', connected: true, appliedSeqno: 151n }],
    })
  })

  it('are no tools', async () => {
    expect((await read(LEADER_WITH_TOOL))?.followers).toHaveLength(1)
  })

  it.each(['wait_bgsave', 'send_bulk', 'bg_transfer'])(
    'is no position of a replica that synchronizes: %s',
    async (state) => {
      const row = `ip=127.0.0.1,port=37102,state=${state},offset=0,lag=0,type=replica`
      expect((await read(edit(LEADER, 'slave0', row)))?.followers).toEqual([
        { replica: '127.0.0.1:37102', connected: true },
      ])
    },
  )

  it('is one follower where Valkey lists the two connections of a synchronization', async () => {
    const main = 'ip=h,port=1,state=bg_transfer,offset=0,lag=0,type=main-channel'
    const rdb = 'ip=h,port=1,state=online,offset=0,lag=0,type=rdb-channel'
    for (const [first, second] of [
      [main, rdb],
      [rdb, main],
    ]) {
      const rows = `${first}\r\nslave1:${second}`
      expect((await read(edit(LEADER, 'slave0', rows)))?.followers).toEqual([
        { replica: 'h:1', connected: true },
      ])
    }
    expect((await read(edit(LEADER, 'slave0', rdb)))?.followers).toEqual([
      { replica: 'h:1', connected: true },
    ])
  })

  it('is the newer of two connections from one address', async () => {
    const rows =
      'ip=h,port=1,state=online,offset=9,lag=50\r\nslave1:ip=h,port=1,state=online,offset=140,lag=0'
    expect((await read(edit(LEADER, 'slave0', rows)))?.followers).toEqual([
      { replica: 'h:1', connected: true, appliedSeqno: 140n },
    ])
  })
})

describe('a replica that is asked itself', () => {
  const followers = async (answer: RedisClient | string, leader = LEADER) =>
    (await read(leader, { r1: answer }))?.followers

  it('has its configured name, what it has applied and what it has received', async () => {
    const behind = edit(REPLICA, 'slave_repl_offset', '100')
    expect(await followers(behind)).toEqual([
      { replica: 'r1', connected: true, appliedSeqno: 100n, receivedSeqno: 151n },
    ])
  })

  it('has not said what it has received before Redis 7.0', async () => {
    const old = REPLICA.replace('slave_read_repl_offset:151\r\n', '')
    expect(await followers(old)).toEqual([{ replica: 'r1', connected: true, appliedSeqno: 151n }])
  })

  it('is disconnected and keeps its position when its leader is gone', async () => {
    expect(await followers(REPLICA_ALONE)).toEqual([
      {
        replica: 'r1',
        connected: false,
        appliedSeqno: 151n,
        receivedSeqno: 151n,
        problem: 'it has no connection to its leader',
      },
    ])
  })

  it('has no position while it synchronizes', async () => {
    const synchronizing = edit(
      edit(REPLICA, 'master_sync_in_progress', '1'),
      'master_link_status',
      'down',
    )
    expect(await followers(synchronizing)).toEqual([{ replica: 'r1', connected: true }])
  })

  it('has no position of another history', async () => {
    const other = edit(REPLICA, 'master_replid', 'f'.repeat(40))
    expect(await followers(other)).toEqual([{ replica: 'r1', connected: true }])
  })

  it('is no follower any more once it was promoted', async () => {
    expect(await followers(PROMOTED)).toEqual([
      { replica: 'r1', connected: false, problem: 'it is a leader itself, and follows nobody' },
    ])
  })

  it('is disconnected, with the reason, when it cannot be read', async () => {
    expect(await followers(failing(new Error('Connection is closed.')))).toEqual([
      { replica: 'r1', connected: false, problem: 'cannot be read: Connection is closed.' },
    ])
    expect(await followers('nonsense')).toMatchObject([
      { connected: false, problem: 'cannot be read: field role is missing' },
    ])
  })
})

describe('an error', () => {
  it.each([
    ['NOPERM this user has no permissions', 'give the user the right: ACL SETUSER name +info'],
    ['NOAUTH Authentication required.', 'check the user and its password'],
    ['connect ECONNREFUSED 127.0.0.1:1', 'check host and port, and the server'],
  ])('says what to do: %s', async (message, advice) => {
    await expect(read(failing(new Error(message)))).rejects.toThrow(`Redis: ${message}: ${advice}`)
  })

  it('is passed on where there is no advice', async () => {
    await expect(read(failing(new Error('LOADING')))).rejects.toThrow(/^Redis: LOADING$/)
  })

  it('says that the client reaches a replica', async () => {
    await expect(read(REPLICA)).rejects.toThrow('Redis: the client reaches a replica')
  })

  it.each(['role', 'master_replid', 'master_repl_offset'])('names a field: %s', async (field) => {
    for (const value of ['', '-1', '1.5', '18446744073709551616']) {
      if (field === 'master_replid' && value !== '') continue
      await expect(read(edit(LEADER, field, value))).rejects.toThrow(
        `Redis: field ${field} has an invalid value`,
      )
    }
    const missing = LEADER.replace(new RegExp(`${field}:.*\r\n`), '')
    await expect(read(missing)).rejects.toThrow(`Redis: field ${field} is missing`)
  })

  it('says that the answer is not a text', async () => {
    await expect(read(answering(undefined))).rejects.toThrow('Redis: the answer to INFO')
  })

  it('is that of the connection, at once, while the client has none', async () => {
    const client = Object.assign(new EventEmitter(), {
      isReady: false,
      info: () => new Promise<never>(() => undefined),
    })
    const source = redisSource({ client, shard: 'cache' })
    const reading = () => source.read(AbortSignal.timeout(5000))
    await expect(reading()).rejects.toThrow('Redis: the client is not connected')
    client.emit('error', new Error('WRONGPASS invalid username-password pair'))
    await expect(reading()).rejects.toThrow('Redis: WRONGPASS')
    client.emit('ready')
    await expect(reading()).rejects.toThrow('Redis: the client is not connected')
  })

  it.each(['close', 'reconnecting', 'end'])('comes at once from ioredis: %s', async (status) => {
    const client = { status, info: () => new Promise<never>(() => undefined) }
    await expect(read(client)).rejects.toThrow('Redis: the client is not connected')
  })

  it('is the reason of the abort at the deadline, and the next read does not ask again', async () => {
    let questions = 0
    const info = () => new Promise<never>(() => questions++)
    const source = redisSource({ client: { info }, shard: 'cache' })
    await expect(source.read(AbortSignal.abort(new Error('deadline')))).rejects.toThrow('deadline')
    await expect(source.read(AbortSignal.timeout(5000))).rejects.toThrow('is not answered yet')
    expect(questions).toBe(1)
  })
})

describe('an option', () => {
  const client = answering(LEADER)

  it.each([
    ['client', { client: 'redis://:secret@host' }],
    ['client', { client: undefined }],
    ['shard', { shard: '' }],
    ['replicas', { replicas: 7 }],
    ['replicas["r1"]', { replicas: { r1: {} } }],
    ['replicas', { replicas: { '': client } }],
    ['name', { name: '' }],
    ['filter', { filter: true }],
  ])('is named in an error: %s', (option, options) => {
    const create = () =>
      redisSource({ client, shard: 'cache', ...options } as unknown as RedisSourceOptions)
    expect(create).toThrow(TypeError)
    expect(create).toThrow(`${option}: expected`)
    expect(create).not.toThrow(/secret/)
  })

  it('is no client of a cluster, which asks any node', () => {
    const ioredis = new Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true })
    onTestFinished(() => ioredis.disconnect())
    const nodeRedis = createCluster({ rootNodes: [{ url: 'redis://127.0.0.1:1' }] })
    for (const cluster of [ioredis, nodeRedis] as unknown as RedisClient[]) {
      expect(() => redisSource({ client: cluster, shard: 1 })).toThrow('client: expected')
      const replicas = { r1: cluster }
      expect(() => redisSource({ client, shard: 1, replicas })).toThrow('replicas["r1"]: expected')
    }
    for (const plain of [new Redis({ lazyConnect: true }), createClient()]) {
      expect(redisSource({ client: plain, shard: 1 }).name).toBe('redis:1')
    }
  })

  it('is ignored and logged if it does not exist', () => {
    const logged = recordDiag()
    onTestFinished(() => logged.stop())
    const source = redisSource({ client, shard: 7, nam: 'x' } as unknown as RedisSourceOptions)
    expect(source.name).toBe('redis:7')
    expect(logged.matching('redisSource', '"nam"')).toHaveLength(1)
  })

  it('can name the source and leave out followers', async () => {
    expect(redisSource({ client, shard: 1, name: 'main' }).name).toBe('main')
    const filter = ({ replica }: { replica: string }) => replica !== 'r1'
    const replicas = { r1: REPLICA, r2: REPLICA }
    expect((await read(LEADER, replicas, { filter }))?.followers).toMatchObject([{ replica: 'r2' }])
    const invalid = (() => 'yes') as unknown as () => boolean
    await expect(read(LEADER, undefined, { filter: invalid })).rejects.toThrow('filter: expected')
  })
})

it('answers with exact positions or one clear error, whatever the server says', async () => {
  const answers = [LEADER, LEADER_WITH_TOOL, REPLICA, REPLICA_ALONE, PROMOTED]
  const mutated = fc
    .tuple(fc.constantFrom(...answers), fc.nat(700), fc.nat(30), fc.string())
    .map(([answer, at, length, text]) => answer.slice(0, at) + text + answer.slice(at + length))
  await fc.assert(
    fc.asyncProperty(mutated, mutated, async (leader, replica) => {
      for (const replicas of [undefined, { r1: replica }]) {
        const shard = await read(leader, replicas).catch((error: unknown) => {
          expect((error as Error).message).toMatch(
            /^Redis: (field \w+ |the client reaches a replica)/,
          )
          return undefined
        })
        const positions = (shard?.followers ?? []).flatMap((each) => each.appliedSeqno ?? [])
        for (const seqno of [...positions, shard?.leaderSeqno ?? 0n]) {
          expect(typeof seqno).toBe('bigint')
          expect(seqno).toBeGreaterThanOrEqual(0n)
        }
      }
    }),
    { numRuns: 300 },
  )
})
