import fc from 'fast-check'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { describe, expect, it } from 'vitest'
import { checkReading, FakeClient, onlyShard, read, type Row } from './fakes.js'
import { CHANNEL, ERRANT, FOLLOWER, LEADER, LEADER_UUID as UUID } from './mysql-answers.js'

/** Reads a leader and a follower. */
function readRows(leader: unknown, follower: unknown = FOLLOWER, channels: unknown = [CHANNEL]) {
  const nodes = { leader: new FakeClient([leader]), r1: new FakeClient([follower], channels) }
  return read(mysqlSource({ nodes, shard: 'a' }))
}

const NO_VALUES = [null, undefined, 7, true, {}]

describe('a column', () => {
  it.each(['server_uuid', 'gtid_mode', 'gtid_executed'])(
    'must have a value: %s',
    async (column) => {
      for (const value of NO_VALUES) {
        await expect(readRows({ ...LEADER, [column]: value })).rejects.toThrow(
          new RegExp(`MySQL leader: field ${column} (is missing|has an invalid value)`),
        )
        const { followers } = onlyShard(await readRows(LEADER, { ...FOLLOWER, [column]: value }))
        expect(followers['r1']).toMatchObject({
          connected: false,
          problem: expect.stringMatching(`^cannot be read: MySQL r1: field ${column} `) as string,
        })
      }
    },
  )

  it.each(['gtid_owned', 'address', 'read_only', 'innodb_read_only'])(
    'need not have a value: %s',
    async (column) => {
      for (const value of [null, undefined]) {
        const state = { ...FOLLOWER, [column]: value }
        const { followers } = onlyShard(await readRows({ ...LEADER, [column]: value }, state))
        expect(followers['r1']).toMatchObject({ connected: true, appliedSeqno: 11n })
        expect(followers['r1']).not.toHaveProperty('problem')
      }
      const { followers } = onlyShard(await readRows(LEADER, { ...FOLLOWER, [column]: 7 }))
      expect(followers['r1']).toMatchObject({
        connected: true,
        appliedSeqno: 11n,
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
      const read = async (...rows: unknown[]) =>
        onlyShard(await readRows(LEADER, FOLLOWER, rows)).followers['r1']
      const found = await read({ ...CHANNEL, [column]: null })
      expect(found).toMatchObject({
        connected: column !== 'service_state',
        appliedSeqno: 11n,
        problem: `field ${column} has an invalid value: null`,
      })
      expect('receivedSeqno' in (found ?? {})).toBe(column !== 'received_transaction_set')
      // It does not make its node the leader.
      const { followers } = onlyShard(
        await readRows({ ...LEADER, read_only: '0' }, { ...FOLLOWER, read_only: '0' }, [{}]),
      )
      expect(followers['r1']).toMatchObject({
        connected: false,
        problem: expect.stringMatching(
          /^field source_uuid is missing, field service_state /,
        ) as string,
      })
    },
  )

  it('is ignored if it is not known', async () => {
    const more = { other: {} }
    const { leaderSeqno } = onlyShard(
      await readRows({ ...LEADER, ...more }, { ...FOLLOWER, ...more }, [{ ...CHANNEL, ...more }]),
    )
    expect(leaderSeqno).toBe(111n)
  })
})

describe('any answer', () => {
  const text = fc.constantFrom(LEADER, FOLLOWER, ERRANT).map((row) => String(row['gtid_executed']))
  /** A recorded set, cut short or with other characters in it. */
  const changed = fc
    .tuple(text, fc.nat(80), fc.nat(3), fc.stringMatching(/^[0f19:, \nbA-]{0,9}$/))
    .map(([set, at, count, more]) => set.slice(0, at) + more + set.slice(at + count))
  const value = fc.oneof(
    changed,
    text.map((set) => set.slice(0, set.length / 2)),
    fc.constantFrom<unknown>(null, undefined, '', 'ON', 'OFF', '0', 7n, 2 ** 60, Buffer.from('x')),
    fc.anything(),
  )
  const mutate = (row: Row) =>
    fc
      .array(fc.tuple(fc.constantFrom(...Object.keys(row)), value), { maxLength: 2 })
      .map((changes): unknown => ({ ...row, ...Object.fromEntries(changes) }))
  const state = (row: Row) => fc.oneof({ weight: 9, arbitrary: mutate(row) }, fc.anything())

  it('makes a valid reading, or an error that names a field', async () => {
    const channels = fc.oneof(fc.array(mutate(CHANNEL), { maxLength: 3 }), fc.anything())
    await fc.assert(
      fc.asyncProperty(state(LEADER), state(ERRANT), channels, async (leader, follower, rows) => {
        const reading = await readRows(leader, follower, rows).catch((error: unknown) => error)
        if (reading instanceof Error) {
          expect(reading.message).toMatch(
            /^MySQL( leader \w+: (field |its gtid_)|: no node that answers leads, |: no node leads|: which node leads)/,
          )
        } else checkReading(reading as Awaited<ReturnType<typeof readRows>>)
      }),
      { numRuns: 500 },
    )
  })
})

describe('any two sets', () => {
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
