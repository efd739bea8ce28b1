import {
  mysqlSource,
  type MysqlSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { describe, expect, it } from 'vitest'
import { AT, FakeClient, onlyShard, read, serverError, type Row } from './fakes.js'
import {
  CHANNEL,
  ERRANT,
  FOLLOWER,
  FOLLOWER_UUID,
  GROUP,
  LEADER,
  LEADER_UUID,
  MEMBERSHIP,
} from './mysql-answers.js'

const A = '11111111-1111-1111-1111-111111111111'
const B = '22222222-2222-2222-2222-222222222222'
const REFUSED = serverError(1142, 'ER_TABLEACCESS_DENIED_ERROR', 'SELECT command denied')
const MOMENT = { leaderSeqno: 111n, at: AT }

type Nodes = Record<string, FakeClient>

function sourceOf(nodes: Nodes, more: Partial<MysqlSourceOptions> = {}) {
  return mysqlSource({ nodes, shard: 'a', ...more })
}

/** A follower of the leader of these tests. */
function followerWith(change: Row, channels: unknown = [CHANNEL]): FakeClient {
  return new FakeClient([{ ...FOLLOWER, ...change }], channels)
}

/** Reads the only follower of a leader. */
async function readOne(follower: FakeClient, leader = new FakeClient([LEADER])) {
  return onlyShard(await read(sourceOf({ leader, r1: follower }))).followers['r1']
}

describe('a follower', () => {
  it.each(['mysql2', 'mariadb'] as const)(
    'has applied and received what its leader has too, with answers of %s',
    async (form) => {
      const leader = new FakeClient([LEADER], [], form)
      const r1 = new FakeClient([FOLLOWER], [CHANNEL], form)
      expect(await read(sourceOf({ leader, r1 }))).toEqual({
        complete: true,
        shards: [
          {
            shard: 'a',
            leaderSeqno: 111n,
            epoch: '0',
            followers: [
              {
                replica: 'r1',
                connected: true,
                appliedSeqno: 11n,
                comparedWith: MOMENT,
                receivedSeqno: 110n,
              },
            ],
          },
        ],
      })
    },
  )

  it('is read before its leader, with its position last, and that of its leader first', async () => {
    const order: string[] = []
    const named = (name: string, client: FakeClient) => ({
      query: (sql: string) => {
        order.push(`${name}: ${sql.includes('@@global') ? 'position' : 'channels'}`)
        return client.query(sql)
      },
    })
    const leader = named('leader', new FakeClient([LEADER]))
    const follower = named('follower', new FakeClient([FOLLOWER], [CHANNEL]))
    const source = mysqlSource({ nodes: { leader, follower }, shard: 'a' })
    await read(source)
    order.length = 0
    await read(source)
    expect(order).toEqual([
      'follower: channels',
      'follower: position',
      'leader: position',
      'leader: channels',
    ])
  })

  it('counts as not connected without the privilege to see it, and the shard says so once', async () => {
    const r1 = new FakeClient([FOLLOWER], REFUSED)
    const r2 = new FakeClient([{ ...FOLLOWER, server_uuid: B }], [CHANNEL])
    const { followers, problem } = onlyShard(
      await read(sourceOf({ leader: new FakeClient([LEADER], REFUSED), r1, r2 })),
    )
    expect(followers['r1']).toEqual({
      replica: 'r1',
      connected: false,
      appliedSeqno: 11n,
      comparedWith: MOMENT,
    })
    expect(followers['r2']).toMatchObject({ connected: true, receivedSeqno: 110n })
    expect(problem).toBe(
      'the replication state of leader and r1 cannot be seen, so followers there count as not connected: GRANT SELECT ON performance_schema.replication_connection_status TO it',
    )
  })

  it('has applied nothing while its set is empty', async () => {
    const follower = await readOne(followerWith({ gtid_executed: '' }))
    expect(follower).toMatchObject({ appliedSeqno: 0n, receivedSeqno: 99n })
  })

  it.each([
    [[], 'it is not set up as a replica'],
    [
      [{ ...CHANNEL, service_state: 'CONNECTING', last_error_number: '2003' }],
      'its receiver is CONNECTING, last error 2003',
    ],
  ])('is not connected if no channel is on: %#', async (channels, problem) => {
    const follower = await readOne(new FakeClient([FOLLOWER], channels))
    expect(follower).toMatchObject({ connected: false, appliedSeqno: 11n, problem })
  })

  it('is connected if the channel from its leader is on, regardless of others', async () => {
    const other = { ...CHANNEL, source_uuid: B, service_state: 'OFF' }
    const isConnected = async (...channels: unknown[]) =>
      (await readOne(new FakeClient([FOLLOWER], channels)))?.connected
    expect(await isConnected(other, CHANNEL)).toBe(true)
    const on = { ...other, service_state: 'ON' }
    expect(await isConnected(on, { ...CHANNEL, service_state: 'OFF' })).toBe(false)
  })

  it('has applied up to its first gap, where it applies out of order', async () => {
    const gtid_executed = `${LEADER_UUID}:1-8:10-90:95:blue:1-3`
    const leader = new FakeClient([{ ...LEADER, gtid_executed: `${LEADER_UUID}:1-108:blue:1-3` }])
    expect(await readOne(followerWith({ gtid_executed }), leader)).toMatchObject({
      appliedSeqno: 93n,
      appliedUpTo: 11n,
    })
  })

  it('is not judged if its leader has not answered since', async () => {
    let count = 0
    const answering = new FakeClient([LEADER])
    const leader = {
      query: (sql: string) =>
        ++count > 2 ? new Promise<never>(() => undefined) : answering.query(sql),
    }
    const r1 = followerWith({ gtid_executed: `${LEADER_UUID}:1-109:blue:1-3` })
    const source = mysqlSource({ nodes: { leader, r1 }, shard: 'a' })
    const { followers } = onlyShard(await source.read(new AbortController().signal, 200))
    expect(followers['r1']).toEqual({
      replica: 'r1',
      connected: true,
      appliedSeqno: 111n,
      receivedSeqno: 111n,
    })
  })
})

describe('a position that cannot be compared', () => {
  it.each<[string, FakeClient, RegExp]>([
    [
      'its leader has lost transactions',
      followerWith({ gtid_executed: `${LEADER_UUID}:1-109` }),
      /^it has transactions of its leader that the leader itself no longer has/,
    ],
    [
      'it was written to',
      new FakeClient([ERRANT], [CHANNEL]),
      new RegExp(
        `^it has transactions that its leader does not have, of ${FOLLOWER_UUID}: compare`,
      ),
    ],
    [
      'it has transactions of a third server',
      followerWith({ gtid_executed: `${LEADER_UUID}:1-8,${B}:7` }),
      new RegExp(`^it has transactions that its leader does not have, of ${B}`),
    ],
    ['gtid_mode is OFF', followerWith({ gtid_mode: 'OFF' }), /^its gtid_mode is OFF: the source/],
    [
      'it has the UUID of its leader',
      followerWith({ server_uuid: LEADER_UUID.toUpperCase() }),
      /^its server_uuid is also that of leader: give each server its own$/,
    ],
    [
      'it has no replication of its own, as a reader of Aurora',
      followerWith({ innodb_read_only: '1' }, []),
      /^it reads the storage of its leader \(innodb_read_only\), as a reader of Aurora does/,
    ],
  ])('is no lag, and has the reason, if %s', async (_, follower, problem) => {
    expect(await readOne(follower)).toEqual({
      replica: 'r1',
      diverged: true,
      problem: expect.stringMatching(problem) as string,
    })
  })

  it('is not that of a follower with transactions of another server that it replicates too', async () => {
    const gtid_executed = `${LEADER_UUID}:1-8,${B}:1-7`
    const other = { ...CHANNEL, channel_name: 'other', source_uuid: B }
    const both = await readOne(followerWith({ gtid_executed }, [CHANNEL, other]))
    expect(both).toMatchObject({ connected: true, appliedSeqno: 8n })
    expect(both).not.toHaveProperty('problem')
    const own = `${gtid_executed},${FOLLOWER_UUID}:1`
    expect(await readOne(followerWith({ gtid_executed: own }, [CHANNEL, other]))).toMatchObject({
      diverged: true,
      problem: expect.stringContaining(`of ${FOLLOWER_UUID}:`) as string,
    })
  })

  it('is that of each follower whose UUID another one has, and of no other', async () => {
    const r2 = followerWith({ address: 'db:3308' })
    const r3 = followerWith({ server_uuid: B, address: 'db:3309' })
    const { followers } = onlyShard(
      await read(sourceOf({ leader: new FakeClient([LEADER]), r1: followerWith({}), r2, r3 })),
    )
    const problem = (name: string) =>
      `its server_uuid is also that of ${name}: give each server its own`
    expect(followers).toEqual({
      r1: { replica: 'r1', diverged: true, problem: problem('r2') },
      r2: { replica: 'r2', diverged: true, problem: problem('r1') },
      r3: expect.objectContaining({ appliedSeqno: 11n }) as unknown,
    })
  })
})

describe('what a leader is about to commit', () => {
  const ahead = () => followerWith({ gtid_executed: `${LEADER_UUID}:1-110:blue:1-4` })

  it('is no divergence of the follower that has it already, as with semi-synchronous replication', async () => {
    const gtid_owned = `${LEADER_UUID}:109#15:110#14:blue:4#16`
    const follower = await readOne(ahead(), new FakeClient([{ ...LEADER, gtid_owned }]))
    expect(follower).toMatchObject({ connected: true, appliedSeqno: 111n })
    expect(follower).not.toHaveProperty('problem')
    const some = new FakeClient([{ ...LEADER, gtid_owned: `${LEADER_UUID}:109#15` }])
    expect(await readOne(ahead(), some)).toMatchObject({ diverged: true })
  })

  it('is not taken for a loss while it is not known, unless the leader had it before', async () => {
    const unknown = { ...LEADER, gtid_owned: undefined }
    expect(await readOne(ahead(), new FakeClient([unknown]))).toMatchObject({ appliedSeqno: 111n })
    const before = { ...unknown, gtid_executed: `${LEADER_UUID}:1-110:blue:1-3` }
    const source = sourceOf({ leader: new FakeClient([before, before, unknown]), r1: ahead() })
    expect(onlyShard(await read(source))).toMatchObject({ leaderSeqno: 113n, epoch: '0' })
    await read(source)
    expect(onlyShard(await read(source))).toMatchObject({
      leaderSeqno: 111n,
      epoch: '1',
      followers: { r1: { diverged: true, problem: /no longer has/ } },
    })
  })
})

describe('an epoch', () => {
  const epochs = async (...sets: string[]) => {
    const leader = new FakeClient([LEADER])
    const source = sourceOf({ leader })
    const found = []
    for (const gtid_executed of sets) {
      leader.states.splice(0, 1, { ...LEADER, gtid_executed })
      const { epoch, leaderSeqno } = onlyShard(await read(source))
      found.push([epoch, leaderSeqno])
    }
    return found
  }

  it('lasts while the leader has all that a leader had before', async () => {
    expect(await epochs(`${A}:1-5`, `${A}:1-9,${B}:1`, `${A}:1-9,${B}:1`)).toEqual([
      ['0', 5n],
      ['0', 10n],
      ['0', 10n],
    ])
  })

  it('ends when the leader has lost something, even when it has more than before', async () => {
    expect(await epochs(`${A}:1-5`, '', `${A}:1-2`, `${B}:1-9`)).toEqual([
      ['0', 5n],
      ['1', 0n],
      ['1', 2n],
      ['2', 9n],
    ])
  })
})

describe('a replication group', () => {
  const member = (
    id: string,
    read_only: string,
    executed: string,
    channels: unknown = MEMBERSHIP,
  ) =>
    new FakeClient(
      [
        {
          ...LEADER,
          server_uuid: id,
          address: id,
          read_only,
          gtid_executed: `${GROUP}:${executed}`,
        },
      ],
      channels,
    )

  it('is led by the member that accepts writes', async () => {
    const nodes = {
      m1: member(A, '1', '1-22'),
      m2: member(B, '0', '1-27'),
      m3: member(GROUP, '1', '1-28'),
    }
    expect(onlyShard(await read(sourceOf(nodes)))).toMatchObject({
      leaderSeqno: 27n,
      followers: {
        m1: { connected: true, appliedSeqno: 22n, receivedSeqno: 27n },
        // The leader is about to commit it.
        m3: { connected: true, appliedSeqno: 27n, receivedSeqno: 27n },
      },
    })
  })

  it('does not connect a server that has left it', async () => {
    const left = MEMBERSHIP.map((row) => ({ ...row, service_state: 'OFF' }))
    const nodes = { m1: member(A, '1', '1-22', left), m2: member(B, '0', '1-27') }
    expect(onlyShard(await read(sourceOf(nodes))).followers['m1']).toMatchObject({
      connected: false,
      appliedSeqno: 22n,
      problem: 'it is not an active member of its group',
    })
  })

  it('has no leader if several members accept writes', async () => {
    const nodes = { m1: member(A, '0', '1-22'), m2: member(B, '0', '1-27') }
    expect(await read(sourceOf(nodes))).toEqual({
      complete: true,
      shards: [
        {
          shard: 'a',
          problem:
            'm1 and m2 all accept writes in one replication group: the source needs single-primary mode',
          followers: [
            { replica: 'm1', connected: false },
            { replica: 'm2', connected: false },
          ],
        },
      ],
    })
  })

  it('cannot be read while no member accepts writes', async () => {
    const nodes = { m1: member(A, '1', '1-22'), m2: member(B, '1', '1-27') }
    await expect(read(sourceOf(nodes))).rejects.toThrow(/no node leads: m1 and m2/)
    const silent = member(GROUP, '0', '1-27')
    const source = sourceOf({ ...nodes, m3: silent })
    await read(source)
    silent.error = new Error('gone')
    await expect(read(source)).rejects.toThrow(/^MySQL leader m3: gone$/)
  })
})

describe('the filter', () => {
  it('decides which followers are reported', async () => {
    const seen: unknown[] = []
    const filter = (follower: unknown) => seen.push(follower) > 1
    const nodes = {
      leader: new FakeClient([LEADER]),
      r1: followerWith({}),
      r2: followerWith({ server_uuid: B }),
    }
    const { followers } = onlyShard(await read(sourceOf(nodes, { filter })))
    expect(Object.keys(followers)).toEqual(['r2'])
    expect(seen).toEqual([{ replica: 'r1' }, { replica: 'r2' }])
  })
})

describe('a GTID set', () => {
  it.each<[string, string, bigint]>([
    ['one transaction', `${A}:5`, 1n],
    ['several intervals', `${A}:1-3:5:7-9`, 7n],
    ['several servers', `${A}:1-3,${B}:1-4`, 7n],
    ['line breaks and white space', ` ${A}:1-3 ,\n${B} : 1 - 4\n`, 7n],
    ['upper case', `${A.replaceAll('1', 'A')}:1,${A.replaceAll('1', 'a')}:1-2`, 2n],
    ['one server twice', `${A}:1-2,${A}:5-6`, 4n],
    ['intervals that overlap, touch, and are in no order', `${A}:5-9:1-3:2-6:10`, 10n],
    ['an interval in another', `${A}:1-9:2-3`, 9n],
    ['tags', `${A}:1-2:blue:1-4:red_2:7,${B}:blue:1`, 8n],
    ['one tag twice', `${A}:blue:1-2:BLUE:2-3`, 3n],
    ['commas without anything between', `,${A}:1,,`, 1n],
    ['numbers up to the limit of the server', `${A}:1-9223372036854775806`, 2n ** 63n - 2n],
  ])('is counted with %s', async (_, gtid_executed, size) => {
    const leader = new FakeClient([{ ...LEADER, gtid_executed }])
    const { leaderSeqno, followers } = onlyShard(
      await read(sourceOf({ leader, r1: followerWith({ gtid_executed }) })),
    )
    expect([leaderSeqno, followers['r1']?.appliedSeqno]).toEqual([size, size])
  })

  it.each([
    [`${A}:1-9`, `${A}:1-4:6-9`, 8n],
    [`${A}:1-9:12-20`, `${A}:1-4:7-9:12-15`, 11n],
    [`${A}:1-4:6-9`, `${A}:4:6`, 2n],
    [`${A}:1-4:8-9`, '', 0n],
    [`${A}:1-4:blue:1-4`, `${A}:blue:2`, 1n],
    [`${A}:1-4,${B}:1-2`, `${B}:1-2,${A}:2`, 3n],
  ])('is compared: %s and %s', async (gtid_executed, other, common) => {
    const leader = new FakeClient([{ ...LEADER, gtid_executed }])
    expect(await readOne(followerWith({ gtid_executed: other }), leader)).toMatchObject({
      appliedSeqno: common,
    })
  })
})
