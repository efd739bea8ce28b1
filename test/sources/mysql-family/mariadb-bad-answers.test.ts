import fc from 'fast-check'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { describe, expect, it } from 'vitest'
import { checkReading, FakeClient, read, type Row } from './fakes.js'
import { DOMAINS, ERRANT, FOLLOWER, LEADER, LINK } from './mariadb-answers.js'

/** Reads a leader and a follower. */
function readRows(leader: unknown, follower: unknown = FOLLOWER, links: unknown = [LINK]) {
  const followers = { r1: new FakeClient([follower], links) }
  return read(mariadbSource({ leader: new FakeClient([leader]), followers, shard: 'a' }))
}

describe('a column', () => {
  it.each(Object.keys(LEADER))('must have a value: %s', async (column) => {
    for (const value of [null, undefined, 1.5, true, {}]) {
      await expect(readRows({ ...LEADER, [column]: value })).rejects.toThrow(
        new RegExp(`^MariaDB leader: field ${column} (is missing|has an invalid value)`),
      )
    }
  })

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
    const { shards } = await readRows(LEADER, { ...FOLLOWER, gtid_slave_pos: position })
    expect(shards[0]?.followers[0]?.problem).toMatch(/^cannot be read: .*field gtid_slave_pos /)
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
    const { shards } = await readRows(LEADER, FOLLOWER, [{ ...LINK, [column]: 'ä-1' }, {}])
    expect(shards[0]?.followers).toMatchObject([
      {
        replica: 'r1',
        connected: false,
        problem: expect.stringMatching(/MariaDB: field \w+ /) as string,
      },
    ])
    const missing = await readRows(LEADER, FOLLOWER, [{ ...LINK, [column]: undefined }])
    expect(missing.shards[0]?.followers[0]?.problem).toContain(`field ${column} is missing`)
  })

  it('is a number or a text where the server has a number', async () => {
    const link = { ...LINK, Master_Server_Id: '1', Last_IO_Errno: 0n, Last_SQL_Errno: '0' }
    expect(
      await readRows({ ...LEADER, server_id: 1 }, { ...FOLLOWER, server_id: 2n }, [link]),
    ).toEqual(await readRows(LEADER))
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
              /^MariaDB leader: (field \w+ (is missing|has an invalid value)|its gtid_|client: expected)/,
            )
          } else checkReading(reading as Awaited<ReturnType<typeof readRows>>)
        },
      ),
      { numRuns: 500 },
    )
  })
})
