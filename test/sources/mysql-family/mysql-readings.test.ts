import {
  mysqlSource,
  type MysqlSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { describe, expect, it, vi } from 'vitest'
import {
  AT,
  FakeClient,
  hangAfter,
  mysql,
  onlyShard,
  read,
  serverError,
  type Row,
} from './fakes.js'

const { CHANNEL, ERRANT, FOLLOWER, FOLLOWER_UUID, GROUP, LEADER, LEADER_UUID, MEMBERSHIP } = mysql
const A = '11111111-1111-1111-1111-111111111111'
const B = '22222222-2222-2222-2222-222222222222'
const REFUSED = serverError(1142, 'ER_TABLEACCESS_DENIED_ERROR', 'SELECT command denied')
const MOMENT = { leaderSeqno: 111n, at: AT }

/** Reads these nodes once, and returns the only shard. */
async function readNodes(
  nodes: MysqlSourceOptions['nodes'],
  more: Partial<MysqlSourceOptions> = {},
  timeoutMillis?: number,
) {
  const source = mysqlSource({ nodes, shard: 'a', ...more })
  return onlyShard(await source.read(new AbortController().signal, timeoutMillis))
}

/** A follower of the leader of these tests. */
function followerWith(change: Row, channels: unknown = [CHANNEL]): FakeClient {
  return new FakeClient([{ ...FOLLOWER, ...change }], channels)
}

function leaderWith(change: Row): FakeClient {
  return new FakeClient([{ ...LEADER, ...change }])
}

/** Reads the only follower of a leader. */
async function readOne(r1: FakeClient, leader = leaderWith({})) {
  return (await readNodes({ leader, r1 })).followers['r1']
}

describe('a follower', () => {
  it.each(['mysql2', 'mariadb'] as const)(
    'has applied and received what its leader has too, with answers of %s',
    async (form) => {
      const leader = new FakeClient([LEADER], [], form)
      const r1 = new FakeClient([FOLLOWER], [CHANNEL], form)
      const follower = {
        replica: 'r1',
        connected: true,
        appliedSeqno: 11n,
        comparedWith: MOMENT,
        receivedSeqno: 110n,
      }
      expect(await read(mysqlSource({ nodes: { leader, r1 }, shard: 'a' }))).toEqual({
        complete: true,
        shards: [{ shard: 'a', leaderSeqno: 111n, epoch: '0', followers: [follower] }],
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
    const leader = named('leader', leaderWith({}))
    const follower = named('follower', followerWith({}))
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
    const leader = new FakeClient([LEADER], REFUSED)
    const r2 = followerWith({ server_uuid: B })
    const { followers, problem } = await readNodes({ leader, r1: followerWith({}, REFUSED), r2 })
    const unseen = { replica: 'r1', connected: false, appliedSeqno: 11n, comparedWith: MOMENT }
    expect(followers['r1']).toEqual(unseen)
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
    const follower = await readOne(followerWith({}, channels))
    expect(follower).toMatchObject({ connected: false, appliedSeqno: 11n, problem })
  })

  it.each([
    ['connected', 'ON', 'OFF', true],
    ['not connected', 'OFF', 'ON', false],
  ])(
    'is %s if the channel from its leader is %s, and another is %s',
    async (_, state, other, connected) => {
      const channels = [
        { ...CHANNEL, source_uuid: B, service_state: other },
        { ...CHANNEL, service_state: state },
      ]
      expect(await readOne(followerWith({}, channels))).toMatchObject({ connected })
    },
  )

  it('has applied up to its first gap, where it applies out of order', async () => {
    const gtid_executed = `${LEADER_UUID}:1-8:10-90:95:blue:1-3`
    const expected = { appliedSeqno: 93n, appliedUpTo: 11n }
    expect(await readOne(followerWith({ gtid_executed }))).toMatchObject(expected)
  })

  it('is not judged if its leader has not answered since', async () => {
    const r1 = followerWith({ gtid_executed: `${LEADER_UUID}:1-109:blue:1-3` })
    const { followers } = await readNodes({ leader: hangAfter(2, leaderWith({})), r1 }, {}, 200)
    const expected = { connected: true, appliedSeqno: 111n, receivedSeqno: 111n }
    expect(followers['r1']).toEqual({ replica: 'r1', ...expected })
  })

  it('is reported if the filter returns true', async () => {
    const filter = vi.fn(({ replica }: { replica: string }) => replica === 'r2')
    const r2 = followerWith({ server_uuid: B })
    const { followers } = await readNodes(
      { leader: leaderWith({}), r1: followerWith({}), r2 },
      { filter },
    )
    expect(Object.keys(followers)).toEqual(['r2'])
    expect(filter.mock.calls).toEqual([[{ replica: 'r1' }], [{ replica: 'r2' }]])
  })
})

describe('a position that cannot be compared', () => {
  const errant = 'it has transactions that its leader does not have, of'
  it.each<[string, FakeClient, string]>([
    [
      'its leader has lost transactions',
      followerWith({ gtid_executed: `${LEADER_UUID}:1-109` }),
      'it has transactions of its leader that the leader itself no longer has',
    ],
    [
      'it was written to',
      new FakeClient([ERRANT], [CHANNEL]),
      `${errant} ${FOLLOWER_UUID}: compare`,
    ],
    [
      'it has transactions of a third server',
      followerWith({ gtid_executed: `${LEADER_UUID}:1-8,${B}:7` }),
      `${errant} ${B}`,
    ],
    [
      'gtid_mode is OFF',
      followerWith({ gtid_mode: 'OFF' }),
      'its gtid_mode is OFF: the source needs GTIDs',
    ],
    [
      'it has the UUID of its leader',
      followerWith({ server_uuid: LEADER_UUID.toUpperCase() }),
      'its server_uuid is also that of leader: give each server its own',
    ],
    [
      'it has no replication of its own, as a reader of Aurora',
      followerWith({ innodb_read_only: '1' }, []),
      'it reads the storage of its leader (innodb_read_only), as a reader of Aurora does',
    ],
  ])('is no lag, and has the reason, if %s', async (_, follower, reason) => {
    const problem = expect.stringContaining(reason) as string
    expect(await readOne(follower)).toEqual({ replica: 'r1', diverged: true, problem })
  })

  it('is not that of a follower with transactions of another server that it replicates too', async () => {
    const gtid_executed = `${LEADER_UUID}:1-8,${B}:1-7`
    const channels = [CHANNEL, { ...CHANNEL, channel_name: 'other', source_uuid: B }]
    const both = await readOne(followerWith({ gtid_executed }, channels))
    expect(both).toMatchObject({ connected: true, appliedSeqno: 8n })
    expect(both).not.toHaveProperty('problem')
    const own = { gtid_executed: `${gtid_executed},${FOLLOWER_UUID}:1` }
    expect(await readOne(followerWith(own, channels))).toMatchObject({
      diverged: true,
      problem: expect.stringContaining(`of ${FOLLOWER_UUID}:`) as string,
    })
  })

  it('is that of each follower whose UUID another one has, and of no other', async () => {
    const { followers } = await readNodes({
      leader: leaderWith({}),
      r1: followerWith({}),
      r2: followerWith({ address: 'db:3308' }),
      r3: followerWith({ server_uuid: B, address: 'db:3309' }),
    })
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
  const ahead = followerWith({ gtid_executed: `${LEADER_UUID}:1-110:blue:1-4` })

  it('is no divergence of the follower that has it already, as with semi-synchronous replication', async () => {
    const all = leaderWith({ gtid_owned: `${LEADER_UUID}:109#15:110#14:blue:4#16` })
    const follower = await readOne(ahead, all)
    expect(follower).toMatchObject({ connected: true, appliedSeqno: 111n })
    expect(follower).not.toHaveProperty('problem')
    const some = leaderWith({ gtid_owned: `${LEADER_UUID}:109#15` })
    expect(await readOne(ahead, some)).toMatchObject({ diverged: true })
  })

  it('is not taken for a loss while it is not known, unless the leader had it before', async () => {
    const unknown = { ...LEADER, gtid_owned: undefined }
    expect(await readOne(ahead, new FakeClient([unknown]))).toMatchObject({ appliedSeqno: 111n })
    const before = { ...unknown, gtid_executed: `${LEADER_UUID}:1-110:blue:1-3` }
    const nodes = { leader: new FakeClient([before, before, unknown]), r1: ahead }
    const source = mysqlSource({ nodes, shard: 'a' })
    expect(onlyShard(await read(source))).toMatchObject({ leaderSeqno: 113n, epoch: '0' })
    await read(source)
    expect(onlyShard(await read(source))).toMatchObject({
      leaderSeqno: 111n,
      epoch: '1',
      followers: { r1: { diverged: true, problem: /no longer has/ } },
    })
  })
})

it.each<[string, [gtids: string, epoch: string, leaderSeqno: bigint][]]>([
  [
    'lasts while the leader has all that a leader had before',
    [
      [`${A}:1-5`, '0', 5n],
      [`${A}:1-9,${B}:1`, '0', 10n],
      [`${A}:1-9,${B}:1`, '0', 10n],
    ],
  ],
  [
    'ends when the leader has lost something, even when it has more than before',
    [
      [`${A}:1-5`, '0', 5n],
      ['', '1', 0n],
      [`${A}:1-2`, '1', 2n],
      [`${B}:1-9`, '2', 9n],
    ],
  ],
])('an epoch %s', async (_, readings) => {
  const leader = leaderWith({})
  const source = mysqlSource({ nodes: { leader }, shard: 'a' })
  for (const [gtid_executed, epoch, leaderSeqno] of readings) {
    leader.states.splice(0, 1, { ...LEADER, gtid_executed })
    expect(onlyShard(await read(source))).toMatchObject({ epoch, leaderSeqno })
  }
})

describe('a replication group', () => {
  const member = (id: string, read_only: string, executed: string, channels = MEMBERSHIP) => {
    const gtid_executed = `${GROUP}:${executed}`
    const state = { ...LEADER, server_uuid: id, address: id, read_only, gtid_executed }
    return new FakeClient([state], channels)
  }

  it('is led by the member that accepts writes', async () => {
    const nodes = {
      m1: member(A, '1', '1-22'),
      m2: member(B, '0', '1-27'),
      m3: member(GROUP, '1', '1-28'),
    }
    expect(await readNodes(nodes)).toMatchObject({
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
    expect((await readNodes(nodes)).followers['m1']).toMatchObject({
      connected: false,
      appliedSeqno: 22n,
      problem: 'it is not an active member of its group',
    })
  })

  it('has no leader if several members accept writes', async () => {
    const nodes = { m1: member(A, '0', '1-22'), m2: member(B, '0', '1-27') }
    expect(await read(mysqlSource({ nodes, shard: 'a' }))).toEqual({
      complete: true,
      shards: [
        {
          shard: 'a',
          problem:
            'm1 and m2 all accept writes in one replication group: the source needs single-primary mode',
          followers: ['m1', 'm2'].map((replica) => ({ replica, connected: false })),
        },
      ],
    })
  })

  it('cannot be read while no member accepts writes', async () => {
    const nodes = { m1: member(A, '1', '1-22'), m2: member(B, '1', '1-27') }
    await expect(readNodes(nodes)).rejects.toThrow(/no node leads: m1 and m2/)
    const silent = member(GROUP, '0', '1-27')
    const source = mysqlSource({ nodes: { ...nodes, m3: silent }, shard: 'a' })
    await read(source)
    silent.error = new Error('gone')
    await expect(read(source)).rejects.toThrow(/^MySQL leader m3: gone$/)
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
    const nodes = { leader: leaderWith({ gtid_executed }), r1: followerWith({ gtid_executed }) }
    const { leaderSeqno, followers } = await readNodes(nodes)
    expect([leaderSeqno, followers['r1']?.appliedSeqno]).toEqual([size, size])
  })

  it.each([
    [`${A}:1-9`, `${A}:1-4:6-9`, 8n],
    [`${A}:1-9:12-20`, `${A}:1-4:7-9:12-15`, 11n],
    [`${A}:1-4:6-9`, `${A}:4:6`, 2n],
    [`${A}:1-4:8-9`, '', 0n],
    [`${A}:1-4:blue:1-4`, `${A}:blue:2`, 1n],
    [`${A}:1-4,${B}:1-2`, `${B}:1-2,${A}:2`, 3n],
  ])('is compared: %s and %s', async (gtid_executed, other, appliedSeqno) => {
    const follower = await readOne(
      followerWith({ gtid_executed: other }),
      leaderWith({ gtid_executed }),
    )
    expect(follower).toMatchObject({ appliedSeqno })
  })
})
