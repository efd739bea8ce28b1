import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  AT,
  FakeClient,
  hangAfter,
  mariadb,
  mysql,
  onlyShard,
  read,
  serverError,
  type Row,
} from './fakes.js'

const { ERRANT, FOLLOWER_UUID, GROUP, LEADER_UUID, MEMBERSHIP } = mysql
const A = '11111111-1111-1111-1111-111111111111'
const B = '22222222-2222-2222-2222-222222222222'
const REFUSED = serverError(1142, 'ER_TABLEACCESS_DENIED_ERROR', 'SELECT command denied')

const SYSTEMS = [
  {
    ...mysql,
    title: 'MySQL',
    found: { appliedSeqno: 11n, comparedWith: { leaderSeqno: 111n, at: AT } },
    receivedSeqno: 110n,
    shard: { leaderSeqno: 111n, epoch: '0' },
    another: { server_uuid: B, address: 'db:3308' },
    refused: REFUSED,
    grant:
      'GRANT SELECT ON performance_schema.replication_connection_status TO it, and on replication_group_members if they are in a group',
    ahead: { gtid_executed: `${LEADER_UUID}:1-109:blue:1-3` },
    unjudged: { appliedSeqno: 111n, receivedSeqno: 111n },
    id: 'server_uuid',
    /** A link to another server, and one that is off. */
    other: { source_uuid: B },
    off: { service_state: 'OFF' },
    offProblem: 'its receiver is OFF, last error 0',
  },
  {
    ...mariadb,
    title: 'MariaDB',
    found: { appliedSeqno: 7n, comparedWith: { leaderSeqno: 107n, at: AT } },
    receivedSeqno: 106n,
    shard: { leaderSeqno: 107n, epoch: '0.0' },
    another: { server_id: '3', address: 'db:3308' },
    refused: serverError(1227, 'ER_SPECIFIC_ACCESS_DENIED_ERROR', 'Access denied; you need …'),
    grant: 'GRANT REPLICA MONITOR ON *.* TO it (before 10.5 REPLICATION CLIENT)',
    ahead: { gtid_slave_pos: '0-1-108', gtid_binlog_state: '0-1-108' },
    unjudged: { receivedSeqno: 107n },
    id: 'server_id',
    other: { Master_Server_Id: 5 },
    off: { Slave_IO_Running: 'No' },
    offProblem: 'its IO thread is not connected (No), last error 0',
  },
]

