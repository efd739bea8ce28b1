import fc from 'fast-check'
import { Cluster, Redis } from 'ioredis'
import { EventEmitter } from 'node:events'
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
  HISTORY,
  LEADER,
  LEADER_WITH_TOOL,
  nodesReader,
  PROMOTED,
  readClient,
  REPLICA,
  REPLICA_ALONE,
  slowerThanLeader,
} from './fakes.js'

const OTHER = 'f'.repeat(40)
const GONE = failing(new Error('Connection is closed.'))
const diverged = (problem: string, connected: boolean) => ({ connected, diverged: true, problem })
const matching = (pattern: RegExp) => expect.stringMatching(pattern) as string
const comparedWith = { leaderSeqno: 151n, at: expect.any(Number) as number }

const row = (fields: string) => `ip=h,port=1,${fields}`
/** What the leader says with these rows. */
const withRows = (...rows: string[]) =>
  edit(LEADER, 'slave0', rows.map((each, i) => (i === 0 ? each : `slave${i}:${each}`)).join('\r\n'))
const seen = async (...rows: string[]) => (await readClient(withRows(...rows))).followers
const CURRENT = 'state=online,offset=151,lag=0'

describe('what a leader sees', () => {
  it('is its offset and those that replicas, and no tools, have acknowledged, in the history of its replication id', async () => {
    const followers = [{ replica: '127.0.0.1:37102', connected: true, appliedSeqno: 151n }]
    const found = { shard: 'cache', leaderSeqno: 151n, epoch: HISTORY, followers, complete: false }
    for (const answer of [LEADER, LEADER_WITH_TOOL]) expect(await readClient(answer)).toEqual(found)
  })

  it.each([
    'state=wait_bgsave,offset=0,lag=0,type=replica',
    'state=send_bulk,offset=0,lag=0,type=replica',
    'state=bg_transfer,offset=0,lag=0,type=replica',
    'state=online,offset=0,lag=0',
  ])('is no position of a replica that has not acknowledged anything yet: %s', async (fields) => {
    expect(await seen(row(fields))).toEqual([{ replica: 'h:1', connected: true }])
    // Nothing was ever written.
    const empty = edit(withRows(row('state=online,offset=0,lag=0')), 'master_repl_offset', '0')
    expect((await readClient(empty)).followers).toMatchObject([{ appliedSeqno: 0n }])
  })

  it('is one follower where Valkey lists the two connections of a synchronization', async () => {
    const main = row('state=bg_transfer,offset=0,lag=0,type=main-channel')
    const rdb = row('state=online,offset=0,lag=0,type=rdb-channel')
    const synchronizing = [{ replica: 'h:1', connected: true }]
    for (const rows of [[main, rdb], [rdb, main], [rdb]]) {
      expect(await seen(...rows)).toEqual(synchronizing)
    }
    expect(await seen(rdb, row(CURRENT))).toEqual([
      { replica: 'h:1', connected: true, appliedSeqno: 151n },
    ])
  })

  const behind = 'state=online,offset=9,lag=0'
  it.each([
    ['the one furthest behind', [behind, CURRENT], { appliedSeqno: 9n }],
    ['the one furthest behind', [CURRENT, behind], { appliedSeqno: 9n }],
    ['none while one has not acknowledged', [CURRENT, 'state=online,offset=0,lag=0'], {}],
    ['none while one synchronizes', [CURRENT, 'state=wait_bgsave,offset=0,lag=0'], {}],
  ])('is, of several with one address, %s, and a problem: %j', async (_, rows, position) => {
    const problem = matching(/several replicas.*option nodes/)
    expect(await seen(...rows.map(row))).toEqual([
      { replica: 'h:1', connected: true, ...position, problem },
    ])
  })

  it('leaves out a row that is invalid, and names it', async () => {
    const rows = [
      row(CURRENT),
      'ip=h,port=2,state=online,offset=-1,lag=0',
      'ip=,port=3,state=online,offset=1,lag=0',
      'nonsense',
      'ip=h,port=5,state=wait_bgsave',
    ]
    expect(await readClient(withRows(...rows))).toMatchObject({
      followers: [{ replica: 'h:1', appliedSeqno: 151n }, { replica: 'h:5' }],
      problem:
        'row slave1 cannot be read: field offset has an invalid value: "-1". ' +
        'row slave2 cannot be read: field ip has an invalid value: "". ' +
        'row slave3 cannot be read: field ip is missing',
    })
  })

  it('is exact beyond 2^53, and ignores fields that it does not need', async () => {
    const [offset, max] = [2n ** 64n - 2n, 2n ** 64n - 1n]
    const large = edit(
      withRows(row(`state=online,offset=${offset},lag=0`)),
      'master_repl_offset',
      `${max}`,
    )
    const odd = edit(edit(large, 'second_repl_offset', '???'), 'repl_backlog_histlen', '-7')
    const followers = [{ appliedSeqno: offset }]
    expect(await readClient(odd)).toMatchObject({ leaderSeqno: max, followers })
  })

  it('belongs to another history once the offset has fallen', async () => {
    let answer = LEADER
    const client = { info: () => Promise.resolve(answer) }
    const source = redisSource({ client, shard: 1 })
    const epochs: (string | undefined)[] = []
    const changes = { master_repl_offset: ['152', '90', '95'], master_replid: [OTHER] }
    for (const [field, values] of Object.entries(changes)) {
      for (const value of values) {
        answer = edit(answer, field, value)
        epochs.push((await source.read(AbortSignal.timeout(5000))).shards[0]?.epoch)
      }
    }
    expect(epochs).toEqual([HISTORY, `${HISTORY}/1`, `${HISTORY}/1`, OTHER])
  })
})

