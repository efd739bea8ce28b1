import {
  mariadbSource,
  type MariadbSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { describe, expect, it } from 'vitest'
import { FakeClient, read, serverError, type Row } from './fakes.js'
import { DOMAINS, ERRANT, FOLLOWER, LEADER, LINK } from './mariadb-answers.js'

const REFUSED = serverError(1227, 'ER_SPECIFIC_ACCESS_DENIED_ERROR', 'Access denied; you need …')

async function readAll(
  leader: Row | readonly Row[],
  follower: FakeClient,
  more: Partial<MariadbSourceOptions> = {},
) {
  const client = new FakeClient([leader].flat())
  const source = mariadbSource({ leader: client, followers: { r1: follower }, shard: 'a', ...more })
  return (await read(source)).shards
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
      const follower = new FakeClient([FOLLOWER], [LINK], form)
      expect(await readAll(LEADER, follower, { leader })).toEqual([
        {
          shard: 'a',
          leaderSeqno: 107n,
          epoch: '0',
          followers: [{ replica: 'r1', connected: true, appliedSeqno: 7n, receivedSeqno: 106n }],
          removed: [],
        },
      ])
    },
  )

  it('has no received seqno and counts as connected without the right to see it', async () => {
    expect(await readOne(new FakeClient([FOLLOWER], REFUSED))).toEqual({
      replica: 'r1',
      connected: true,
      appliedSeqno: 7n,
    })
  })

  it('has no position if it has nothing of the domain', async () => {
    const other = { ...FOLLOWER, gtid_slave_pos: '3-1-7' }
    const found = await readOne(new FakeClient([other], [{ ...LINK, Gtid_IO_Pos: '' }]))
    expect(found).toEqual({ replica: 'r1', connected: true })
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
    const found = await readOne(new FakeClient([FOLLOWER], [{ ...LINK, ...change }]))
    expect(found).toMatchObject({ connected, problem, appliedSeqno: 7n, receivedSeqno: 106n })
  })

  it('is not connected if it has no link at all', async () => {
    const found = await readOne(new FakeClient([FOLLOWER], []))
    expect(found).toEqual({
      replica: 'r1',
      connected: false,
      appliedSeqno: 7n,
      problem: 'it is not set up as a replica',
    })
  })

  it('is connected and has received as its link to the leader says, whatever others say', async () => {
    const other = { ...LINK, Master_Server_Id: 5, Gtid_IO_Pos: '0-1-90' }
    const off = { Slave_IO_Running: 'No' }
    const found = (...links: Row[]) => readOne(new FakeClient([FOLLOWER], links))
    expect(await found({ ...other, ...off }, LINK)).toMatchObject({
      connected: true,
      receivedSeqno: 106n,
    })
    expect(await found(other, { ...LINK, ...off })).toMatchObject({ connected: false })
    // A cascade: its links are to other servers.
    const later = { ...other, Gtid_IO_Pos: '0-1-95' }
    expect(await found(other, later, other)).toMatchObject({ connected: true, receivedSeqno: 95n })
    expect(await found({ ...other, Gtid_IO_Pos: '0-1-108' })).not.toHaveProperty('receivedSeqno')
  })
})

describe('a position', () => {
  const DIVERGED = 'it has diverged: it has transactions in domain 0 that its leader does not have'
  const SHARED = 'its server_id is that of another server, or its client reaches that one'

  it.each<[string, Row, bigint | undefined, string | undefined]>([
    ['is that of the leader', { gtid_slave_pos: '0-1-107' }, 107n, undefined],
    ['is lower', { gtid_slave_pos: '0-1-1' }, 1n, undefined],
    ['is lower, from an earlier leader', { gtid_slave_pos: '0-9-106' }, 106n, undefined],
    ['is the same, from another server', { gtid_slave_pos: '0-9-107' }, undefined, DIVERGED],
    ['is higher', { gtid_slave_pos: '0-1-108' }, undefined, DIVERGED],
    ['is higher, from another server', { gtid_slave_pos: '0-9-108' }, undefined, DIVERGED],
    ['has other domains', { gtid_slave_pos: '1-1-9,\n 0-1-7, 2-1-9' }, 7n, undefined],
    ['is 0-1-0', { gtid_slave_pos: '0-1-0' }, 0n, undefined],
    ['is lower, and a write of its own is', ERRANT, 7n, DIVERGED],
    [
      'is lower, and a write of its own is not',
      { gtid_binlog_state: '0-2-107' },
      undefined,
      DIVERGED,
    ],
    [
      'is of another domain than a write of its own',
      { gtid_binlog_state: '3-2-900' },
      7n,
      undefined,
    ],
    ['is of a server with the id of the leader', { server_id: '1' }, undefined, SHARED],
  ])('of a follower %s', async (_, change, appliedSeqno, problem) => {
    const found = await readOne(new FakeClient([{ ...FOLLOWER, ...change }], [LINK]))
    expect(found?.appliedSeqno).toBe(appliedSeqno)
    expect(found?.problem).toBe(problem)
    if (appliedSeqno === undefined) expect(found).not.toHaveProperty('receivedSeqno')
  })

  it('of a former leader is what it has written, until it applies something', async () => {
    const leader = { ...LEADER, gtid_binlog_state: '0-2-100,0-1-107' }
    const former = { ...FOLLOWER, gtid_binlog_state: '0-2-100' }
    const found = async (gtid_slave_pos: string) =>
      (await readOne(new FakeClient([{ ...former, gtid_slave_pos }], [LINK]), leader))?.appliedSeqno
    expect(await found('')).toBe(100n)
    expect(await found('0-9-40')).toBe(100n)
    expect(await found('0-1-105')).toBe(105n)
  })

  it('is exact up to 2^64 − 1', async () => {
    const last = 2n ** 64n - 1n
    const leader = { ...LEADER, gtid_binlog_pos: `4294967295-4294967295-${last}` }
    const follower = { ...FOLLOWER, gtid_slave_pos: `4294967295-1-${last - 1n}` }
    expect(await readAll(leader, new FakeClient([follower]))).toMatchObject([
      { leaderSeqno: last, epoch: '4294967295', followers: [{ appliedSeqno: last - 1n }] },
    ])
  })

  it('of the leader is not that of a follower, as after a failover', async () => {
    const self = new FakeClient([{ ...FOLLOWER, server_id: '1', address: LEADER['address'] }])
    const followers = { r1: new FakeClient([FOLLOWER]), r2: self }
    expect(await readAll(LEADER, self, { followers })).toMatchObject([
      { followers: [{ replica: 'r1', appliedSeqno: 7n }], removed: ['r2'] },
    ])
  })

  it('of two followers with one server_id is left out', async () => {
    const followers = Object.fromEntries(
      ['r1', 'r2', 'r3'].map((name) => [
        name,
        new FakeClient([{ ...FOLLOWER, server_id: name === 'r3' ? '3' : '2' }]),
      ]),
    )
    const [shard] = await readAll(LEADER, new FakeClient([]), { followers })
    const positions = shard?.followers.map(({ appliedSeqno }) => appliedSeqno)
    expect(positions).toEqual([undefined, undefined, 7n])
  })
})

