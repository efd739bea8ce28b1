import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { validate } from '../shared/fakes.js'
import {
  createReader,
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
const OPTIONAL_OF_NODE = ['started', 'cluster_name', 'own_slot', 'own_application']
const OPTIONAL = ['receives_only', 'wal_status', 'received', 'retained', 'reply']
const columns = Object.keys(SLOT)
const nodeColumns = columns.slice(0, columns.indexOf('connection'))
const followerColumns = columns.slice(columns.indexOf('connection'))

/** Returns a row without one of its columns. */
function without(row: AnswerRow, column: string): AnswerRow {
  return Object.fromEntries(Object.entries(row).filter(([name]) => name !== column))
}

const OTHER: AnswerRow = { ...STANDBY, connection: '2 2', application_name: 's2' }

/** Reads a follower with these values, and another one. Returns what is wrong with a column. */
async function faultOf(values: AnswerRow, column: string): Promise<string | undefined> {
  const reading = createReader()({ ...SLOT, ...values }, { ...OTHER, ...pick(values, nodeColumns) })
  if (nodeColumns.includes(column)) {
    return reading.then(
      () => undefined,
      (error: unknown) => (error as Error).message,
    )
  }
  const { names, problem } = await reading
  expect(names).toHaveLength(problem === undefined ? 2 : 1)
  expect(names).toContain('s2')
  return problem
}

function pick(row: AnswerRow, names: readonly string[]): AnswerRow {
  return Object.fromEntries(Object.entries(row).filter(([name]) => names.includes(name)))
}

describe('a column of the node', () => {
  it.each(nodeColumns.filter((column) => !OPTIONAL_OF_NODE.includes(column)))(
    'must be there: %s',
    async (column) => {
      const row = without(SLOT, column)
      await expect(createReader()(row)).rejects.toThrow(`field ${column} is missing`)
    },
  )

  it.each(['role_name', 'in_recovery', 'system_identifier', 'restart_timeline'])(
    'must have a value: %s',
    async (column) => {
      const error = `field ${column} has an invalid value: null`
      await expect(createReader()({ ...NODE, [column]: null })).rejects.toThrow(error)
    },
  )
})

describe('a column of a follower', () => {
  it.each(followerColumns.filter((column) => !OPTIONAL.includes(column)))(
    'must be there, or that follower is left out: %s',
    async (column) => {
      // Without the slot it counts as a connection, and without the connection as a slot.
      const subject = column === 'slot_name' ? 'the connection of "s1"' : 'slot "s1"'
      expect(await createReader()(without(SLOT, column), OTHER)).toMatchObject({
        followers: [{ replica: 's2', appliedSeqno: 900n }],
        problem: `${subject} is left out: field ${column} is missing`,
      })
    },
  )

  it('is ignored if it is not known', async () => {
    const { reading } = await createReader()(SLOT)
    expect((await createReader()({ ...SLOT, other: {} })).reading).toEqual(reading)
  })
})

it.each([...OPTIONAL_OF_NODE, ...OPTIONAL])('this column may be missing: %s', async (column) => {
  const { followers } = await createReader()(without(SLOT, column))
  expect(followers).toMatchObject([{ replica: 's1', appliedSeqno: 900n }])
})

describe('a column', () => {
  it.each(['leader', 'timeline', 'restart_timeline', 'applied', 'received', 'retained'])(
    'is an unsigned 64-bit integer: %s',
    async (column) => {
      const read = (value: unknown) => faultOf({ leader: `${MAX}`, [column]: value }, column)
      const invalid = ['', '-1', '+1', ' 1', '1 ', '1.0', '1e3', '0x10', '0/1', `${MAX + 1n}`]
      for (const value of [...invalid, 'NaN', -1, 1.5, NaN, -1n, MAX + 1n, true, {}, []]) {
        expect(await read(value)).toContain(`field ${column} has an invalid value`)
      }
      for (const value of ['0', '007', `${MAX}`, 0, 2 ** 53 - 1, MAX]) {
        expect(await read(value)).toBeUndefined()
      }
    },
  )

  it.each(['role_name', 'system_identifier', 'connection', 'application_name', 'slot_name'])(
    'is a string that can be a name: %s',
    async (column) => {
      const read = (value: unknown) => faultOf({ [column]: value }, column)
      for (const value of ['', 'x'.repeat(4000), '\ud800', 7, true, Buffer.from('s1')]) {
        expect(await read(value)).toContain(`field ${column} has an invalid value`)
      }
      expect(await read('x'.repeat(256))).toBeUndefined()
    },
  )

  it.each(['in_recovery', 'connected', 'receives_only'])('is a boolean: %s', async (column) => {
    const read = (value: unknown) => faultOf({ [column]: value }, column)
    for (const value of ['', 't', 'f', 'yes', 'TRUE', 1, 0, {}]) {
      expect(await read(value)).toContain(`field ${column} has an invalid value`)
    }
    for (const value of ['true', 'false', true, false]) expect(await read(value)).toBeUndefined()
  })
})

it('positions are exact up to 2^64 − 1', async () => {
  const row = { ...STANDBY, leader: `${MAX}`, applied: `${MAX - 1n}` }
  const expected = { leaderSeqno: MAX, followers: [{ appliedSeqno: MAX - 1n }] }
  expect(await createReader()(row)).toMatchObject(expected)
})

describe('an answer', () => {
  it.each([
    ['no row', []],
    ['a row that is null', [null]],
    ['a row that is a string', ['s1']],
    ['a row that is an array', [['s1', 'streaming']]],
    ['columns in camel case', [{ roleName: 'monitor', inRecovery: 'false' }]],
  ])('is refused: %s', async (_, rows) => {
    await expect(createReader()(...rows)).rejects.toThrow(
      /the answer has no row|field role_name is missing/,
    )
  })

  it.each([
    ['slot "s1"', SLOT],
    ['the connection of "s1"', STANDBY],
  ])('leaves out a second row for one follower: %s', async (subject, row) => {
    expect(await createReader()(row, row, OTHER)).toMatchObject({
      names: ['s1', 's2'],
      problem: `${subject} is left out: it is listed twice`,
    })
  })

  it('leaves out a connection whose name is too long', async () => {
    const long = { ...STANDBY, application_name: 'x'.repeat(1020) }
    const { names, problem } = await createReader()(long, { ...OTHER, application_name: null })
    expect(names).toEqual(['10.0.0.1'])
    expect(problem).toMatch(
      /^the connection of a string of 1020 characters .* is left out: field application_name/,
    )
  })

  it('is read whatever state, type and status its rows have', async () => {
    const odd = { ...SLOT, state: 'flying', slot_type: 'quantum', wal_status: 'unknown' }
    expect((await createReader()(odd)).followers).toMatchObject([{ appliedSeqno: 900n }])
  })

  it('is refused with the privilege that the role needs if it hides the state of a connection', async () => {
    await expect(createReader()({ ...STANDBY, state: null })).rejects.toThrow(
      'the role monitor may not see the positions of followers: GRANT pg_monitor TO monitor',
    )
  })
})

describe('any answer', () => {
  const recorded = [NODE, STANDBY, SLOT, IDLE_SLOT, LOGICAL_SLOT, TEMPORARY]
  const texts = ['', 'true', 'false', '0', '1', 's1', 'streaming', '-1', ' 7', 'x'.repeat(4000)]
  const odd = [null, undefined, true, 7n, -0.5, `${MAX}`, `${MAX + 1n}`, '\udfff']
  const value = fc.oneof(
    fc.constantFrom<unknown>(...texts),
    fc.constantFrom<unknown>(...odd),
    fc.anything(),
  )
  const change = fc.tuple(fc.constantFrom(...columns), value)
  const row = fc
    .tuple(fc.constantFrom(...recorded), fc.array(change, { maxLength: 3 }), fc.nat(5))
    .map(([base, changes, connection]): AnswerRow => {
      const distinct = base['connection'] === null ? {} : { connection: `${connection} 1` }
      return { ...base, ...distinct, ...Object.fromEntries(changes) }
    })
  const answer = fc
    .tuple(fc.array(row, { maxLength: 4 }), fc.boolean())
    .map(([rows, isStandby]) => (isStandby ? onStandby(...rows) : rows))

  it('makes a valid reading, or an error that names a field or the privilege', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { maxLength: 5 }), async (answers) => {
        const read = createReader({ expect: ['s1', 'other'] })
        for (const rows of answers) {
          validate(
            await read(...rows).then(
              ({ reading }) => reading,
              (error: unknown) => error,
            ),
            /field [a-z_]+ (is missing|has an invalid value)|GRANT pg_monitor|no row/,
          )
        }
      }),
      { numRuns: 300 },
    )
  })
})