describe('a replica among nodes', () => {
  it('has its configured name, what it has applied and what it has received', async () => {
    const behind = edit(REPLICA, 'slave_repl_offset', '100')
    const follower = { replica: 'n2', connected: true, appliedSeqno: 100n, comparedWith }
    const shard = { shard: 'cache', leaderSeqno: 151n, epoch: HISTORY, complete: true }
    const current = await nodesReader()({ n1: LEADER, n2: behind })
    expect(current).toEqual({ ...shard, followers: [{ ...follower, receivedSeqno: 151n }] })
    // Before Redis 7.0.
    const n2 = behind.replace('slave_read_repl_offset:151\r\n', '')
    expect((await nodesReader()({ n1: LEADER, n2 })).followers).toEqual([follower])
  })

  it('is compared with where its leader was when it answered', async () => {
    const answer = (asked: number) => edit(LEADER, 'master_repl_offset', `${1000 + asked}`)
    const { leader, slow } = slowerThanLeader(answer, REPLICA)
    const read = nodesReader()
    await read({ n1: leader, n2: REPLICA, n3: slow })
    const { leaderSeqno, followers } = await read({})
    const moments = followers?.map((each) => each.comparedWith?.leaderSeqno)
    expect(moments?.[1]).toBe(leaderSeqno)
    expect(Number(leaderSeqno) - Number(moments?.[0])).toBe(1)
  })

  it('has no position that can be compared if its leader has not answered since', async () => {
    let asked = 0
    const leader = {
      info: () => (asked++ === 0 ? Promise.resolve(LEADER) : new Promise<never>(() => undefined)),
    }
    expect(await nodesReader()({ n1: leader, n2: REPLICA })).toMatchObject({
      leaderSeqno: 151n,
      followers: [{ replica: 'n2', connected: true }],
    })
  })

  const changed = (field: string, value = '-1', answer = REPLICA) => edit(answer, field, value)
  const [connected, gone] = [{ connected: true }, { connected: false }]
  const synchronizing = edit(REPLICA_ALONE, 'master_sync_in_progress', '1')
  const lost = 'it has no connection to its leader'
  const other = `it has another history than n1: its master_replid is ${OTHER}`
  const problemOf = (field: string) => ({ problem: `field ${field} has an invalid value: "-1"` })
  const unread = (why: RegExp) => ({ ...gone, problem: matching(why) })
  const ahead = { ...connected, diverged: true, problem: 'it has data that n1 does not have' }
  const applied = { ...connected, appliedSeqno: 151n, comparedWith }
  const all = { ...applied, receivedSeqno: 151n }
  const [RECEIVED, APPLIED] = ['slave_read_repl_offset', 'slave_repl_offset'] as const
  it.each<[string, Parameters<typeof readClient>[0], object, string?]>([
    [
      'keeps its position when its leader is gone',
      REPLICA_ALONE,
      { ...all, ...gone, problem: lost },
    ],
    ['has no position while it synchronizes', synchronizing, connected],
    ['has diverged on another history', changed('master_replid', OTHER), diverged(other, true)],
    [
      'has diverged, and lost its leader',
      changed('master_replid', OTHER, REPLICA_ALONE),
      diverged(`${lost}. ${other}`, false),
    ],
    ['has diverged if it is ahead', changed(APPLIED, '152'), ahead],
    ['has diverged if it has more of a history', changed(APPLIED, '152'), ahead, PROMOTED],
    ['follows one that has continued its history', REPLICA, all, PROMOTED],
    [
      'cannot be read',
      GONE,
      unread(/^cannot be read: Connection is closed.: check host, port and/),
    ],
    ['is no replica', 'nonsense', unread(/^cannot be read: field role is missing/)],
    ['has an invalid field', changed(RECEIVED), { ...applied, ...problemOf(RECEIVED) }],
    ['has no valid position', changed(APPLIED), { ...connected, ...problemOf(APPLIED) }],
    ['has an invalid field that does not matter', changed('master_repl_offset'), all],
  ])('%s', async (_, answer, expected, leader = LEADER) => {
    const nodes = { n1: leader, n2: answer, n3: REPLICA }
    const { followers } = await nodesReader()(nodes)
    expect(followers).toEqual([
      { replica: 'n2', ...expected },
      { replica: 'n3', ...all },
    ])
  })
})