describe.each(SYSTEMS)('a follower of $title', (system) => {
  const { LINK, FOLLOWER, found, receivedSeqno, leader, follower, readNodes, readOne } = system

  it.each(['mysql2', 'mariadb'] as const)(
    'has applied and received positions, with answers of %s',
    async (form) => {
      const nodes = {
        leader: new FakeClient([system.LEADER], [], form),
        r1: new FakeClient([FOLLOWER], [LINK], form),
      }
      const followers = [{ replica: 'r1', connected: true, ...found, receivedSeqno }]
      expect(await read(system.sourceOf(nodes))).toEqual({
        complete: true,
        shards: [{ shard: 'a', ...system.shard, followers }],
      })
    },
  )

  it('is read before its leader, with its position last, and that of its leader first', async () => {
    const order: string[] = []
    const named = (name: string, client: FakeClient) => ({
      query: (sql: string) => {
        order.push(`${name}: ${sql.includes('@@global') ? 'position' : 'links'}`)
        return client.query(sql)
      },
    })
    const nodes = { leader: named('leader', leader()), r1: named('r1', follower()) }
    const source = system.sourceOf(nodes)
    await read(source)
    order.length = 0
    await read(source)
    expect(order).toEqual(['r1: links', 'r1: position', 'leader: position', 'leader: links'])
  })

  it('counts as not connected without the privilege to see it, and the shard says so once', async () => {
    const { followers, problem } = await readNodes({
      leader: leader({}, system.refused),
      r1: follower({}, system.refused),
      r2: follower(system.another),
    })
    expect(followers).toEqual({
      r1: { replica: 'r1', connected: false, ...found },
      r2: { replica: 'r2', connected: true, ...found, receivedSeqno },
    })
    expect(problem).toBe(
      `the replication state of leader and r1 cannot be seen, so followers there count as not connected: ${system.grant}`,
    )
  })

  it.each<[title: string, changes: Row[], connected: boolean, problem?: string]>([
    ['it has none', [], false, 'it is not set up as a replica'],
    ['it is off', [system.off], false, system.offProblem],
    ['it is on and another is off', [{ ...system.other, ...system.off }, {}], true],
    ['it is off and another is on', [system.other, system.off], false, system.offProblem],
    ['only another is on', [{ ...system.other, ...system.off }, system.other], true],
  ])(
    'is connected as its link to the leader says, if %s',
    async (_, changes, connected, problem) => {
      const links = changes.map((change) => ({ ...LINK, ...change }))
      const expected = { connected, appliedSeqno: found.appliedSeqno }
      const read = await readOne(follower({}, links))
      expect(read).toMatchObject(expected)
      expect(read?.problem).toBe(problem)
    },
  )

  it('is not judged if its leader has not answered since', async () => {
    const nodes = { leader: hangAfter(2, leader()), r1: follower(system.ahead) }
    const { followers } = await readNodes(nodes, 200)
    expect(followers['r1']).toEqual({ replica: 'r1', connected: true, ...system.unjudged })
  })

  it('has no position if another server has its id, and others have', async () => {
    const problem = (name: string) =>
      `its ${system.id} is also that of ${name}: give each server its own`
    const diverged = (replica: string, name: string) => ({
      replica,
      diverged: true,
      problem: problem(name),
    })
    const { followers } = await readNodes({
      leader: leader(),
      r1: follower(),
      r2: follower({ address: 'db:3309' }),
      r3: follower(system.another),
      r4: follower({ [system.id]: system.LEADER[system.id], address: 'db:3310' }),
    })
    expect(followers).toEqual({
      r1: diverged('r1', 'r2'),
      r2: diverged('r2', 'r1'),
      r3: expect.objectContaining(found) as unknown,
      r4: diverged('r4', 'leader'),
    })
  })

  it('is reported if the filter returns true', async () => {
    const filter = vi.fn(({ replica }: { replica: string }) => replica === 'r2')
    const nodes = { leader: leader(), r1: follower(), r2: follower(system.another) }
    const { followers } = onlyShard(await read(system.sourceOf(nodes, { filter })))
    expect(Object.keys(followers)).toEqual(['r2'])
    expect(filter.mock.calls.map(([{ replica }]) => replica)).toEqual(['r1', 'r2'])
  })
})

