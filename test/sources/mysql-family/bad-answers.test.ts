import fc from 'fast-check'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { describe, expect, it } from 'vitest'
import { AT, checkReading, FakeClient, mariadb, mysql, onlyShard, read, type Row } from './fakes.js'

const UUID = mysql.LEADER_UUID

/** Returns a function that reads a leader and a follower with these answers. */
function readerOf(
  create: typeof mysqlSource | typeof mariadbSource,
  { FOLLOWER }: { FOLLOWER: Row },
  link: Row,
) {
  const readRows = (leader: unknown, follower: unknown = FOLLOWER, links: unknown = [link]) => {
    const nodes = { leader: new FakeClient([leader]), r1: new FakeClient([follower], links) }
    return read(create({ nodes, shard: 'a' }))
  }
  /** Reads the follower. */
  const readFollower = async (...rows: Parameters<typeof readRows>) =>
    onlyShard(await readRows(...rows)).followers['r1']
  return { readRows, readFollower }
}

/** A row with up to two columns that have other values. */
function mutated(row: Row, value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const change = fc.tuple(fc.constantFrom(...Object.keys(row)), value)
  const changes = fc.array(change, { maxLength: 2 })
  return changes.map((each) => ({ ...row, ...Object.fromEntries(each) }))
}

/** A recorded text, cut short or with other characters in it. */
function changed(text: fc.Arbitrary<string>, characters: RegExp): fc.Arbitrary<string> {
  return fc
    .tuple(text, fc.nat(80), fc.nat(3), fc.stringMatching(characters))
    .map(([all, at, count, more]) => all.slice(0, at) + more + all.slice(at + count))
}

/** Expects a valid reading of any answers, or an error that names a field. */
async function checkAny(
  { readRows }: ReturnType<typeof readerOf>,
  value: fc.Arbitrary<unknown>,
  { leaders, followers, link }: { leaders: Row[]; followers: Row[]; link: Row },
): Promise<void> {
  const any = fc.oneof(value, fc.constantFrom<unknown>(null, undefined, '', 7n, -1), fc.anything())
  const state = (rows: Row[]) => {
    const arbitrary = fc.oneof(...rows.map((row) => mutated(row, any)))
    return fc.oneof({ weight: 9, arbitrary }, fc.anything())
  }
  const links = fc.oneof(fc.array(mutated(link, any), { maxLength: 3 }), fc.anything())
  await fc.assert(
    fc.asyncProperty(state(leaders), state(followers), links, async (leader, follower, rows) => {
      const reading = await readRows(leader, follower, rows).catch((error: unknown) => error)
      if (reading instanceof Error) {
        expect(reading.message).toMatch(
          /^(MySQL|MariaDB)( leader \w+: (field |its gtid_)|: no node that answers leads, |: no node leads|: which node leads)/,
        )
      } else checkReading(reading as Awaited<ReturnType<typeof readRows>>)
    }),
    { numRuns: 500 },
  )
}