describe('the leader', () => {
  const formerOf = (answer: string, id: string, end = '152') =>
    edit(edit(answer, 'master_replid2', id), 'second_repl_offset', end)
  /** One that nothing follows. */
  const alone = (id: string) =>
    edit(LEADER, 'connected_slaves', '0')
      .replace(/slave0:.*\r\n/, '')
      .replace(HISTORY, id)
  const follower = (id: string) => edit(REPLICA, 'master_replid', id)
  const names = ({ followers }: Awaited<ReturnType<typeof readClient>>) =>
    followers?.map(({ replica }) => replica)

  it('is found among the nodes, and is never its own follower', async () => {
    const read = nodesReader()
    expect(names(await read({ n1: REPLICA, n2: LEADER, n3: REPLICA }))).toEqual(['n1', 'n3'])
    await expect(read({ n2: GONE })).rejects.toThrow(
      /^Redis: no node leads: n2: Connection is closed.: check host, port and server/,
    )
    // n1 was promoted, and n3 has not followed it yet.
    const promoted = await read({ n1: PROMOTED, n3: REPLICA_ALONE })
    expect(names(promoted)).toEqual(['n2', 'n3'])
    expect(promoted.problem).toBeUndefined()
    expect(promoted.epoch).not.toBe(HISTORY)
  })

  it('is followed by itself through a failover, also once the former leader is back', async () => {
    const read = nodesReader()
    await read({ n1: LEADER, n2: REPLICA })
    const both = await read({ n1: alone(HISTORY), n2: PROMOTED })
    expect(both).toMatchObject({
      followers: [{ replica: 'n1', connected: false, diverged: true }],
      problem: matching(/^n1 and n2 claim to lead, and the lag is behind n2\./),
    })
    const { followers, problem } = await read({
      n1: edit(REPLICA, 'master_replid', both.epoch ?? ''),
    })
    expect(followers).toMatchObject([{ replica: 'n1', connected: true, appliedSeqno: 151n }])
    expect(problem).toBeUndefined()
  })

  it('is not a replica that has forgotten its leader', async () => {
    const read = nodesReader()
    await read({ n1: LEADER, n2: REPLICA, n3: REPLICA })
    const forgetful = alone(OTHER)
    expect(await read({ n3: forgetful })).toMatchObject({
      epoch: HISTORY,
      followers: [
        { replica: 'n2', appliedSeqno: 151n },
        { replica: 'n3', connected: false, diverged: true },
      ],
      problem: matching(/^n1 and n3 claim to lead, and the lag is behind n1\./),
    })
    await expect(read({ n1: GONE, n2: REPLICA_ALONE })).rejects.toThrow(
      /n3 claims to lead, but no node follows it, and it has a history of its own$/,
    )
    // At the start of the process too, while another one is followed.
    await expect(nodesReader()({ n2: REPLICA, n3: forgetful })).rejects.toThrow(/n3 claims to lead/)
  })

  it('can be the same one with another history, or the only one there is', async () => {
    const read = nodesReader()
    await read({ n1: LEADER, n2: REPLICA })
    expect((await read({ n1: alone(OTHER), n2: REPLICA_ALONE })).epoch).toBe(OTHER)
    expect((await nodesReader()({ n1: alone(OTHER) })).followers).toEqual([])
    const restarted = formerOf(alone(OTHER), HISTORY)
    expect((await nodesReader()({ n1: restarted, n2: REPLICA })).followers).toMatchObject([
      { appliedSeqno: 151n },
    ])
  })

  it.each([
    ['others follow', { n1: alone(HISTORY), n2: alone(OTHER), n3: follower(OTHER) }, 'n2'],
    ['sees replicas', { n1: alone(HISTORY), n2: edit(LEADER, 'master_replid', OTHER) }, 'n2'],
    ['was promoted', { n1: alone(HISTORY), n2: PROMOTED }, 'n2'],
    ['was promoted', { n1: PROMOTED, n2: alone(HISTORY) }, 'n1'],
  ])('is, of two that claim to lead, the one that %s', async (_, nodes, leader) => {
    const found = await nodesReader()(nodes)
    expect(found.problem).toContain(`n1 and n2 claim to lead, and the lag is behind ${leader}`)
    expect(names(found)).not.toContain(leader)
  })

  it('is the last one, of two that nothing distinguishes', async () => {
    const read = nodesReader()
    await read({ n1: REPLICA, n2: LEADER, n3: REPLICA })
    const split = edit(PROMOTED, 'master_replid', OTHER)
    const { problem } = await read({ n1: split, n3: follower(OTHER) })
    expect(problem).toContain('behind n1')
    const tied = await read({ n2: edit(LEADER, 'slave0', row(CURRENT)) })
    expect(tied.problem).toContain('behind n1')
  })

  it('is not known while two that nothing distinguishes claim to lead, and there is no lag then', async () => {
    const nodes = { n1: alone(HISTORY), n2: alone(OTHER), n3: REPLICA_ALONE }
    expect(await nodesReader()(nodes)).toEqual({
      shard: 'cache',
      followers: [
        { replica: 'n3', connected: false, problem: 'it has no connection to its leader' },
      ],
      problem:
        'n1 and n2 claim to lead, so there is no lag. Check which one the clients write to. ' +
        'Each shard of a cluster needs a source of its own',
      complete: true,
    })
  })

  it('is missing if all nodes follow another one, and is not a replica that the client reaches', async () => {
    await expect(nodesReader()({ n1: REPLICA, n2: REPLICA })).rejects.toThrow(
      'Redis: no node leads: all of them follow another one, which nodes must have too',
    )
    const message = 'Redis: the client reaches a replica: give the source all nodes'
    await expect(readClient(REPLICA)).rejects.toThrow(message)
  })

  it('has a position that is compared only in its current history', async () => {
    const restarted = edit(LEADER, 'master_replid', OTHER)
    const { leader, slow } = slowerThanLeader((n) => (n <= 2 ? LEADER : restarted), REPLICA)
    const { epoch, followers } = await nodesReader()({ n1: leader, n2: REPLICA, n3: slow })
    expect(epoch).toBe(OTHER)
    expect(followers).toMatchObject([
      { replica: 'n2', connected: true },
      { replica: 'n3', diverged: true },
    ])
    expect(followers?.[0]).not.toHaveProperty('appliedSeqno')
  })

  it('cannot be read where its position is invalid, and is named', async () => {
    await expect(
      nodesReader()({ n1: edit(LEADER, 'master_repl_offset', '-1'), n2: REPLICA }),
    ).rejects.toThrow('Redis: n1: field master_repl_offset has an invalid value: "-1"')
  })
})