describe('a follower of MySQL', () => {
  const { LINK, leader, follower, readOne } = mysql
  const errant = 'it has transactions that its leader does not have, of'

  it('has applied nothing while its set is empty', async () => {
    const found = await readOne(follower({ gtid_executed: '' }))
    expect(found).toMatchObject({ appliedSeqno: 0n, receivedSeqno: 99n })
  })

  it('has received an unknown number if one of its channels does not say', async () => {
    const found = await readOne(follower({}, [LINK, { ...LINK, received_transaction_set: null }]))
    expect(found).toMatchObject({ connected: true, appliedSeqno: 11n })
    expect(found).not.toHaveProperty('receivedSeqno')
  })

  it('may replicate although its storage is read-only', async () => {
    const found = await readOne(follower({ innodb_read_only: '1' }))
    expect(found).toMatchObject({ connected: true, appliedSeqno: 11n })
  })

  it.each<[string, FakeClient, string]>([
    [
      'its leader has lost transactions',
      follower({ gtid_executed: `${LEADER_UUID}:1-109` }),
      'it has transactions of its leader that the leader itself no longer has',
    ],
    ['it was written to', follower(ERRANT), `${errant} ${FOLLOWER_UUID}: compare`],
    [
      'it has transactions of a third server',
      follower({ gtid_executed: `${LEADER_UUID}:1-8,${B}:7` }),
      `${errant} ${B}`,
    ],
    [
      'gtid_mode is OFF',
      follower({ gtid_mode: 'OFF' }),
      'its gtid_mode is OFF: the source needs GTIDs',
    ],
    [
      'it has the UUID of its leader',
      follower({ server_uuid: LEADER_UUID.toUpperCase() }),
      'its server_uuid is also that of leader: give each server its own',
    ],
    [
      'it has no replication of its own, as a reader of Aurora',
      follower({ innodb_read_only: '1' }, []),
      'it reads the storage of its leader (innodb_read_only), as a reader of Aurora does',
    ],
  ])('has no lag, and the reason, if %s', async (_, r1, reason) => {
    const problem = expect.stringContaining(reason) as string
    expect(await readOne(r1)).toEqual({ replica: 'r1', diverged: true, problem })
  })

  it('may have transactions of another server that it replicates too, and none of its own', async () => {
    const gtid_executed = `${LEADER_UUID}:1-8,${B}:1-7`
    const links = [LINK, { ...LINK, channel_name: 'other', source_uuid: B }]
    const both = await readOne(follower({ gtid_executed }, links))
    expect(both).toMatchObject({ connected: true, appliedSeqno: 8n })
    expect(both).not.toHaveProperty('problem')
    const own = follower({ gtid_executed: `${gtid_executed},${FOLLOWER_UUID}:1` }, links)
    const problem = expect.stringContaining(`of ${FOLLOWER_UUID}:`) as string
    expect(await readOne(own)).toMatchObject({ diverged: true, problem })
  })

  const ahead = follower({ gtid_executed: `${LEADER_UUID}:1-110:blue:1-4` })

  it('may have what its leader is about to commit, as with semi-synchronous replication', async () => {
    const all = leader({ gtid_owned: `${LEADER_UUID}:109#15:110#14:blue:4#16` })
    const found = await readOne(ahead, all)
    expect(found).toMatchObject({ connected: true, appliedSeqno: 111n })
    expect(found).not.toHaveProperty('problem')
    const some = leader({ gtid_owned: `${LEADER_UUID}:109#15` })
    expect(await readOne(ahead, some)).toMatchObject({ diverged: true })
  })

  it('is not taken for ahead while it is unknown what its leader commits, unless the leader had it before', async () => {
    const unknown = { ...mysql.LEADER, gtid_owned: undefined }
    expect(await readOne(ahead, leader(unknown))).toMatchObject({ appliedSeqno: 111n })
    const before = { ...unknown, gtid_executed: `${LEADER_UUID}:1-110:blue:1-3` }
    const first = new FakeClient([before, before, unknown])
    const source = mysql.sourceOf({ leader: first, r1: ahead })
    expect(onlyShard(await read(source))).toMatchObject({ leaderSeqno: 113n, epoch: '0' })
    await read(source)
    expect(onlyShard(await read(source))).toMatchObject({
      leaderSeqno: 111n,
      epoch: '1',
      followers: { r1: { diverged: true, problem: /no longer has/ } },
    })
  })
})