describe('a column of MySQL', () => {
  const { CHANNEL, ERRANT, FOLLOWER, LEADER } = mysql
  const reader = readerOf(mysqlSource, mysql, CHANNEL)
  const { readRows, readFollower } = reader

  it.each(['server_uuid', 'gtid_mode', 'gtid_executed'])(
    'must have a value: %s',
    async (column) => {
      for (const value of [null, undefined, 7, true, {}]) {
        await expect(readRows({ ...LEADER, [column]: value })).rejects.toThrow(
          new RegExp(`MySQL leader: field ${column} (is missing|has an invalid value)`),
        )
        expect(await readFollower(LEADER, { ...FOLLOWER, [column]: value })).toMatchObject({
          connected: false,
          problem: expect.stringMatching(`^cannot be read: MySQL r1: field ${column} `) as string,
        })
      }
    },
  )

  it.each(['gtid_owned', 'address', 'read_only', 'innodb_read_only'])(
    'need not have a value: %s',
    async (column) => {
      const expected = { connected: true, appliedSeqno: 11n }
      for (const value of [null, undefined]) {
        const change = { [column]: value }
        const found = await readFollower({ ...LEADER, ...change }, { ...FOLLOWER, ...change })
        expect(found).toMatchObject(expected)
        expect(found).not.toHaveProperty('problem')
      }
      expect(await readFollower(LEADER, { ...FOLLOWER, [column]: 7 })).toMatchObject({
        ...expected,
        problem: `field ${column} has an invalid value: 7`,
      })
    },
  )

  it.each([
    'x',
    UUID,
    `${UUID}:`,
    `${UUID}:0`,
    `${UUID}:3-1`,
    `${UUID}:1-`,
    `${UUID}:-1`,
    `${UUID}:1.5`,
    `${UUID}:tag`,
    `${UUID}:1:tag`,
    `${UUID}:t-g:1`,
    `${UUID}:${'t'.repeat(33)}:1`,
    `${UUID}:1;${UUID}:2`,
    `${UUID.slice(1)}:1`,
    `${UUID}:1-99999999999999999999`,
    // More than 2^64 in all.
    `${UUID}:1-9223372036854775806:a:1-9223372036854775806:b:1-9223372036854775806`,
  ])('is not a GTID set: %s', async (gtid_executed) => {
    await expect(readRows({ ...LEADER, gtid_executed })).rejects.toThrow(
      'field gtid_executed has an invalid value',
    )
  })

  it.each(['source_uuid', 'service_state', 'last_error_number', 'received_transaction_set'])(
    'of a channel is named in the problem: %s',
    async (column) => {
      const found = await readFollower(LEADER, FOLLOWER, [{ ...CHANNEL, [column]: null }])
      expect(found).toMatchObject({
        connected: column !== 'service_state',
        appliedSeqno: 11n,
        problem: `field ${column} has an invalid value: null`,
      })
      expect('receivedSeqno' in (found ?? {})).toBe(column !== 'received_transaction_set')
    },
  )

  it('of a channel that is missing does not make its node the leader', async () => {
    const found = await readFollower(LEADER, { ...FOLLOWER, read_only: '0' }, [{}])
    expect(found).toMatchObject({
      connected: false,
      problem: expect.stringMatching(
        /^field source_uuid is missing, field service_state /,
      ) as string,
    })
  })

  it('is ignored if it is not known', async () => {
    const [leader, follower, link] = [LEADER, FOLLOWER, CHANNEL].map((row) => ({ ...row, more: 1 }))
    expect(await readFollower(leader, follower, [link])).toMatchObject({ appliedSeqno: 11n })
  })

  it('can have any value', async () => {
    const rows = [LEADER, FOLLOWER, ERRANT]
    const set = fc.constantFrom(...rows.map((row) => String(row['gtid_executed'])))
    const other = fc.constantFrom<unknown>('ON', 'OFF', '0', 2 ** 60, Buffer.from('x'))
    const value = fc.oneof(changed(set, /^[0f19:, \nbA-]{0,9}$/), other)
    await checkAny(reader, value, { leaders: [LEADER], followers: [ERRANT], link: CHANNEL })
  })
})

