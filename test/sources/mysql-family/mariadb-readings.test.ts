import {
  mariadbSource,
  type MariadbSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { describe, expect, it, vi } from 'vitest'
import {
  AT,
  FakeClient,
  hangAfter,
  mariadb,
  onlyShard,
  read,
  serverError,
  type Row,
} from './fakes.js'

const { DOMAINS, ERRANT, FOLLOWER, LEADER, LINK } = mariadb
const REFUSED = serverError(1227, 'ER_SPECIFIC_ACCESS_DENIED_ERROR', 'Access denied; you need …')
const MOMENT = { leaderSeqno: 107n, at: AT }

function sourceOf(nodes: MariadbSourceOptions['nodes'], more: Partial<MariadbSourceOptions> = {}) {
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
      const follower = {
        replica: 'r1',
        connected: true,
        appliedSeqno: 7n,
        comparedWith: MOMENT,
        receivedSeqno: 106n,
      }
      expect(await read(sourceOf({ leader, r1 }))).toEqual({
        complete: true,
        shards: [{ shard: 'a', leaderSeqno: 107n, epoch: '0.0', followers: [follower] }],
      })
    },
  )

  it('counts as not connected without the privilege to see it, and the shard says so', async () => {
    const [shard] = await readAll(LEADER, followerWith({}, REFUSED))
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
    const problem = 'it is not set up as a replica'
    const expected = { connected: false, appliedSeqno: 7n, comparedWith: MOMENT, problem }
    expect(await readOne(followerWith({}, []))).toEqual({ replica: 'r1', ...expected })
  })

  const other = { Master_Server_Id: 5, Gtid_IO_Pos: '0-1-90' }
  const off = { Slave_IO_Running: 'No' }
  it.each<[string, Row[], object]>([
    ['another is off', [{ ...other, ...off }, {}], { connected: true, receivedSeqno: 106n }],
    ['it is off and another is on', [other, off], { connected: false }],
    [
      'it has more than the leader had',
      [{ Gtid_IO_Pos: '0-1-108' }],
      { connected: true, receivedSeqno: 107n },
    ],
    // What it has applied it has received, although that was asked before.
    ['it has less than was applied', [{ Gtid_IO_Pos: '0-1-5' }], { receivedSeqno: 7n }],
    [
      'the second of two has more',
      [{ Gtid_IO_Pos: '0-1-50' }, { Gtid_IO_Pos: '0-1-60' }],
      { receivedSeqno: 60n },
    ],
    [
      'the first of two has more',
      [{ Gtid_IO_Pos: '0-1-60' }, { Gtid_IO_Pos: '0-1-50' }],
      { receivedSeqno: 60n },
    ],
  ])('is as its link to the leader says, if %s', async (_, changes, expected) => {
    const links = changes.map((change) => ({ ...LINK, ...change }))
    expect(await readOne(followerWith({}, links))).toMatchObject(expected)
  })

  it('is not judged if its leader has not answered since', async () => {
    const leader = hangAfter(2, new FakeClient([LEADER]))
    const r1 = followerWith({ gtid_slave_pos: '0-1-108', gtid_binlog_state: '0-1-108' })
    const reading = await sourceOf({ leader, r1 }).read(new AbortController().signal, 200)
    const expected = { replica: 'r1', connected: true, receivedSeqno: 107n }
    expect(onlyShard(reading).followers['r1']).toEqual(expected)
  })

  it('that cannot be read is not connected, in each domain', async () => {
    const follower = followerWith({})
    follower.error = new Error('connect ECONNREFUSED 127.0.0.1:1')
    const problem =
      'cannot be read: MariaDB r1: connect ECONNREFUSED 127.0.0.1:1: check host and port, and whether the server runs'
    const followers = [{ replica: 'r1', connected: false, problem }]
    expect(await readAll(DOMAINS, follower)).toMatchObject([{ followers }, { followers }])
  })
})