describe('a replication group', () => {
  const membership = (change: Row) =>
    MEMBERSHIP.map((row) => (row['group_name'] === '' ? row : { ...row, ...change }))
  const member = (id: string, read_only: string, executed: string, change: Row = {}) => {
    const gtid_executed = executed.includes(':') ? executed : `${GROUP}:${executed}`
    const links = membership(change)
    return mysql.leader({ server_uuid: id, address: id, read_only, gtid_executed }, links)
  }

  const state = (member_state: string, has_majority: string) => [{ member_state, has_majority }]

  it('is led by the member that accepts writes', async () => {
    const m1 = member(A, '1', '1-22')
    m1.member = state('RECOVERING', '1')
    const nodes = { m1, m2: member(B, '0', '1-27'), m3: member(GROUP, '1', '1-28') }
    expect(await mysql.readNodes(nodes)).toMatchObject({
      leaderSeqno: 27n,
      followers: {
        m1: { connected: true, appliedSeqno: 22n, receivedSeqno: 27n },
        // The leader is about to commit it.
        m3: { connected: true, appliedSeqno: 27n, receivedSeqno: 27n },
      },
    })
  })

  it.each<[string, Row, unknown]>([
    ['has left it', { service_state: 'OFF' }, REFUSED],
    ['was expelled, or has failed', {}, state('ERROR', '1')],
    ['has lost contact with most others', {}, state('ONLINE', '0')],
    ['says nothing of itself', {}, []],
  ])('does not connect a server that %s', async (_, change, answer) => {
    const m1 = member(A, '1', '1-22', change)
    m1.member = answer
    const { followers } = await mysql.readNodes({ m1, m2: member(B, '0', '1-27') })
    expect(followers['m1']).toMatchObject({ connected: false, appliedSeqno: 22n })
    expect(followers['m1']?.problem).toMatch(/^it is not an active member of its group/)
  })

  it('does not connect a server whose state in it may not be read, and says what to grant', async () => {
    const m1 = member(A, '1', '1-22')
    m1.member = REFUSED
    const { followers, problem } = await mysql.readNodes({ m1, m2: member(B, '0', '1-27') })
    expect(followers['m1']).toMatchObject({ connected: false, appliedSeqno: 22n })
    expect(problem).toMatch(
      /^the replication state of m1 cannot be seen.*replication_group_members/,
    )
  })

  it('does not connect a server whose state in it cannot be read, and says why', async () => {
    const m1 = member(A, '1', '1-22')
    m1.member = serverError(1146, 'ER_NO_SUCH_TABLE', 'no such table')
    const { followers } = await mysql.readNodes({ m1, m2: member(B, '0', '1-27') })
    expect(followers['m1']).toMatchObject({ connected: false, appliedSeqno: 22n })
    expect(followers['m1']?.problem).toMatch(/^its replication state cannot be/)
  })

  it('has a leader while a former one still accepts writes, which has lost contact', async () => {
    const old = member(A, '0', '1-22')
    old.member = state('ONLINE', '0')
    const nodes = { old, m2: member(B, '0', '1-27'), m3: member(GROUP, '1', '1-27') }
    const found = await mysql.readNodes(nodes)
    expect(found).not.toHaveProperty('problem')
    const problem = 'it is not an active member of its group'
    expect(found.followers).toMatchObject({
      old: { connected: false, problem },
      m3: { connected: true },
    })
  })

  it('that follows another one connects its secondaries, and not a primary that follows none', async () => {
    const other = { group_name: B.toUpperCase() }
    const primary = mysql.leader({ server_uuid: FOLLOWER_UUID, address: 'p', read_only: '1' }, [
      mysql.LINK,
      ...membership(other),
    ])
    const executed = `${LEADER_UUID}:1-100`
    const [secondary, rival] = [member(A, '1', executed, other), member(B, '0', executed, other)]
    const nodes = { leader: mysql.leader(), primary, secondary }
    const found = await mysql.readNodes(nodes)
    expect(found.followers).toMatchObject({
      primary: { connected: true },
      secondary: { connected: true, appliedSeqno: 100n },
    })
    expect(found.followers['secondary']).not.toHaveProperty('problem')
    const r1 = mysql.follower()
    const { followers } = await mysql.readNodes({ leader: mysql.leader(), r1, rival })
    const problem = 'it is not set up as a replica'
    expect(followers['rival']).toMatchObject({ connected: false, problem })
  })

  it('has no leader if several members accept writes', async () => {
    const nodes = { m1: member(A, '0', '1-22'), m2: member(B, '0', '1-27') }
    const problem =
      'm1 and m2 all accept writes in one replication group: the source needs single-primary mode'
    const followers = ['m1', 'm2'].map((replica) => ({ replica, connected: false }))
    expect(await read(mysql.sourceOf(nodes))).toEqual({
      complete: true,
      shards: [{ shard: 'a', problem, followers }],
    })
  })

  it('cannot be read while no member accepts writes', async () => {
    const nodes = { m1: member(A, '1', '1-22'), m2: member(B, '1', '1-27') }
    await expect(mysql.readNodes(nodes)).rejects.toThrow(/no node leads: m1 and m2/)
    const silent = member(GROUP, '0', '1-27')
    const source = mysql.sourceOf({ ...nodes, m3: silent })
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
    const [leader, r1] = [mysql.leader({ gtid_executed }), mysql.follower({ gtid_executed })]
    const { leaderSeqno, followers } = await mysql.readNodes({ leader, r1 })
    expect([leaderSeqno, followers['r1']?.appliedSeqno]).toEqual([size, size])
  })

  it('is compared up to the first gap of each interval, which a member of a group fills later than the next one', async () => {
    const leader = mysql.leader({ gtid_executed: `${GROUP}:1-510:1000001-1000010` })
    const r1 = mysql.follower({ gtid_executed: `${GROUP}:1-508:510:1000001-1000010` })
    const expected = { appliedSeqno: 519n, appliedUpTo: 518n }
    expect(await mysql.readOne(r1, leader)).toMatchObject(expected)
  })

  type Parts = [server: string, tag: string, intervals: [first: number, more: number][]][]
  const format = (parts: Parts) =>
    parts
      .map(([server, tag, intervals]) => {
        const list = intervals.map(([first, more]) => `${first}-${first + more}`).join(':')
        return `${server}${LEADER_UUID.slice(1)}${tag && `:${tag}`}:${list}`
      })
      .join(',')
  /** All transactions of a set, as `server and tag:number`. */
  const list = (parts: Parts) =>
    new Set(
      parts.flatMap(([server, tag, intervals]) =>
        intervals.flatMap(([first, more]) =>
          Array.from({ length: more + 1 }, (_, i) => `${server}${tag}:${first + i}`),
        ),
      ),
    )

  it('is compared with another as the lists of all their transactions are', async () => {
    const interval = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.nat(5))
    const intervals = fc.array(interval, { minLength: 1 })
    const part = fc.tuple(fc.constantFrom('0', '1'), fc.constantFrom('', 'a'), intervals)
    const some = fc.array(part, { minLength: 1, maxLength: 5 })
    const any = fc.array(part, { maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(some, any, any, async (leader, follower, received) => {
        const [all, has, got] = [list(leader), list(follower), list(received)]
        const link = { ...mysql.LINK, received_transaction_set: format(received) }
        const { leaderSeqno, followers } = await mysql.readNodes({
          leader: mysql.leader({ gtid_executed: format(leader) }),
          r1: mysql.follower({ gtid_executed: format(follower) }, [link]),
        })
        expect(leaderSeqno).toBe(BigInt(all.size))
        if ([...has].some((id) => !all.has(id))) {
          expect(followers['r1']).toMatchObject({ diverged: true })
          return
        }
        const count = (test: (id: string) => boolean) => BigInt([...all].filter(test).length)
        /** Whether all before it are there, back to the beginning of its interval. */
        const isBeforeGap = (id: string): boolean => {
          const previous = id.replace(/\d+$/, (number) => String(Number(number) - 1))
          return has.has(id) && (!all.has(previous) || isBeforeGap(previous))
        }
        const appliedSeqno = count((id) => has.has(id))
        expect(followers['r1']).toMatchObject({
          appliedSeqno,
          receivedSeqno: count((id) => has.has(id) || got.has(id)),
        })
        expect(followers['r1']?.appliedUpTo ?? appliedSeqno).toBe(count(isBeforeGap))
      }),
    )
  })
})