describe('a column of MariaDB', () => {
  const { DOMAINS, ERRANT, FOLLOWER, LEADER, LINK } = mariadb
  const reader = readerOf(mariadbSource, mariadb, LINK)
  const { readRows, readFollower } = reader
  const FOUND = {
    replica: 'r1',
    connected: true,
    comparedWith: { leaderSeqno: 107n, at: AT },
    receivedSeqno: 106n,
  }

  it.each(['server_id', 'gtid_binlog_pos'])('of a leader must have a value: %s', async (column) => {
    for (const value of [null, undefined, 1.5, true, {}]) {
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
      const problem = `field ${column} has an invalid value: 1.5`
      expect(found).toMatchObject({ connected: true, problem })
      expect(found?.appliedSeqno).toBe(column === 'gtid_slave_pos' ? undefined : 7n)
    },
  )

  it.each(['address', 'gtid_domain_id', 'log_bin', 'read_only'])(
    'need not have a value: %s',
    async (column) => {
      const [leader, follower] = [LEADER, FOLLOWER].map((row) => ({ ...row, [column]: undefined }))
      expect(await readFollower(leader, follower)).toEqual({ ...FOUND, appliedSeqno: 7n })
      expect(await readFollower({ ...leader, [column]: null })).toMatchObject({ appliedSeqno: 7n })
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
      ...FOUND,
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
  })

  it('of a link that is missing does not make its node the leader', async () => {
    expect(await readFollower(LEADER, { ...FOLLOWER, read_only: 'OFF' }, [{}])).toMatchObject({
      connected: false,
      problem: expect.stringMatching(/^field Master_Server_Id is missing, /) as string,
    })
  })

  it('is a number or a string where the server has a number', async () => {
    const link = { ...LINK, Master_Server_Id: '1', Last_IO_Errno: 0n, Last_SQL_Errno: '0' }
    const leader = { ...LEADER, server_id: 1, gtid_domain_id: 0n }
    const found = await readFollower(leader, { ...FOLLOWER, server_id: 2n }, [link])
    expect(found).toEqual({ ...FOUND, appliedSeqno: 7n })
  })

  it('can have any value', async () => {
    const recorded = ['0-1-107', '0-1-7', '7-1-2,0-1-107', '0-2-8,0-1-7,0-9-40', '0-1-106']
    const position = changed(fc.constantFrom(...recorded), /^[0-9, \n-]{0,6}$/)
    const other = fc.constantFrom<unknown>(...recorded, 'Yes', 'No', '0', '7', 2 ** 60)
    const rows = { leaders: [LEADER, DOMAINS], followers: [FOLLOWER, ERRANT], link: LINK }
    await checkAny(reader, fc.oneof(position, other), rows)
  })
})

describe('any two sets', () => {
  const { CHANNEL, FOLLOWER, LEADER } = mysql
  const { readRows } = readerOf(mysqlSource, mysql, CHANNEL)
  const interval = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.nat(5))
  const set = fc.array(
    fc.tuple(
      fc.constantFrom('0', '1'),
      fc.constantFrom('', 'a'),
      fc.array(interval, { minLength: 1 }),
    ),
    { maxLength: 5 },
  )
  const format = (parts: [string, string, [number, number][]][]) =>
    parts
      .map(([server, tag, intervals]) => {
        const list = intervals.map(([first, more]) => `${first}-${first + more}`).join(':')
        return `${server}${UUID.slice(1)}${tag && `:${tag}`}:${list}`
      })
      .join(',')
  const list = (parts: [string, string, [number, number][]][]) =>
    new Set(
      parts.flatMap(([server, tag, intervals]) =>
        intervals.flatMap(([first, more]) =>
          Array.from({ length: more + 1 }, (_, i) => `${server}${tag}:${first + i}`),
        ),
      ),
    )

  it('are counted as a list of all their transactions is', async () => {
    await fc.assert(
      fc.asyncProperty(
        set.filter((parts) => parts.length > 0),
        set,
        set,
        async (leader, follower, received) => {
          const [all, has, got] = [list(leader), list(follower), list(received)]
          const channel = { ...CHANNEL, received_transaction_set: format(received) }
          const { leaderSeqno, followers } = onlyShard(
            await readRows(
              { ...LEADER, gtid_executed: format(leader) },
              { ...FOLLOWER, gtid_executed: format(follower) },
              [channel],
            ),
          )
          const common = (test: (id: string) => boolean) => BigInt([...all].filter(test).length)
          expect(leaderSeqno).toBe(BigInt(all.size))
          if ([...has].some((id) => !all.has(id))) {
            expect(followers['r1']).toMatchObject({ diverged: true })
            return
          }
          /** Those of each server and tag that come before the first one that is missing. */
          const isBeforeGap = (id: string) =>
            ![...all].some(
              (other) =>
                keyOf(other) === keyOf(id) && numberOf(other) <= numberOf(id) && !has.has(other),
            )
          const upTo = common(isBeforeGap)
          expect(followers['r1']).toMatchObject({
            appliedSeqno: common((id) => has.has(id)),
            receivedSeqno: common((id) => has.has(id) || got.has(id)),
          })
          expect(followers['r1']?.appliedUpTo ?? followers['r1']?.appliedSeqno).toBe(upTo)
        },
      ),
    )
  })

  const keyOf = (id: string) => id.replace(/\d+$/, '')
  const numberOf = (id: string) => Number(/\d+$/.exec(id)?.[0])
})
