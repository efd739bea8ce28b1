import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createReader,
  followersOf,
  IDLE_SLOT,
  LOGICAL_SLOT,
  NODE,
  onStandby,
  SLOT,
  STANDBY,
  TEMPORARY,
  type AnswerRow,
} from './answers.js'

const MAX = 2n ** 64n - 1n
const OPTIONAL = ['started', 'receives_only', 'wal_status', 'received', 'retained', 'reply']
const INTEGERS = ['leader', 'timeline', 'restart_timeline', 'applied', 'received', 'retained']
const TEXTS = ['role_name', 'system_identifier', 'connection', 'application_name', 'slot_name']
const columns = Object.keys(SLOT)

/** Returns a row without one of its columns. */
function without(row: AnswerRow, column: string): AnswerRow {
  return Object.fromEntries(Object.entries(row).filter(([name]) => name !== column))
}

describe('a column of an answer', () => {
  it.each(columns.filter((column) => !OPTIONAL.includes(column)))(
    'must be there: %s',
    async (column) => {
      const row = without(SLOT, column)
      await expect(createReader()(row)).rejects.toThrow(`field ${column} is missing`)
    },
  )

  it.each(OPTIONAL)('may be missing: %s', async (column) => {
    const row = without(SLOT, column)
    expect(followersOf(await createReader()(row))).toMatchObject([
      { replica: 's1', appliedSeqno: 900n },
    ])
  })

  it('is ignored if it is not known', async () => {
    expect(await createReader()({ ...SLOT, other: {} })).toEqual(await createReader()(SLOT))
  })

  it.each(['role_name', 'in_recovery', 'system_identifier', 'restart_timeline'])(
    'must have a value: %s',
    async (column) => {
      await expect(createReader()({ ...NODE, [column]: null })).rejects.toThrow(
        `field ${column} has an invalid value: null`,
      )
    },
  )

  it.each(INTEGERS)('is an unsigned 64-bit integer: %s', async (column) => {
    const read = (value: unknown) => createReader()({ ...SLOT, [column]: value })
    const invalid = ['', '-1', '+1', ' 1', '1 ', '1.0', '1e3', '0x10', '0/1', `${MAX + 1n}`, 'NaN']
    for (const value of [...invalid, -1, 1.5, NaN, -1n, MAX + 1n, true, {}, [], new Date(0)]) {
      await expect(read(value)).rejects.toThrow(`field ${column} has an invalid value`)
    }
    for (const value of ['0', '007', `${MAX}`, 0, 2 ** 53 - 1, MAX]) await read(value)
  })

  it.each(TEXTS)('is a text that can be a name: %s', async (column) => {
    const read = (value: unknown) => createReader()({ ...SLOT, [column]: value })
    for (const value of ['', 'x'.repeat(4000), '\ud800', 7, true, Buffer.from('s1')]) {
      await expect(read(value)).rejects.toThrow(`field ${column} has an invalid value`)
    }
    await read('x'.repeat(1024))
  })

  it.each(['in_recovery', 'connected', 'receives_only'])('is a boolean: %s', async (column) => {
    const read = (value: unknown) => createReader()({ ...SLOT, [column]: value })
    for (const value of ['', 't', 'f', 'yes', 'TRUE', 1, 0, {}]) {
      await expect(read(value)).rejects.toThrow(`field ${column} has an invalid value`)
    }
    for (const value of ['true', 'false', true, false]) await read(value)
  })
})

describe('positions', () => {
  it('are exact up to 2^64 − 1', async () => {
    const { shards } = await createReader()({
      ...STANDBY,
      leader: `${MAX}`,
      applied: `${MAX - 1n}`,
    })
    expect(shards).toMatchObject([{ leaderSeqno: MAX, followers: [{ appliedSeqno: MAX - 1n }] }])
  })
})

describe('an answer', () => {
  it.each([
    ['no row', []],
    ['a row that is null', [null]],
    ['a row that is a text', ['s1']],
    ['a row that is an array', [['s1', 'streaming']]],
    ['columns in camel case', [{ roleName: 'monitor', inRecovery: 'false' }]],
  ])('is refused: %s', async (_, rows) => {
    await expect(createReader()(...rows)).rejects.toThrow(
      /the answer has no row|field role_name is missing/,
    )
  })

  it('is refused with two rows for one slot or connection', async () => {
    await expect(createReader()(SLOT, SLOT)).rejects.toThrow(
      'field slot_name has an invalid value: "s1 twice"',
    )
    await expect(createReader()(STANDBY, STANDBY)).rejects.toThrow(/field connection has .* twice/)
  })

  it('is refused if a name gets too long together with its address', async () => {
    const long = { ...STANDBY, application_name: 'x'.repeat(1020) }
    const read = createReader()(long, { ...long, connection: '2 2' })
    await expect(read).rejects.toThrow('field application_name has an invalid value')
  })

  it('is refused with the right that the role needs if it hides the state of a connection', async () => {
    await expect(createReader()({ ...STANDBY, state: null })).rejects.toThrow(
      'the role monitor may not see the positions of followers: GRANT pg_monitor TO monitor',
    )
  })
})

describe('any answer', () => {
  const recorded = [NODE, STANDBY, SLOT, IDLE_SLOT, LOGICAL_SLOT, TEMPORARY]
  const value = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      undefined,
      '',
      'true',
      'false',
      true,
      '0',
      '1',
      's1',
      'streaming',
    ),
    fc.constantFrom<unknown>(
      `${MAX}`,
      `${MAX + 1n}`,
      '-1',
      ' 7',
      7n,
      -0.5,
      'x'.repeat(4000),
      '\udfff',
    ),
    fc.anything(),
  )
  const change = fc.tuple(fc.constantFrom(...columns), value)
  const row = fc
    .tuple(fc.constantFrom(...recorded), fc.array(change, { maxLength: 3 }), fc.nat(5))
    .map(([base, changes, connection]): AnswerRow => {
      const distinct = base['connection'] === null ? {} : { connection: `${connection} 1` }
      return { ...base, ...distinct, ...Object.fromEntries(changes) }
    })
  const answer = fc.oneof(
    fc.array(row, { maxLength: 4 }),
    fc.array(row, { maxLength: 4 }).map((rows) => onStandby(...rows)),
  )

  it('makes a valid reading, or an error that names a field or the right', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { maxLength: 5 }), async (answers) => {
        const read = createReader({ expect: ['s1', 'other'] })
        for (const rows of answers) {
          const reading = await read(...rows).catch((error: unknown) => error as Error)
          if (reading instanceof Error) {
            expect(reading.message).toMatch(
              /field [a-z_]+ (is missing|has an invalid value)|GRANT pg_monitor|no row/,
            )
            continue
          }
          for (const { leaderSeqno, followers, removed = [] } of reading.shards) {
            const names = [...followers.map(({ replica }) => replica), ...removed]
            expect(new Set(names).size).toBe(names.length)
            for (const { replica, appliedSeqno = 0n } of [
              ...followers,
              { replica: 'leader', appliedSeqno: leaderSeqno },
            ]) {
              expect(replica).toMatch(/^.{1,1024}$/s)
              expect(BigInt.asUintN(64, BigInt(appliedSeqno))).toBe(appliedSeqno)
            }
          }
        }
      }),
      { numRuns: 300 },
    )
  })
})