describe('a follower of MariaDB', () => {
  const { LINK, leader, follower, readOne } = mariadb
  const diverged = (gtid: string) =>
    `it has diverged: it has ${gtid}, which its leader does not have`

  it('has no position if it has nothing of the domain', async () => {
    const links = [{ ...LINK, Gtid_IO_Pos: '' }]
    const change = { gtid_slave_pos: '3-1-7', gtid_binlog_state: '3-1-7' }
    const comparedWith = { leaderSeqno: 107n, at: AT }
    const expected = { replica: 'r1', connected: true, comparedWith }
    expect(await readOne(follower(change, links))).toEqual(expected)
  })

  it('keeps its lag while it applies nothing', async () => {
    const link = { ...LINK, Slave_SQL_Running: 'No', Last_SQL_Errno: 1062 }
    const problem = 'its SQL thread does not run, last error 1062'
    const expected = { connected: true, problem, appliedSeqno: 7n, receivedSeqno: 106n }
    expect(await readOne(follower({}, [link]))).toMatchObject(expected)
  })

  it.each<[string, string[], bigint]>([
    ['the leader had', ['0-1-108'], 107n],
    // What it has applied it has received, although that was asked before.
    ['it has applied', ['0-1-5'], 7n],
    ['the second of two links says', ['0-1-50', '0-1-60'], 60n],
    ['the first of two links says', ['0-1-60', '0-1-50'], 60n],
  ])('has received what %s', async (_, positions, receivedSeqno) => {
    const links = positions.map((Gtid_IO_Pos) => ({ ...LINK, Gtid_IO_Pos }))
    expect(await readOne(follower({}, links))).toMatchObject({ receivedSeqno })
  })

  it('that was restarted is not connected until its link to the leader is on again', async () => {
    const other = { ...LINK, Master_Server_Id: 5, Master_Host: 'other' }
    const r1 = follower({}, [LINK, other])
    const source = mariadb.sourceOf({ leader: leader(), r1 })
    await read(source)
    // It has forgotten the id.
    r1.links = [{ ...LINK, Master_Server_Id: 0, Slave_IO_Running: 'Connecting' }, other]
    expect(onlyShard(await read(source)).followers['r1']).toMatchObject({ connected: false })
    r1.links = [LINK, other]
    expect(onlyShard(await read(source)).followers['r1']).toMatchObject({ connected: true })
  })

  const LOST =
    'which its leader wrote and no longer has: find out whether the leader was restored or reset'
  it.each<[string, Row, bigint | string]>([
    ['is that of the leader', { gtid_slave_pos: '0-1-107' }, 107n],
    ['is lower', { gtid_slave_pos: '0-1-1' }, 1n],
    ['is lower, from an earlier leader', { gtid_slave_pos: '0-9-106' }, 106n],
    ['is the same, from another server', { gtid_slave_pos: '0-9-107' }, diverged('0-9-107')],
    ['is higher', { gtid_slave_pos: '0-1-108' }, `it has 0-1-108, ${LOST}`],
    ['is higher, from another server', { gtid_slave_pos: '0-9-108' }, diverged('0-9-108')],
    ['has other domains', { gtid_slave_pos: '1-1-9,\n 0-1-7, 2-1-9' }, 7n],
    ['is 0-1-0', { gtid_slave_pos: '0-1-0' }, 0n],
    ['is lower, and it was written to', mariadb.ERRANT, diverged('0-2-8')],
    ['is of another domain than a write of its own', { gtid_binlog_state: '3-2-900' }, 7n],
  ])('has a position that %s', async (_, change, expected) => {
    const found = await readOne(follower({ gtid_binlog_state: '', ...change }))
    if (typeof expected === 'string') {
      expect(found).toEqual({ replica: 'r1', diverged: true, problem: expected })
    } else {
      expect(found).toMatchObject({ appliedSeqno: expected })
      expect(found).not.toHaveProperty('problem')
    }
  })

  it('is of another history if its leader has less of a server, although its number is higher', async () => {
    const first = leader({ gtid_binlog_state: '0-3-50,0-1-107' })
    expect(await readOne(follower({ gtid_binlog_state: '0-3-60' }), first)).toMatchObject({
      diverged: true,
      problem: diverged('0-3-60'),
    })
  })

  it('that led before has what it has written, until it applies something', async () => {
    const first = { gtid_binlog_state: '0-2-100,0-1-107' }
    const found = async (gtid_slave_pos: string, change: Row = first) => {
      const former = follower({ gtid_binlog_state: '0-2-100', gtid_slave_pos })
      return (await readOne(former, leader(change)))?.appliedSeqno
    }
    expect(await found('')).toBe(100n)
    expect(await found('0-9-40')).toBe(100n)
    expect(await found('0-1-105')).toBe(105n)
    // A leader need not have in its binary log what it has replicated itself.
    const last = { gtid_slave_pos: '0-2-100', gtid_binlog_state: '0-1-107' }
    expect(await found('', last)).toBe(100n)
    expect(await found('', { ...last, gtid_slave_pos: '0-9-101' })).toBe(undefined)
  })

  it('is exact up to 2^64 − 1', async () => {
    const last = 2n ** 64n - 1n
    const gtid_binlog_pos = `4294967295-4294967295-${last}`
    const r1 = follower({ gtid_slave_pos: `4294967295-1-${last - 1n}` })
    const first = leader({ gtid_binlog_pos, gtid_binlog_state: '' })
    expect(await mariadb.readNodes({ leader: first, r1 })).toMatchObject({
      leaderSeqno: last,
      epoch: '4294967295.0',
      followers: { r1: { appliedSeqno: last - 1n } },
    })
  })
})

