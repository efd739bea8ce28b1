import {
  mariadbSource,
  type MariadbSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { describe, expect, it } from 'vitest'
import { AT, FakeClient, onlyShard, read, serverError, type Row } from './fakes.js'
import { DOMAINS, ERRANT, FOLLOWER, LEADER, LINK } from './mariadb-answers.js'

const REFUSED = serverError(1227, 'ER_SPECIFIC_ACCESS_DENIED_ERROR', 'Access denied; you need …')
const MOMENT = { leaderSeqno: 107n, at: AT }

function sourceOf(nodes: Record<string, FakeClient>, more: Partial<MariadbSourceOptions> = {}) {
  return mariadbSource({ nodes, shard: 'a', ...more })
}

/** A follower of the leader of these tests. */
function followerWith(change: Row, links: unknown = [LINK]): FakeClient {
  return new FakeClient([{ ...FOLLOWER, ...change }], links)
}

async function readAll(leader: Row, r1: FakeClient, more: Partial<MariadbSourceOptions> = {}) {
  return (await read(sourceOf({ leader: new FakeClient([leader]), r1 }, more))).shards
}

/** Reads the only follower of a leader with one domain. */
async function readOne(follower: FakeClient, leader: Row = LEADER) {
  return (await readAll(leader, follower))[0]?.followers[0]
}

describe('a follower', () => {
  it.each(['mysql2', 'mariadb'] as const)(
    'has applied and received positions, with answers of %s',
    async (form) => {
      const leader = new FakeClient([LEADER], [], form)
      const r1 = new FakeClient([FOLLOWER], [LINK], form)
      expect(await read(sourceOf({ leader, r1 }))).toEqual({
        complete: true,
        shards: [
          {
            shard: 'a',
            leaderSeqno: 107n,
            epoch: '0.0',
            followers: [
              {
                replica: 'r1',
                connected: true,
                appliedSeqno: 7n,
                comparedWith: MOMENT,
                receivedSeqno: 106n,
              },
            ],
          },
        ],
      })
    },
  )

  it('counts as not connected without the privilege to see it, and the shard says so', async () => {
    const [shard] = await readAll(LEADER, new FakeClient([FOLLOWER], REFUSED))
    expect(shard).toMatchObject({
      problem:
        'the replication state of r1 cannot be seen, so followers there count as not connected: GRANT REPLICA MONITOR ON *.* TO it (before 10.5 REPLICATION CLIENT)',
      followers: [{ replica: 'r1', connected: false, appliedSeqno: 7n, comparedWith: MOMENT }],
    })
    expect(shard?.followers[0]).not.toHaveProperty('receivedSeqno')
  })

  it('has no position if it has nothing of the domain', async () => {
    const links = [{ ...LINK, Gtid_IO_Pos: '' }]
    const change = { gtid_slave_pos: '3-1-7', gtid_binlog_state: '3-1-7' }
    const found = await readOne(followerWith(change, links))
    expect(found).toEqual({ replica: 'r1', connected: true, comparedWith: MOMENT })
  })

  it.each([
    [
      'is not connected',
      { Slave_IO_Running: 'Connecting', Last_IO_Errno: 2003 },
      false,
      'its IO thread is not connected (Connecting), last error 2003',
    ],
    [
      'applies nothing',
      { Slave_SQL_Running: 'No', Last_SQL_Errno: 1062 },
      true,
      'its SQL thread does not run, last error 1062',
    ],
  ] as const)('keeps its lag while it %s', async (_, change, connected, problem) => {
    const found = await readOne(followerWith({}, [{ ...LINK, ...change }]))
    expect(found).toMatchObject({ connected, problem, appliedSeqno: 7n, receivedSeqno: 106n })
  })

  it('is not connected if it has no link at all', async () => {
    expect(await readOne(followerWith({}, []))).toEqual({
      replica: 'r1',
      connected: false,
      appliedSeqno: 7n,
      comparedWith: MOMENT,
      problem: 'it is not set up as a replica',
    })
  })

  it('is connected and has received as its link to the leader says, regardless of others', async () => {
    const other = { ...LINK, Master_Server_Id: 5, Gtid_IO_Pos: '0-1-90' }
    const off = { Slave_IO_Running: 'No' }
    const found = (...links: Row[]) => readOne(followerWith({}, links))
    expect(await found({ ...other, ...off }, LINK)).toMatchObject({
      connected: true,
      receivedSeqno: 106n,
    })
    expect(await found(other, { ...LINK, ...off })).toMatchObject({ connected: false })
    expect(await found({ ...LINK, Gtid_IO_Pos: '0-1-108' })).toMatchObject({ receivedSeqno: 107n })
    // What it has applied it has received, although that was asked before.
    expect(await found({ ...LINK, Gtid_IO_Pos: '0-1-5' })).toMatchObject({ receivedSeqno: 7n })
    const [older, later] = ['0-1-50', '0-1-60'].map((Gtid_IO_Pos) => ({ ...LINK, Gtid_IO_Pos }))
    for (const links of [
      [older, later],
      [later, older],
    ] as Row[][]) {
      expect(await found(...links)).toMatchObject({ receivedSeqno: 60n })
    }
  })

  it('is not judged if its leader has not answered since', async () => {
    let count = 0
    const answering = new FakeClient([LEADER])
    const leader = {
      query: (sql: string) =>
        ++count > 2 ? new Promise<never>(() => undefined) : answering.query(sql),
    }
    const r1 = followerWith({ gtid_slave_pos: '0-1-108', gtid_binlog_state: '0-1-108' })
    const source = mariadbSource({ nodes: { leader, r1 }, shard: 'a' })
    const { followers } = onlyShard(await source.read(new AbortController().signal, 200))
    expect(followers['r1']).toEqual({ replica: 'r1', connected: true, receivedSeqno: 107n })
  })
})

describe('a position', () => {
  const LOST =
    'which its leader wrote and no longer has: find out whether the leader was restored or reset'

  it.each<[string, Row, bigint | undefined, string | undefined]>([
    ['is that of the leader', { gtid_slave_pos: '0-1-107' }, 107n, undefined],
    ['is lower', { gtid_slave_pos: '0-1-1' }, 1n, undefined],
    ['is lower, from an earlier leader', { gtid_slave_pos: '0-9-106' }, 106n, undefined],
    [
      'is the same, from another server',
      { gtid_slave_pos: '0-9-107' },
      undefined,
      'it has diverged: it has 0-9-107, which its leader does not have',
    ],
    ['is higher', { gtid_slave_pos: '0-1-108' }, undefined, `it has 0-1-108, ${LOST}`],
    [
      'is higher, from another server',
      { gtid_slave_pos: '0-9-108' },
      undefined,
      'it has diverged: it has 0-9-108, which its leader does not have',
    ],
    ['has other domains', { gtid_slave_pos: '1-1-9,\n 0-1-7, 2-1-9' }, 7n, undefined],
    ['is 0-1-0', { gtid_slave_pos: '0-1-0' }, 0n, undefined],
    [
      'is lower, and it was written to',
      ERRANT,
      undefined,
      'it has diverged: it has 0-2-8, which its leader does not have',
    ],
    [
      'is of another domain than a write of its own',
      { gtid_binlog_state: '3-2-900' },
      7n,
      undefined,
    ],
    [
      'is of a server with the id of the leader',
      { server_id: '1' },
      undefined,
      'its server_id is also that of leader: give each server its own',
    ],
  ])('of a follower %s', async (_, change, appliedSeqno, problem) => {
    const found = await readOne(followerWith({ gtid_binlog_state: '', ...change }))
    expect(found?.appliedSeqno).toBe(appliedSeqno)
    expect(found?.problem).toBe(problem)
    if (appliedSeqno !== undefined) return
    expect(Object.keys(found ?? {})).toEqual(['replica', 'diverged', 'problem'])
  })

  it('is another history if the leader has less of a server, although its number is higher', async () => {
    const leader = { ...LEADER, gtid_binlog_state: '0-3-50,0-1-107' }
    expect(await readOne(followerWith({ gtid_binlog_state: '0-3-60' }), leader)).toMatchObject({
      diverged: true,
      problem: 'it has diverged: it has 0-3-60, which its leader does not have',
    })
  })

  it('of a former leader is what it has written, until it applies something', async () => {
    const leader = { ...LEADER, gtid_binlog_state: '0-2-100,0-1-107' }
    const found = async (gtid_slave_pos: string, state: Row = leader) => {
      const former = followerWith({ gtid_binlog_state: '0-2-100', gtid_slave_pos })
      return (await readOne(former, state))?.appliedSeqno
    }
    expect(await found('')).toBe(100n)
    expect(await found('0-9-40')).toBe(100n)
    expect(await found('0-1-105')).toBe(105n)
    // A leader need not have in its binary log what it has replicated itself.
    const last = { ...LEADER, gtid_slave_pos: '0-2-100', gtid_binlog_state: '0-1-107' }
    expect(await found('', last)).toBe(100n)
    expect(await found('', { ...last, gtid_slave_pos: '0-9-101' })).toBe(undefined)
  })

  it('is exact up to 2^64 − 1', async () => {
    const last = 2n ** 64n - 1n
    const leader = {
      ...LEADER,
      gtid_binlog_pos: `4294967295-4294967295-${last}`,
      gtid_binlog_state: '',
    }
    const follower = followerWith({ gtid_slave_pos: `4294967295-1-${last - 1n}` })
    expect(await readAll(leader, follower)).toMatchObject([
      { leaderSeqno: last, epoch: '4294967295.0', followers: [{ appliedSeqno: last - 1n }] },
    ])
  })

  it('of two followers with one server_id is left out', async () => {
    const leader = new FakeClient([LEADER])
    const nodes = { leader, r1: followerWith({}), r2: followerWith({ address: 'db:3308' }) }
    const r3 = followerWith({ server_id: '3', address: 'db:3309' })
    const { followers } = onlyShard(await read(sourceOf({ ...nodes, r3 })))
    const positions = Object.values(followers).map(({ appliedSeqno }) => appliedSeqno)
    expect(positions).toEqual([undefined, undefined, 7n])
  })
})

describe('an epoch', () => {
  it('ends when the leader does not have what a leader had before', async () => {
    const leader = new FakeClient([LEADER])
    const source = sourceOf({ leader, r1: followerWith({}) })
    const found = []
    for (const [gtid_binlog_pos, gtid_binlog_state] of [
      ['0-1-107', '0-1-107'],
      ['0-1-109', '0-1-109'],
      // Another server leads, with all that the first one wrote.
      ['0-2-112', '0-1-109,0-2-112'],
      // It has lost something, also where it has more than before.
      ['0-2-110', '0-1-109,0-2-110'],
      ['0-1-150', '0-2-109,0-1-150'],
      ['', ''],
      ['0-1-1', '0-1-1'],
    ] as const) {
      leader.states.splice(0, 1, { ...LEADER, gtid_binlog_pos, gtid_binlog_state })
      const { epoch, leaderSeqno } = onlyShard(await read(source))
      found.push([epoch, leaderSeqno])
    }
    expect(found).toEqual([
      ['0.0', 107n],
      ['0.0', 109n],
      ['0.0', 112n],
      ['0.1', 110n],
      ['0.2', 150n],
      ['0.3', 0n],
      ['0.3', 1n],
    ])
  })
})

describe('several domains', () => {
  it('are shards of their own', async () => {
    expect(await readAll(DOMAINS, followerWith({}))).toMatchObject([
      { shard: 'a/0', leaderSeqno: 107n, followers: [{ replica: 'r1', appliedSeqno: 7n }] },
      { shard: 'a/7', leaderSeqno: 2n, followers: [{ replica: 'r1', connected: true }] },
    ])
  })

  it.each<[string, Row[], string[]]>([
    ['leaves none out', [LINK], ['a/0', 'a/7']],
    ['leaves one out', [{ ...LINK, Replicate_Ignore_Domain_Ids: '7, 9' }], ['a/0']],
    ['replicates only one', [{ ...LINK, Replicate_Do_Domain_Ids: '7' }], ['a/7']],
    [
      'has another link that does not leave it out',
      [{ ...LINK, Replicate_Ignore_Domain_Ids: '7' }, LINK],
      ['a/0', 'a/7'],
    ],
  ])('have no row for a follower that leaves them out: %s', async (_, links, expected) => {
    const shards = await readAll(DOMAINS, followerWith({}, links))
    const reported = shards.filter(({ followers }) => followers.length > 0)
    expect(reported.map(({ shard }) => shard)).toEqual(expected)
  })

  it('are seen by the filter', async () => {
    const seen: unknown[] = []
    const filter: MariadbSourceOptions['filter'] = (follower) => {
      seen.push(follower)
      return follower.domain === '0'
    }
    const shards = await readAll(DOMAINS, followerWith({}), { filter })
    expect(seen).toEqual([
      { replica: 'r1', domain: '0' },
      { replica: 'r1', domain: '7' },
    ])
    expect(shards.map(({ followers }) => followers.length)).toEqual([1, 0])
  })

  it('that are new have no lag until the leader has answered after the follower', async () => {
    const leader = new FakeClient([LEADER, DOMAINS, LEADER, DOMAINS])
    const shards = (await read(sourceOf({ leader, r1: followerWith({}) }))).shards
    expect(shards.map(({ shard }) => shard)).toEqual(['a/0', 'a/7'])
  })

  it('are shards without a leader while two nodes claim to lead', async () => {
    const rival = new FakeClient([{ ...DOMAINS, server_id: '2', address: 'db:3307' }])
    const { shards } = await read(sourceOf({ leader: new FakeClient([DOMAINS]), rival }))
    const followers = ['leader', 'rival'].map((replica) => ({ replica, connected: false }))
    const problem = expect.stringMatching(/^two nodes claim to lead: leader and rival/) as string
    expect(shards).toEqual([
      { shard: 'a/0', problem, followers },
      { shard: 'a/7', problem, followers },
    ])
    const empty = { gtid_binlog_pos: '', gtid_binlog_state: '' }
    const nodes = {
      leader: new FakeClient([{ ...LEADER, ...empty }]),
      rival: new FakeClient([{ ...LEADER, ...empty, server_id: '2' }]),
    }
    expect((await read(sourceOf(nodes))).shards).toEqual([{ shard: 'a', problem, followers }])
    const unreadable = new FakeClient([{ ...LEADER, gtid_binlog_pos: null }])
    expect((await read(sourceOf({ ...nodes, leader: unreadable }))).shards).toEqual([
      { shard: 'a', problem, followers },
    ])
  })
})

describe('a leader without a position', () => {
  it.each(['1', 'ON'])('has written nothing yet, with log_bin %s', async (log_bin) => {
    const leader = { ...LEADER, gtid_binlog_state: '', gtid_binlog_pos: '', log_bin }
    const empty = followerWith({ gtid_slave_pos: '', gtid_binlog_state: '' })
    expect(await readAll(leader, empty)).toMatchObject([
      { shard: 'a', leaderSeqno: 0n, followers: [{ replica: 'r1', connected: true }] },
    ])
    const older = { ...leader, gtid_domain_id: undefined }
    expect(await readAll(older, followerWith({}))).toMatchObject([
      { epoch: '0.0', followers: [{ diverged: true }] },
    ])
  })

  it('is an error if its binary log is off', async () => {
    const leader = { ...LEADER, gtid_binlog_state: '', gtid_binlog_pos: '', log_bin: '0' }
    await expect(readAll(leader, followerWith({}))).rejects.toThrow(
      'MariaDB leader leader: its gtid_binlog_pos is empty: its binary log is off: start it with log_bin',
    )
  })
})

it('a follower that cannot be read is not connected, in each domain', async () => {
  const follower = followerWith({})
  follower.error = new Error('connect ECONNREFUSED 127.0.0.1:1')
  const problem =
    'cannot be read: MariaDB r1: connect ECONNREFUSED 127.0.0.1:1: check host and port, and whether the server runs'
  const followers = [{ replica: 'r1', connected: false, problem }]
  expect(await readAll(DOMAINS, follower)).toMatchObject([{ followers }, { followers }])
})