describe('several domains', () => {
  const shardsOf = async (...states: Row[]) => {
    const leader = new FakeClient([...states])
    const source = mariadbSource({
      leader,
      followers: { r1: new FakeClient([FOLLOWER]) },
      shard: 'a',
    })
    const readings = []
    while (readings.length < states.length) readings.push((await read(source)).shards)
    return readings
  }

  it('are shards of their own', async () => {
    expect(await shardsOf(DOMAINS)).toMatchObject([
      [
        { shard: 'a/0', leaderSeqno: 107n, followers: [{ replica: 'r1', appliedSeqno: 7n }] },
        { shard: 'a/7', leaderSeqno: 2n, followers: [{ replica: 'r1', connected: false }] },
      ],
    ])
  })

  it('and one domain have other names, and followers under the names that are gone are removed once', async () => {
    const readings = await shardsOf(LEADER, DOMAINS, DOMAINS, LEADER, LEADER)
    const gone = (shard: string) => ({ shard, followers: [], removed: ['r1'] })
    expect(readings).toMatchObject([
      [{ shard: 'a' }],
      [{ shard: 'a/0' }, { shard: 'a/7' }, gone('a')],
      [{ shard: 'a/0' }, { shard: 'a/7' }],
      [{ shard: 'a' }, gone('a/0'), gone('a/7')],
      [{ shard: 'a' }],
    ])
    expect(readings.map(({ length }) => length)).toEqual([1, 3, 2, 3, 1])
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
    const shards = await readAll(DOMAINS, new FakeClient([FOLLOWER], links))
    const reported = shards.filter(({ followers }) => followers.length > 0)
    expect(reported.map(({ shard }) => shard)).toEqual(expected)
  })

  it('are seen by the filter', async () => {
    const seen: unknown[] = []
    const filter: MariadbSourceOptions['filter'] = (follower) => {
      seen.push(follower)
      return follower.domain === '0'
    }
    const shards = await readAll(DOMAINS, new FakeClient([FOLLOWER]), { filter })
    expect(seen).toEqual([
      { replica: 'r1', domain: '0' },
      { replica: 'r1', domain: '7' },
    ])
    expect(shards.map(({ followers }) => followers.length)).toEqual([1, 0])
  })
})

describe('a leader without a position', () => {
  it.each([
    ['1', 'its gtid_binlog_pos is empty: nothing was written yet'],
    ['ON', 'its gtid_binlog_pos is empty: nothing was written yet'],
    ['OFF', 'its gtid_binlog_pos is empty: its binary log is off: start it with log_bin'],
  ])('is an error that says why, with log_bin %s', async (log_bin, message) => {
    const leader = { ...LEADER, gtid_binlog_state: '', gtid_binlog_pos: '', log_bin }
    await expect(readAll(leader, new FakeClient([FOLLOWER]))).rejects.toThrow(message)
  })
})

it('a follower that cannot be read is not connected, in each domain', async () => {
  const follower = new FakeClient([FOLLOWER])
  follower.error = new Error('connect ECONNREFUSED 127.0.0.1:1')
  const problem =
    'cannot be read: MariaDB: connect ECONNREFUSED 127.0.0.1:1: check host and port, and whether the server runs'
  const followers = [{ replica: 'r1', connected: false, problem }]
  expect(await readAll(DOMAINS, follower)).toMatchObject([{ followers }, { followers }])
})