describe('an error', () => {
  it.each([
    ['NOPERM no permissions', 'grant the user the permission: ACL SETUSER name +info'],
    ['NOAUTH Authentication required.', 'check the user and its password'],
    ['Connection is closed.', 'check host, port and server, and whether the port expects TLS'],
    ['LOADING Redis is loading the dataset', 'wait until it has loaded its data'],
    ['EXTRA', ''],
  ])('says what to do: %s', async (message, advice) => {
    await expect(readClient(failing(new Error(message)))).rejects.toThrow(
      advice ? `Redis: ${message}: ${advice}` : /^Redis: EXTRA$/,
    )
  })

  it('is what a server has answered, of several nodes that cannot be read', async () => {
    const denied = failing(new Error('WRONGPASS invalid username-password pair'))
    await expect(nodesReader()({ n1: GONE, n2: denied })).rejects.toThrow(
      /^Redis: no node answers: WRONGPASS .*: check the user and its password$/,
    )
    await expect(nodesReader()({ n1: GONE })).rejects.toThrow(
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

  // What these answer to `INFO replication` and `INFO server`.
  const role = (name: string, more = '') => `# Replication\r\nrole:${name}\r\n${more}`
  it.each([
    ['a Sentinel', '', 'redis_version:7.0.15\r\nredis_mode:sentinel'],
    ['a Sentinel', '', 'server_name:valkey\r\nserver_mode:sentinel'],
    ['KeyDB', role('active-replica', 'master_link_status:up'), 'redis_version:6.3.4'],
    ['Dragonfly', role('master', 'master_replid:8371b4fb'), 'dragonfly_version:df-v1.40.1'],
    ['Kvrocks', role('master', 'master_repl_offset:8'), 'kvrocks_version:2.17.0'],
  ])('names a server that is not a Redis: %s', async (name, replication, server) => {
    await expect(readClient(answering(replication, server))).rejects.toThrow(
      new RegExp(`^Redis: this is ${name}[.: ]`),
    )
  })

  it('is about the answer where it is not a string, or the server cannot be asked what it is', async () => {
    await expect(readClient(answering(undefined))).rejects.toThrow('Redis: the answer to INFO')
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
