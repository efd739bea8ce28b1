import fc from 'fast-check'
import { EventEmitter } from 'node:events'
import { Cluster, Redis } from 'ioredis'
import {
  redisSource,
  type RedisClient,
} from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { createClient, createCluster } from 'redis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { describeOptions } from '../shared/describe-options.js'
import {
  answering,
  edit,
  failing,
  LEADER,
  LEADER_WITH_TOOL,
  nodesReader,
  PROMOTED,
  readClient,
  REPLICA,
  REPLICA_ALONE,
} from './fakes.js'

describe('an error', () => {
  it.each([
    [
      'NOPERM this user has no permissions',
      'grant the user the permission: ACL SETUSER name +info',
    ],
    ['NOAUTH Authentication required.', 'check the user and its password'],
    ['Connection is closed.', 'check host, port and server, and whether the port expects TLS'],
    ['LOADING Redis is loading the dataset in memory', 'wait until it has loaded its data'],
  ])('says what to do: %s', async (message, advice) => {
    await expect(readClient(failing(new Error(message)))).rejects.toThrow(
      `Redis: ${message}: ${advice}`,
    )
  })

  it('is passed on where there is no advice', async () => {
    await expect(readClient(failing(new Error('EXTRA')))).rejects.toThrow(/^Redis: EXTRA$/)
  })

  it('is what a server has answered, of several nodes that cannot be read', async () => {
    const nodes = {
      n1: failing(new Error('Connection is closed.')),
      n2: failing(new Error('WRONGPASS invalid username-password pair')),
    }
    await expect(nodesReader()(nodes)).rejects.toThrow(
      /^Redis: no node answers: WRONGPASS .*: check the user and its password$/,
    )
    await expect(nodesReader()({ n1: nodes.n1 })).rejects.toThrow(
      /^Redis: no node answers: Connection is closed.: check host, port and server/,
    )
  })

  it.each(['role', 'master_replid', 'master_repl_offset'])('names a field: %s', async (field) => {
    for (const value of ['', '-1', '1.5', '18446744073709551616']) {
      if (field === 'master_replid' && value !== '') continue
      await expect(readClient(edit(LEADER, field, value))).rejects.toThrow(
        `Redis: field ${field} has an invalid value`,
      )
    }
    const missing = LEADER.replace(new RegExp(`${field}:.*\r\n`), '')
    await expect(readClient(missing)).rejects.toThrow(
      `Redis: field ${field} is missing: Redis before 4.0, and servers that only resemble it, cannot be read`,
    )
  })

  it('says that the answer is not a string', async () => {
    await expect(readClient(answering(undefined))).rejects.toThrow('Redis: the answer to INFO')
  })

  // What these answer to `INFO replication` and `INFO server`.
  it.each([
    ['a Sentinel', '', 'redis_version:7.0.15\r\nredis_mode:sentinel'],
    ['a Sentinel', '', 'server_name:valkey\r\nserver_mode:sentinel'],
    [
      'KeyDB',
      '# Replication\r\nrole:active-replica\r\nmaster_link_status:up',
      'redis_version:6.3.4',
    ],
    [
      'Dragonfly',
      '# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_replid:8371b4fb',
      'redis_version:7.4.0\r\ndragonfly_version:df-v1.40.1',
    ],
    [
      'Kvrocks',
      '# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_repl_offset:8',
      'kvrocks_version:2.17.0\r\nredis_version:7.0.0',
    ],
  ])('names a server that is not a Redis: %s', async (name, replication, server) => {
    await expect(readClient(answering(replication, server))).rejects.toThrow(
      new RegExp(`^Redis: this is ${name}[.: ]`),
    )
  })

  it('is about the field where the server cannot be asked what it is', async () => {
    const info = (section: string) =>
      section === 'server' ? Promise.reject(new Error('no')) : Promise.resolve('')
    await expect(readClient({ info })).rejects.toThrow('Redis: field role is missing')
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
    await expect(readClient(client)).rejects.toThrow('Redis: the client is not connected')
  })

  it('needs one listener of a client, however many sources have it', () => {
    const client = Object.assign(new EventEmitter(), { info: () => Promise.resolve(LEADER) })
    for (let i = 0; i < 20; i++) redisSource({ client, shard: i })
    expect(client.listenerCount('error')).toBe(1)
    expect(client.listenerCount('ready')).toBe(1)
  })

  it('is that of the login if ioredis was answered although it failed', async () => {
    const client = Object.assign(new EventEmitter(), {
      status: 'connect',
      info() {
        setImmediate(() => client.emit('error', new Error('WRONGPASS invalid password')))
        return Promise.resolve(LEADER)
      },
    })
    await expect(readClient(client)).rejects.toThrow('Redis: WRONGPASS')
    client.info = () => Promise.resolve(LEADER)
    client.emit('ready')
    expect((await readClient(client)).leaderSeqno).toBe(151n)
  })
})

it('answers with exact positions or one clear error, whatever the server says', async () => {
  const answers = [LEADER, LEADER_WITH_TOOL, REPLICA, REPLICA_ALONE, PROMOTED]
  const mutated = fc
    .tuple(fc.constantFrom(...answers), fc.nat(700), fc.nat(30), fc.string())
    .map(([answer, at, length, text]) => answer.slice(0, at) + text + answer.slice(at + length))
  await fc.assert(
    fc.asyncProperty(mutated, mutated, async (first, second) => {
      for (const read of [
        () => readClient(first),
        () => nodesReader()({ n1: first, n2: second }),
      ]) {
        const shard = await read().catch((error: unknown) => {
          expect((error as Error).message).toMatch(
            /^Redis: (n\d: )?(field \w+ |the client reaches a replica|no node )/,
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

const client = answering(LEADER)
describeOptions(redisSource, { client, shard: 7 }, 'redis:7', [
  [{ client: 'redis://:secret@host' }, 'client: expected a client of ioredis'],
  [{ client: undefined }, 'client: expected'],
  [{ nodes: { n1: client } }, 'client: expected either client or nodes'],
  [{ client: undefined, nodes: 7 }, 'nodes: expected'],
  [{ client: undefined, nodes: {} }, 'nodes: expected at least one node'],
  [{ client: undefined, nodes: { n1: {} } }, 'nodes["n1"]: expected'],
  [{ client: undefined, nodes: { '': client } }, 'nodes: expected'],
  // An option of earlier versions.
  [{ replicas: { r1: client } }, 'replicas: expected the option nodes in its place'],
])

it('a client of a cluster, which asks any node, is refused', () => {
  const ioredis = new Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true })
  onTestFinished(() => ioredis.disconnect())
  const nodeRedis = createCluster({ rootNodes: [{ url: 'redis://127.0.0.1:1' }] })
  for (const cluster of [ioredis, nodeRedis] as unknown as RedisClient[]) {
    expect(() => redisSource({ client: cluster, shard: 1 })).toThrow('client: expected')
    const nodes = { n1: cluster }
    expect(() => redisSource({ nodes, shard: 1 })).toThrow('nodes["n1"]: expected')
  }
  for (const plain of [new Redis({ lazyConnect: true }), createClient()]) {
    expect(redisSource({ client: plain, shard: 1 }).name).toBe('redis:1')
  }
})

it('the filter leaves out followers', async () => {
  const filter = ({ replica }: { replica: string }) => replica !== 'n2'
  const { followers } = await nodesReader({ filter })({ n1: LEADER, n2: REPLICA, n3: REPLICA })
  expect(followers).toMatchObject([{ replica: 'n3' }])
})