describe('an epoch', () => {
  const ofMysql = (gtid_executed: string, epoch: string, leaderSeqno: bigint) =>
    [{ gtid_executed }, epoch, leaderSeqno] as const
  const ofMariadb = (gtid_binlog_pos: string, more: string, epoch: string, leaderSeqno: bigint) =>
    [{ gtid_binlog_pos, gtid_binlog_state: more + gtid_binlog_pos }, epoch, leaderSeqno] as const

  it.each([
    {
      title: 'MySQL lasts while the leader has all that a leader had before',
      system: mysql,
      readings: [
        ofMysql(`${A}:1-5`, '0', 5n),
        ofMysql(`${A}:1-9,${B}:1`, '0', 10n),
        ofMysql(`${A}:1-9,${B}:1`, '0', 10n),
      ],
    },
    {
      title: 'MySQL ends when the leader has lost something, even when it has more than before',
      system: mysql,
      readings: [
        ofMysql(`${A}:1-5`, '0', 5n),
        ofMysql('', '1', 0n),
        ofMysql(`${A}:1-2`, '1', 2n),
        ofMysql(`${B}:1-9`, '2', 9n),
      ],
    },
    {
      title: 'MariaDB ends when the leader does not have what a leader had before',
      system: mariadb,
      readings: [
        ofMariadb('0-1-107', '', '0.0', 107n),
        ofMariadb('0-1-109', '', '0.0', 109n),
        // Another server leads, with all that the first one wrote.
        ofMariadb('0-2-112', '0-1-109,', '0.0', 112n),
        // It has lost something, even where it has more than before.
        ofMariadb('0-2-110', '0-1-109,', '0.1', 110n),
        ofMariadb('0-1-150', '0-2-109,', '0.2', 150n),
        ofMariadb('', '', '0.3', 0n),
        ofMariadb('0-1-1', '', '0.3', 1n),
      ],
    },
  ])('of $title', async ({ system, readings }) => {
    const leader = system.leader()
    const source = system.sourceOf({ leader, r1: system.follower() })
    for (const [change, epoch, leaderSeqno] of readings) {
      leader.states.splice(0, 1, { ...system.LEADER, ...change })
      expect(onlyShard(await read(source))).toMatchObject({ epoch, leaderSeqno })
    }
  })
})

