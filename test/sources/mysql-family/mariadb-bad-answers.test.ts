import fc from 'fast-check'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { describe, expect, it } from 'vitest'
import { AT, checkReading, FakeClient, onlyShard, read, type Row } from './fakes.js'
import { DOMAINS, ERRANT, FOLLOWER, LEADER, LINK } from './mariadb-answers.js'

/** Reads a leader and a follower. */
function readRows(leader: unknown, follower: unknown = FOLLOWER, links: unknown = [LINK]) {
  const nodes = { leader: new FakeClient([leader]), r1: new FakeClient([follower], links) }
  return read(mariadbSource({ nodes, shard: 'a' }))
}

/** Reads the follower. */
async function readFollower(...rows: Parameters<typeof readRows>) {
  return onlyShard(await readRows(...rows)).followers['r1']
}

const NO_VALUES = [null, undefined, 1.5, true, {}]

describe('a column', () => {
  it.each(['server_id', 'gtid_binlog_pos'])('of a leader must have a value: %s', async (column) => {
    for (const value of NO_VALUES) {
      await expect(readRows({ ...LEADER, [column]: value })).rejects.toThrow(
        new RegExp(`field ${column} (is missing|has an invalid value)`),
      )
    }
  })

  it('of a follower must have a value: server_id', async () => {
    expect(await readFollower(LEADER, { ...FOLLOWER, server_id: null })).toMatchObject({
      connected: false,
      problem: 'cannot be read: MariaDB r1: field server_id has an invalid value: null',
    })
  })

  it.each(['gtid_slave_pos', 'gtid_binlog_state', 'gtid_domain_id', 'log_bin', 'read_only'])(
    'of a follower that is invalid is left out and named: %s',
    async (column) => {
      const found = await readFollower(LEADER, { ...FOLLOWER, [column]: 1.5 })
      expect(found).toMatchObject({
        connected: true,
        problem: `field ${column} has an invalid value: 1.5`,
      })
      expect(found?.appliedSeqno).toBe(column === 'gtid_slave_pos' ? undefined : 7n)
    },
  )

  it.each(['address', 'gtid_domain_id', 'log_bin', 'read_only'])(
    'need not have a value: %s',
    async (column) => {
      const found = await readFollower(
        { ...LEADER, [column]: null },
        { ...FOLLOWER, [column]: undefined },
      )
      expect(found).toMatchObject({ connected: true, appliedSeqno: 7n })
      expect(found).not.toHaveProperty('problem')
    },
  )

  it.each([
    'x',
    '0-1',
    '0-1-',
    '0-1-1-1',
    '0-1--1',
    '0-1-1;0-1-2',
    '0-1-1.5',
    '0-1-18446744073709551616',
    '12345678901-1-1',
    // One domain twice.
    '0-1-1,0-2-2',
  ])('is not a position: %s', async (position) => {
    await expect(readRows({ ...LEADER, gtid_binlog_pos: position })).rejects.toThrow(
      'field gtid_binlog_pos has an invalid value',
    )
    expect(await readFollower(LEADER, { ...FOLLOWER, gtid_slave_pos: position })).toEqual({
      replica: 'r1',
      connected: true,
      comparedWith: { leaderSeqno: 107n, at: AT },
      receivedSeqno: 106n,
      problem: expect.stringMatching(/^field gtid_slave_pos has an invalid value/) as string,
    })
  })

  it.each([
    'Master_Server_Id',
    'Slave_IO_Running',
    'Slave_SQL_Running',
    'Last_IO_Errno',
    'Last_SQL_Errno',
    'Gtid_IO_Pos',
    'Replicate_Do_Domain_Ids',
    'Replicate_Ignore_Domain_Ids',
  ])('of a link is named in the problem: %s', async (column) => {
    for (const value of [undefined, null, 1.5]) {
      expect(await readFollower(LEADER, FOLLOWER, [{ ...LINK, [column]: value }])).toMatchObject({
        connected: column !== 'Slave_IO_Running',
        appliedSeqno: 7n,
        problem: expect.stringMatching(`^field ${column} (is missing|has an invalid)`) as string,
      })
    }
    // It does not make its node the leader.
    const none = await readFollower(LEADER, { ...FOLLOWER, read_only: 'OFF' }, [{}])
    expect(none).toMatchObject({
      connected: false,
      problem: expect.stringMatching(/^field Master_Server_Id is missing, /) as string,
    })
  })

  it('is a number or a string where the server has a number', async () => {
    const link = { ...LINK, Master_Server_Id: '1', Last_IO_Errno: 0n, Last_SQL_Errno: '0' }
    const leader = { ...LEADER, server_id: 1, gtid_domain_id: 0n }
    const found = await readFollower(leader, { ...FOLLOWER, server_id: 2n }, [link])
    expect(found).toEqual({
      replica: 'r1',
      connected: true,
      appliedSeqno: 7n,
      comparedWith: { leaderSeqno: 107n, at: AT },
      receivedSeqno: 106n,
    })
  })
})

describe('any answer', () => {
  const text = fc.constantFrom('0-1-107', '0-1-7', '7-1-2,0-1-107', '0-2-8,0-1-7,0-9-40', '0-1-106')
  /** A recorded position, cut short or with other characters in it. */
  const changed = fc
    .tuple(text, fc.nat(20), fc.nat(3), fc.stringMatching(/^[0-9, \n-]{0,6}$/))
    .map(([position, at, count, more]) => position.slice(0, at) + more + position.slice(at + count))
  const value = fc.oneof(
    text,
    changed,
    fc.constantFrom<unknown>(null, undefined, '', 'Yes', 'No', '0', '7', 7n, 2 ** 60, -1),
    fc.anything(),
  )
  const mutate = (row: Row) =>
    fc
      .array(fc.tuple(fc.constantFrom(...Object.keys(row)), value), { maxLength: 2 })
      .map((changes): unknown => ({ ...row, ...Object.fromEntries(changes) }))
  const state = (...rows: Row[]) =>
    fc.oneof({ weight: 9, arbitrary: fc.oneof(...rows.map(mutate)) }, fc.anything())

  it('makes a valid reading, or an error that names a field', async () => {
    const links = fc.oneof(fc.array(mutate(LINK), { maxLength: 3 }), fc.anything())
    await fc.assert(
      fc.asyncProperty(
        state(LEADER, DOMAINS),
        state(FOLLOWER, ERRANT),
        links,
        async (leader, follower, rows) => {
          const reading = await readRows(leader, follower, rows).catch((error: unknown) => error)
          if (reading instanceof Error) {
            expect(reading.message).toMatch(
              /^MariaDB( leader \w+: (field |its gtid_)|: no node that answers leads, |: no node leads|: which node leads)/,
            )
          } else checkReading(reading as Awaited<ReturnType<typeof readRows>>)
        },
      ),
      { numRuns: 500 },
    )
  })
})
