import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createReader,
  followersOf,
  IDLE_SLOT,
  LOGICAL_SLOT,
  namesOf,
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
  const { shards } = await reading
  const [shard] = shards
  expect(shard?.followers).toContainEqual(expect.objectContaining({ replica: 's2' }))
  if (shard?.problem === undefined) expect(shard?.followers).toHaveLength(2)
  else expect(shard.followers).toHaveLength(1)
  return shard?.problem
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
      await expect(createReader()({ ...NODE, [column]: null })).rejects.toThrow(
        `field ${column} has an invalid value: null`,
      )
    },
  )

  it.each(OPTIONAL_OF_NODE)('may be missing: %s', async (column) => {
    expect(namesOf(await createReader()(without(SLOT, column)))).toEqual(['s1'])
  })
})

describe('a column of a follower', () => {
  it.each(followerColumns.filter((column) => !OPTIONAL.includes(column)))(
    'must be there, or that follower is left out: %s',
    async (column) => {
      const row = without(SLOT, column)
      const [shard] = (await createReader()(row, OTHER)).shards
      // Without the slot it counts as a connection, and without the connection as a slot.
      const subject = column === 'slot_name' ? 'the connection of "s1"' : 'slot "s1"'
      expect(shard).toMatchObject({
        followers: [{ replica: 's2', appliedSeqno: 900n }],
        problem: `${subject} is left out: field ${column} is missing`,
      })
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
    ['a row that is a string', ['s1']],
    ['a row that is an array', [['s1', 'streaming']]],
    ['columns in camel case', [{ roleName: 'monitor', inRecovery: 'false' }]],
  ])('is refused: %s', async (_, rows) => {
    await expect(createReader()(...rows)).rejects.toThrow(
      /the answer has no row|field role_name is missing/,
    )
  })

  it('leaves out a second row for one slot or connection', async () => {
    expect((await createReader()(SLOT, SLOT, OTHER)).shards).toMatchObject([
      {
        followers: [{ replica: 's1' }, { replica: 's2' }],
        problem: 'slot "s1" is left out: it is listed twice',
      },
    ])
    expect((await createReader()(STANDBY, STANDBY)).shards).toMatchObject([
      {
        followers: [{ replica: 's1' }],
        problem: 'the connection of "s1" is left out: it is listed twice',
      },
    ])
  })

  it('leaves out a connection whose name is too long', async () => {
    const long = { ...STANDBY, application_name: 'x'.repeat(1020) }
    expect((await createReader()(long, { ...OTHER, application_name: null })).shards).toMatchObject(
      [
        {
          followers: [{ replica: '10.0.0.1' }],
          problem: expect.stringMatching(
            /^the connection of a string of 1020 characters .* is left out: field application_name/,
          ) as string,
        },
      ],
    )
  })

  it('is read whatever state, type and status its rows have', async () => {
    const odd = { ...SLOT, state: 'flying', slot_type: 'quantum', wal_status: 'unknown' }
    expect((await createReader()(odd)).shards).toEqual([
      expect.objectContaining({ followers: [expect.objectContaining({ appliedSeqno: 900n })] }),
    ])
  })

  it('is refused with the privilege that the role needs if it hides the state of a connection', async () => {
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

  it('makes a valid reading, or an error that names a field or the privilege', async () => {
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