describe('domains of MariaDB', () => {
  const { DOMAINS, LEADER, LINK, leader, follower } = mariadb
  const readAll = async (first: Row, r1: FakeClient, more: object = {}) =>
    (await read(mariadb.sourceOf({ leader: leader(first), r1 }, more))).shards

  it('are shards of their own, in each of which a follower can be lost', async () => {
    const r1 = follower()
    expect(await readAll(DOMAINS, r1)).toMatchObject([
      { shard: 'a/0', leaderSeqno: 107n, followers: [{ replica: 'r1', appliedSeqno: 7n }] },
      { shard: 'a/7', leaderSeqno: 2n, followers: [{ replica: 'r1', connected: true }] },
    ])
    r1.error = new Error('gone')
    const problem = 'cannot be read: MariaDB r1: gone'
    const followers = [{ replica: 'r1', connected: false, problem }]
    expect(await readAll(DOMAINS, r1)).toMatchObject([{ followers }, { followers }])
  })

  const without7 = { ...LINK, Replicate_Ignore_Domain_Ids: '7, 9' }
  it.each<[string, Row[], string[]]>([
    ['leaves none out', [LINK], ['a/0', 'a/7']],
    ['leaves one out', [without7], ['a/0']],
    ['replicates only one', [{ ...LINK, Replicate_Do_Domain_Ids: '7' }], ['a/7']],
    ['has another link that does not leave it out', [without7, LINK], ['a/0', 'a/7']],
  ])('have no row for a follower that leaves them out: %s', async (_, links, expected) => {
    const shards = await readAll(DOMAINS, follower({}, links))
    const reported = shards.filter(({ followers }) => followers.length > 0)
    expect(reported.map(({ shard }) => shard)).toEqual(expected)
  })

  it('are seen by the filter', async () => {
    const filter = vi.fn(({ domain }: { domain: string }) => domain === '0')
    const shards = await readAll(DOMAINS, follower(), { filter })
    const seen = ['0', '7'].map((domain) => [{ replica: 'r1', domain }])
    expect(filter.mock.calls).toEqual(seen)
    expect(shards.map(({ followers }) => followers.length)).toEqual([1, 0])
  })

  it('that are new have no lag until the leader has answered after the follower', async () => {
    const first = new FakeClient([LEADER, DOMAINS, LEADER, DOMAINS])
    const { shards } = await read(mariadb.sourceOf({ leader: first, r1: follower() }))
    expect(shards.map(({ shard }) => shard)).toEqual(['a/0', 'a/7'])
  })

  it.each<[string, Row, string[]]>([
    ['in two domains', DOMAINS, ['a/0', 'a/7']],
    ['that have written nothing', { gtid_binlog_pos: '', gtid_binlog_state: '' }, ['a']],
    ['whose position cannot be read', { gtid_binlog_pos: null }, ['a']],
  ])('are shards without a leader while two nodes %s claim to lead', async (_, state, names) => {
    const rival = leader({ ...state, server_id: '2', address: 'db:3307' })
    const followers = ['leader', 'rival'].map((replica) => ({ replica, connected: false }))
    const problem = expect.stringMatching(/^two nodes claim to lead: leader and rival/) as string
    const { shards } = await read(mariadb.sourceOf({ leader: leader(state), rival }))
    expect(shards).toEqual(names.map((shard) => ({ shard, problem, followers })))
  })
})

describe('a leader of MariaDB without a position', () => {
  const { leader, follower, readNodes } = mariadb
  const empty = { gtid_binlog_state: '', gtid_binlog_pos: '' }

  it.each(['1', 'ON'])('has written nothing yet, with log_bin %s', async (log_bin) => {
    const first = { ...empty, log_bin }
    const r1 = follower({ gtid_slave_pos: '', gtid_binlog_state: '' })
    expect(await readNodes({ leader: leader(first), r1 })).toMatchObject({
      leaderSeqno: 0n,
      followers: { r1: { connected: true } },
    })
    const older = leader({ ...first, gtid_domain_id: undefined })
    expect(await readNodes({ leader: older, r1: follower() })).toMatchObject({
      epoch: '0.0',
      followers: { r1: { diverged: true } },
    })
  })

  it('is an error if its binary log is off', async () => {
    await expect(readNodes({ leader: leader({ ...empty, log_bin: '0' }) })).rejects.toThrow(
      'MariaDB leader leader: its gtid_binlog_pos is empty: its binary log is off: start it with log_bin',
    )
  })
})