describe('a position', () => {
  const LOST =
    'which its leader wrote and no longer has: find out whether the leader was restored or reset'
  const diverged = (gtid: string) =>
    `it has diverged: it has ${gtid}, which its leader does not have`

  it.each<[string, Row, bigint | string]>([
    ['is that of the leader', { gtid_slave_pos: '0-1-107' }, 107n],
    ['is lower', { gtid_slave_pos: '0-1-1' }, 1n],
    ['is lower, from an earlier leader', { gtid_slave_pos: '0-9-106' }, 106n],
    ['is the same, from another server', { gtid_slave_pos: '0-9-107' }, diverged('0-9-107')],
    ['is higher', { gtid_slave_pos: '0-1-108' }, `it has 0-1-108, ${LOST}`],
    ['is higher, from another server', { gtid_slave_pos: '0-9-108' }, diverged('0-9-108')],
    ['has other domains', { gtid_slave_pos: '1-1-9,\n 0-1-7, 2-1-9' }, 7n],
    ['is 0-1-0', { gtid_slave_pos: '0-1-0' }, 0n],
    ['is lower, and it was written to', ERRANT, diverged('0-2-8')],
    ['is of another domain than a write of its own', { gtid_binlog_state: '3-2-900' }, 7n],
    [
      'is of a server with the id of the leader',
      { server_id: '1' },
      'its server_id is also that of leader: give each server its own',
    ],
  ])('of a follower %s', async (_, change, expected) => {
    const found = await readOne(followerWith({ gtid_binlog_state: '', ...change }))
    if (typeof expected === 'string')
      expect(found).toEqual({ replica: 'r1', diverged: true, problem: expected })
    else expect(found).toMatchObject({ appliedSeqno: expected })
    if (typeof expected === 'bigint') expect(found).not.toHaveProperty('problem')
  })

  it('is another history if the leader has less of a server, although its number is higher', async () => {
    const leader = { ...LEADER, gtid_binlog_state: '0-3-50,0-1-107' }
    expect(await readOne(followerWith({ gtid_binlog_state: '0-3-60' }), leader)).toMatchObject({
      diverged: true,
      problem: diverged('0-3-60'),
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
    const gtid_binlog_pos = `4294967295-4294967295-${last}`
    const follower = followerWith({ gtid_slave_pos: `4294967295-1-${last - 1n}` })
    expect(
      await readAll({ ...LEADER, gtid_binlog_pos, gtid_binlog_state: '' }, follower),
    ).toMatchObject([
      { leaderSeqno: last, epoch: '4294967295.0', followers: [{ appliedSeqno: last - 1n }] },
    ])
  })

  it('of two followers with one server_id is left out', async () => {
    const nodes = {
      leader: new FakeClient([LEADER]),
      r1: followerWith({}),
      r2: followerWith({ address: 'db:3308' }),
      r3: followerWith({ server_id: '3', address: 'db:3309' }),
    }
    const { followers } = onlyShard(await read(sourceOf(nodes)))
    const positions = Object.values(followers).map(({ appliedSeqno }) => appliedSeqno)
    expect(positions).toEqual([undefined, undefined, 7n])
  })
})

it('an epoch ends when the leader does not have what a leader had before', async () => {
  const leader = new FakeClient([LEADER])
  const source = sourceOf({ leader, r1: followerWith({}) })
  for (const [gtid_binlog_pos, gtid_binlog_state, epoch, leaderSeqno] of [
    ['0-1-107', '0-1-107', '0.0', 107n],
    ['0-1-109', '0-1-109', '0.0', 109n],
    // Another server leads, with all that the first one wrote.
    ['0-2-112', '0-1-109,0-2-112', '0.0', 112n],
    // It has lost something, even where it has more than before.
    ['0-2-110', '0-1-109,0-2-110', '0.1', 110n],
    ['0-1-150', '0-2-109,0-1-150', '0.2', 150n],
    ['', '', '0.3', 0n],
    ['0-1-1', '0-1-1', '0.3', 1n],
  ] as const) {
    leader.states.splice(0, 1, { ...LEADER, gtid_binlog_pos, gtid_binlog_state })
    expect(onlyShard(await read(source))).toMatchObject({ epoch, leaderSeqno })
  }
})

describe('several domains', () => {
  it('are shards of their own', async () => {
    expect(await readAll(DOMAINS, followerWith({}))).toMatchObject([
      { shard: 'a/0', leaderSeqno: 107n, followers: [{ replica: 'r1', appliedSeqno: 7n }] },
      { shard: 'a/7', leaderSeqno: 2n, followers: [{ replica: 'r1', connected: true }] },
    ])
  })

  const without7 = { ...LINK, Replicate_Ignore_Domain_Ids: '7, 9' }
  it.each<[string, Row[], string[]]>([
    ['leaves none out', [LINK], ['a/0', 'a/7']],
    ['leaves one out', [without7], ['a/0']],
    ['replicates only one', [{ ...LINK, Replicate_Do_Domain_Ids: '7' }], ['a/7']],
    ['has another link that does not leave it out', [without7, LINK], ['a/0', 'a/7']],
  ])('have no row for a follower that leaves them out: %s', async (_, links, expected) => {
    const shards = await readAll(DOMAINS, followerWith({}, links))
    const reported = shards.filter(({ followers }) => followers.length > 0)
    expect(reported.map(({ shard }) => shard)).toEqual(expected)
  })

  it('are seen by the filter', async () => {
    const filter = vi.fn(({ domain }: { domain: string }) => domain === '0')
    const shards = await readAll(DOMAINS, followerWith({}), { filter })
    const seen = ['0', '7'].map((domain) => [{ replica: 'r1', domain }])
    expect(filter.mock.calls).toEqual(seen)
    expect(shards.map(({ followers }) => followers.length)).toEqual([1, 0])
  })

  it('that are new have no lag until the leader has answered after the follower', async () => {
    const leader = new FakeClient([LEADER, DOMAINS, LEADER, DOMAINS])
    const { shards } = await read(sourceOf({ leader, r1: followerWith({}) }))
    expect(shards.map(({ shard }) => shard)).toEqual(['a/0', 'a/7'])
  })

  it.each<[string, Row, string[]]>([
    ['in two domains', DOMAINS, ['a/0', 'a/7']],
    ['that have written nothing', { gtid_binlog_pos: '', gtid_binlog_state: '' }, ['a']],
    ['whose position cannot be read', { gtid_binlog_pos: null }, ['a']],
  ])('are shards without a leader while two nodes %s claim to lead', async (_, state, names) => {
    const leader = new FakeClient([{ ...LEADER, ...state }])
    const rival = new FakeClient([{ ...LEADER, ...state, server_id: '2', address: 'db:3307' }])
    const followers = ['leader', 'rival'].map((replica) => ({ replica, connected: false }))
    const problem = expect.stringMatching(/^two nodes claim to lead: leader and rival/) as string
    const { shards } = await read(sourceOf({ leader, rival }))
    expect(shards).toEqual(names.map((shard) => ({ shard, problem, followers })))
  })
})

describe('a leader without a position', () => {
  const empty = { ...LEADER, gtid_binlog_state: '', gtid_binlog_pos: '' }

  it.each(['1', 'ON'])('has written nothing yet, with log_bin %s', async (log_bin) => {
    const leader = { ...empty, log_bin }
    const follower = followerWith({ gtid_slave_pos: '', gtid_binlog_state: '' })
    expect(await readAll(leader, follower)).toMatchObject([
      { shard: 'a', leaderSeqno: 0n, followers: [{ replica: 'r1', connected: true }] },
    ])
    const older = { ...leader, gtid_domain_id: undefined }
    expect(await readAll(older, followerWith({}))).toMatchObject([
      { epoch: '0.0', followers: [{ diverged: true }] },
    ])
  })

  it('is an error if its binary log is off', async () => {
    await expect(readAll({ ...empty, log_bin: '0' }, followerWith({}))).rejects.toThrow(
      'MariaDB leader leader: its gtid_binlog_pos is empty: its binary log is off: start it with log_bin',
    )
  })
})
