import fc from 'fast-check'
import type {
  PostgresFollower,
  PostgresSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { describe, expect, it, vi } from 'vitest'
import { recordLog } from '../../support/postgres-monitor.js'
import { validate } from '../shared/fakes.js'
import {
  CONNECTING,
  createReader,
  IDLE_SLOT,
  LOGICAL_SLOT,
  LOST_SLOT,
  NODE,
  onStandby,
  RECEIVING,
  SLOT,
  STANDBY,
  TEMPORARY,
  UNUSED_SLOT,
  type AnswerRow,
} from './answers.js'

// Answers that a real server gives, but not in this order or not when a test wants it to.

/** The rows of an answer, and what the reading of it has. */
type Step = readonly [rows: readonly unknown[], expected: object]

/** Lets one source read one answer after another. */
function itReads(
  cases: readonly (readonly [title: string, ...steps: Step[]])[],
  options: Partial<PostgresSourceOptions> = {},
) {
  for (const [title, ...steps] of cases) {
    it(title, async () => {
      const read = createReader(options)
      for (const [rows, expected] of steps) expect(await read(...rows)).toMatchObject(expected)
    })
  }
}

const NOTHING = { names: [], removed: undefined }
const REMOVED = { names: [], removed: ['s1'] }
const S1 = { names: ['s1'], removed: undefined }
const at = (appliedSeqno: bigint) => ({ ...S1, first: { replica: 's1', appliedSeqno } })
const matching = (pattern: RegExp) => expect.stringMatching(pattern) as string
const OTHER: AnswerRow = { ...STANDBY, connection: '2 2', application_name: 's2' }
const MAX = 2n ** 64n - 1n

it('a reading has the positions of a standby with a slot', async () => {
  const { reading } = await createReader()(SLOT)
  const seqnos = { appliedSeqno: 900n, receivedSeqno: 950n, retainedSeqno: 950n }
  const followers = [{ replica: 's1', connected: true, ...seqnos }]
  expect(reading).toEqual({
    shards: [{ shard: 'pg', leaderSeqno: 1000n, epoch: '7712205833477952562/1', followers }],
  })
})

describe('a reading', () => {
  const unnamed = { ...STANDBY, application_name: null }
  const local = { ...unnamed, client_addr: null }
  const note = (text: string) => ({ names: [], reading: { note: text } })
  itReads([
    [
      'says that a primary has no followers',
      [[NODE], note('a primary that no follower streams from')],
    ],
    [
      'says that a standby has no followers',
      [
        onStandby(NODE),
        note('a standby that no follower streams from: its upstream reports its lag'),
      ],
    ],
    [
      'names a follower without slot and application_name by its address',
      [[unnamed], { names: ['10.0.0.1'] }],
    ],
    [
      'names those that come through a Unix socket "local"',
      [[local, { ...local, connection: '2 2' }], { names: ['local', 'local@local'] }],
    ],
    [
      'gives a slot its own name, even if a connection has it',
      [[STANDBY, IDLE_SLOT], { names: ['s1@10.0.0.1', 's1'] }],
    ],
    [
      'leaves out a connection that reports no position',
      [[{ ...STANDBY, applied: null }], NOTHING],
    ],
    ['leaves out a slot that was never used', [[UNUSED_SLOT], NOTHING]],
    [
      'is exact up to 2^64 − 1',
      [
        [{ ...STANDBY, leader: `${MAX}`, applied: `${MAX - 1n}` }],
        { leaderSeqno: MAX, followers: [{ appliedSeqno: MAX - 1n }] },
      ],
    ],
  ])
})

describe('the names of connections', () => {
  let reports = 0

  /** A row, as `1:a@x` for connection 1 of `a` from `x`. It reports something at each reading, without a `!` at the end. */
  function rowOf(text: string): AnswerRow {
    const [, id, application_name, client_addr, silent] = /^(\d+):(.+)@(.+?)(!)?$/.exec(text) ?? []
    const reply = silent ?? `${reports++}`
    return { ...STANDBY, connection: `${id} 1`, application_name, client_addr, applied: id, reply }
  }

  /** Splits at spaces. Nothing has no parts. */
  const split = (text: string) => text.split(' ').filter((part) => part !== '')

  it.each<[title: string, ...[connections: string, names: string, slots?: string][]]>([
    ['gives each connection its own name', ['1:a@x 2:b@x', '1:a 2:b']],
    [
      'adds the address to a second of one name, and a number to a third from one address',
      ['1:a@x 2:a@y 3:a@y 4:a@y', '1:a 2:a@y 3:a@y#2 4:a@y#3'],
    ],
    ['gives no reserved name', ['1:a@x', '1:a@x#2', 'a a@x'], ['1:a@x', '1:a', 'a@x#2']],
    [
      'renames no connection while it lasts',
      ['1:a@x 2:a@y', '1:a 2:a@y'],
      ['2:a@y', '2:a@y'],
      ['3:a@z 2:a@y', '3:a 2:a@y'],
    ],
    [
      'gives connections that come back in another order the names they had',
      ['1:a@x 2:a@y', '1:a 2:a@y'],
      ['', ''],
      ['3:a@y', '3:a@y'],
      ['3:a@y 4:a@x', '3:a@y 4:a'],
    ],
    [
      'gives the plain name to a single one that moves from address to address',
      ['1:a@x', '1:a'],
      ['2:a@y', '2:a'],
      ['3:a@z', '3:a'],
    ],
    [
      'keeps the name of one that reconnects while its old connection is still there',
      ['1:a@x!', '1:a'],
      ['1:a@x! 2:a@x', '2:a'],
      ['1:a@x! 2:a@x', '2:a'],
      ['2:a@x', '2:a'],
    ],
    [
      'keeps the name of one that reconnects again and again',
      ['1:a@x!', '1:a'],
      ['1:a@x! 2:a@x!', '2:a'],
      ['1:a@x! 2:a@x! 3:a@x', '3:a'],
      ['1:a@x! 3:a@x', '3:a'],
      ['3:a@x', '3:a'],
    ],
    [
      'keeps the name of one whose new connection ends too',
      ['1:a@x!', '1:a'],
      ['1:a@x! 2:a@x', '2:a'],
      ['1:a@x!', '1:a'],
    ],
    [
      'takes the connection that was silent for longer for the replaced one of two',
      ['1:a@x 2:a@x', '1:a 2:a@x'],
      ['1:a@x! 2:a@x', '1:a 2:a@x'],
      ['1:a@x! 2:a@x', '1:a 2:a@x'],
      ['1:a@x! 2:a@x! 3:a@x', '2:a@x 3:a'],
    ],
    [
      'takes a connection for replaced until it reports something after the new one',
      ['1:a@x', '1:a'],
      ['1:a@x 2:a@x', '2:a'],
      ['1:a@x 2:a@x', '1:a 2:a@x'],
    ],
    [
      'takes an old connection that reports anything for another follower',
      ['1:a@x!', '1:a'],
      ['1:a@x! 2:a@x', '2:a'],
      ['1:a@x 2:a@x', '1:a 2:a@x'],
      ['1:a@x 2:a@x', '1:a 2:a@x'],
    ],
    [
      'knows one of two of its name again',
      ['1:a@x! 2:a@x!', '1:a 2:a@x'],
      ['2:a@x!', '2:a@x'],
      ['2:a@x! 3:a@x', '2:a@x 3:a'],
    ],
    [
      'does not take one at another address for the same',
      ['1:a@x!', '1:a'],
      ['1:a@x! 2:a@y', '1:a 2:a@y'],
    ],
  ])('%s', async (_, ...steps) => {
    const read = createReader()
    for (const [connections, expected, slots = ''] of steps) {
      const reserved = split(slots).map((slot_name) => ({ ...IDLE_SLOT, slot_name }))
      const { followers } = await read(...split(connections).map(rowOf), ...reserved, NODE)
      const named = followers.filter(({ connected }) => connected)
      const found = named.map(({ replica, appliedSeqno }) => `${appliedSeqno}:${replica}`)
      expect(found.join(' ')).toBe(expected)
    }
  })

  it('are forgotten in the end, so that memory is bounded', async () => {
    const read = createReader()
    await read(...['1:a@x', '2:a@y'].map(rowOf))
    for (let other = 0; other < 1000; other++) await read(rowOf(`1:o@${other}`))
    expect((await read(rowOf('3:a@y'))).names).toEqual(['a'])
  })
})

describe('a physical slot without a connection', () => {
  itReads([
    [
      'has the position up to which its standby had replayed, not received',
      [[SLOT], at(900n)],
      [[IDLE_SLOT], at(900n)],
      [[IDLE_SLOT], at(900n)],
      [[{ ...SLOT, applied: '940' }], at(940n)],
      [[IDLE_SLOT], at(940n)],
      // The slot keeps an older position.
      [[{ ...IDLE_SLOT, applied: '700' }], at(700n)],
    ],
    [
      'has the position up to which its standby had replayed, not the saved one, after its server was killed',
      [[SLOT], at(900n)],
      [[{ ...IDLE_SLOT, started: '2', applied: '700' }], at(900n)],
      [[{ ...IDLE_SLOT, started: '2', applied: '700' }], at(900n)],
      // An older standby has used it.
      [[{ ...IDLE_SLOT, started: '2', applied: '650' }], at(650n)],
    ],
    ['has the position that it keeps if its standby was never seen', [[IDLE_SLOT], at(950n)]],
    [
      'is removed when it is dropped and created again',
      [[SLOT], S1],
      [[UNUSED_SLOT], REMOVED],
      [[IDLE_SLOT], at(950n)],
    ],
    [
      'is not removed while its standby streams under that name without it',
      [[SLOT], S1],
      [[STANDBY], { ...S1, first: { connected: true } }],
    ],
    [
      'starts from scratch when the history is another one',
      [[SLOT], at(900n)],
      [[{ ...IDLE_SLOT, timeline: '2' }], at(950n)],
    ],
  ])
})

describe('a standby that connects through its slot', () => {
  const between = { ...STANDBY, state: 'startup' }
  const kept = { ...S1, first: { replica: 's1', connected: true, appliedSeqno: 900n } }
  itReads([
    [
      'is connected and keeps its position until it reports one',
      [[SLOT], S1],
      [[IDLE_SLOT], S1],
      ...['startup', 'catchup', 'streaming'].map((state): Step => [
        [{ ...CONNECTING, state }],
        kept,
      ]),
    ],
    [
      'is no second follower while it has left a timeline and not begun the next one',
      [[IDLE_SLOT, between], S1],
      [[SLOT], S1],
      [[IDLE_SLOT, between], S1],
    ],
    ['is one without a slot if it had none', [[STANDBY], S1], [[between], at(900n)]],
    [
      'stays in the readings if it was never seen connected',
      [[IDLE_SLOT], S1],
      [[CONNECTING], { ...S1, first: { connected: true, retainedSeqno: 950n } }],
    ],
  ])

  it('has received nothing through a base backup', async () => {
    const read = createReader()
    await read(SLOT)
    const { first } = await read({ ...RECEIVING, application_name: 'pg_basebackup' })
    expect(first).toMatchObject({ replica: 's1', connected: false })
    expect(first).not.toHaveProperty('receivedSeqno')
  })
})

describe('a slot that is used only to receive WAL', () => {
  const lost = { ...NOTHING, problem: matching(/^its slot s1 is lost/) }
  itReads([
    [
      'is no follower, connected or not, until a standby uses it',
      [[RECEIVING], NOTHING],
      [[IDLE_SLOT], NOTHING],
      [[SLOT], S1],
      [[IDLE_SLOT], S1],
    ],
    [
      'is removed once if it was taken for a follower',
      [[IDLE_SLOT], S1],
      [[RECEIVING], REMOVED],
      [[RECEIVING], NOTHING],
    ],
    [
      'is a problem of the shard when it is lost, and is not reported',
      [[RECEIVING], { problem: undefined }],
      [[LOST_SLOT], lost],
      [[LOST_SLOT], lost],
    ],
    [
      'is recognized without the column that shows it',
      [[{ ...RECEIVING, receives_only: undefined }], NOTHING],
      [[IDLE_SLOT], NOTHING],
    ],
  ])
})

it('a logical slot is connected while SQL reads it, without a connection that streams', async () => {
  const { first } = await createReader()({ ...LOGICAL_SLOT, connected: 'true' })
  expect(first).toMatchObject({ replica: 'etl', connected: true, appliedSeqno: 800n })
})

it.each<[row: AnswerRow, problem: string | undefined]>([
  [{ wal_status: 'reserved' }, undefined],
  [{ wal_status: 'extended' }, 'keeps more WAL than max_wal_size: if nothing needs it, drop it'],
  [
    { wal_status: 'unreserved' },
    'needs WAL that the server removes at the next checkpoint: it is almost lost',
  ],
  [
    { wal_status: 'lost', lost: 'wal_removed' },
    'is lost: the server has removed WAL that it needs. Restore that WAL from an archive, or rebuild the follower',
  ],
  [
    { ...SLOT, wal_status: 'unreserved', lost: 'wal_removed' },
    'was lost, and keeps no WAL for its follower, which streams again: stop that, drop the slot, and create it again',
  ],
  [
    { wal_status: 'lost', lost: 'idle_timeout' },
    'is lost: it was not used for idle_replication_slot_timeout. If its follower is gone, drop it. Otherwise create it again, and rebuild the follower if it is logical, or if WAL that it needs was removed',
  ],
  [
    { wal_status: 'lost', lost: 'rows_removed' },
    'is lost: the server has invalidated it (rows_removed). Rebuild the follower',
  ],
])('the problem of a slot is reported: %o', async (row, problem) => {
  const { first } = await createReader()({ ...IDLE_SLOT, ...row })
  expect(first?.problem).toBe(problem && `its slot s1 ${problem}`)
})

describe('a position after the end of the WAL', () => {
  const ahead = { ...LOGICAL_SLOT, applied: '1500' }
  itReads([
    [
      'by one byte is lag 0, because some consumers confirm the byte after the last one',
      [[{ ...LOGICAL_SLOT, applied: '1001' }], { first: { appliedSeqno: 1000n } }],
      [
        [{ ...STANDBY, applied: '1001', received: '1001' }],
        { first: { appliedSeqno: 1000n, receivedSeqno: 1000n } },
      ],
    ],
    [
      'is over when the WAL has grown',
      [[ahead], { first: { diverged: true } }],
      [[{ ...ahead, leader: '1600' }], { first: { appliedSeqno: 1500n } }],
    ],
  ])

  it('by more has no lag and diverges', async () => {
    const { first } = await createReader()({ ...STANDBY, applied: '1002' })
    expect(first).toMatchObject({ diverged: true })
    expect(first?.problem).toContain('2 bytes after the end of the WAL')
    expect(first).not.toHaveProperty('appliedSeqno')
    expect(first).not.toHaveProperty('receivedSeqno')
  })
})

it('a standby with a temporary slot has disconnected when it is no longer there', async () => {
  const read = createReader()
  expect(await read({ ...STANDBY, slot_type: 'physical' })).toMatchObject(S1)
  expect(await read(NODE)).toMatchObject(NOTHING)
})

describe('a node in recovery', () => {
  itReads([
    [
      'compares a consumer that is ahead as a primary does',
      [
        onStandby(STANDBY, { ...LOGICAL_SLOT, applied: '5000' }),
        { followers: [{ appliedSeqno: 900n }, { replica: 'etl', diverged: true }] },
      ],
    ],
    [
      'reports logical slots without a connection, and no physical ones',
      [onStandby(IDLE_SLOT, LOGICAL_SLOT), { names: ['etl'] }],
    ],
    [
      'lets a follower disconnect whose slot still exists, and removes it when that is dropped',
      [onStandby(SLOT), S1],
      [onStandby(IDLE_SLOT), NOTHING],
      [onStandby(IDLE_SLOT), NOTHING],
      [onStandby(NODE), REMOVED],
    ],
    [
      'forgets what it had as a primary',
      [[SLOT], S1],
      [onStandby({ ...IDLE_SLOT, timeline: '2' }), NOTHING],
    ],
  ])

  it('is a cascading leader', async () => {
    const read = createReader()
    expect(await read(...onStandby(STANDBY))).toHaveProperty('cascading', true)
    expect(await read(STANDBY)).not.toHaveProperty('cascading')
  })

  it.each([
    ['is unknown', { leader: null }],
    ['is behind that of its follower', { leader: '500' }],
  ])('compares nothing with its newest position while that %s', async (_, node) => {
    const read = createReader()
    const followers = [{ replica: 's1', connected: true }]
    for (let poll = 0; poll < 2; poll++) {
      expect((await read(...onStandby({ ...STANDBY, ...node }))).reading).toEqual({
        shards: [{ shard: 'pg', followers, cascading: true }],
        note: 'a standby whose newest position is not known at the moment',
      })
      const { first } = await read(...onStandby({ ...STANDBY, leader: '2000' }))
      expect(first).toMatchObject({ appliedSeqno: 900n })
    }
  })
})

describe('the epoch', () => {
  const standby = { ...NODE, in_recovery: 'true' }
  const old = { ...IDLE_SLOT, applied: '100', retained: '100' }
  const ofCluster = (more: string) => ({ epoch: `7712205833477952562/${more}` })
  itReads([
    [
      'of a standby stays while it receives nothing',
      [[{ ...standby, timeline: '2' }], ofCluster('2')],
      [[{ ...standby, timeline: null }], ofCluster('2')],
      [[{ ...standby, timeline: '3' }], ofCluster('3')],
    ],
    [
      'of a standby is the one that it would start with if it never received anything',
      [[{ ...standby, restart_timeline: '4', timeline: null }], ofCluster('4')],
    ],
    [
      'of a primary changes when its position falls, because it was restored',
      [[{ ...old, leader: '1000' }], ofCluster('1')],
      [[{ ...old, leader: '2000' }], ofCluster('1')],
      [[{ ...old, leader: '500' }], ofCluster('1/1')],
      [[{ ...old, leader: '900' }], ofCluster('1/1')],
      [[{ ...old, leader: '400' }], ofCluster('1/2')],
    ],
    [
      'of a primary stays while its position is unknown',
      [[{ ...old, leader: '1000' }], ofCluster('1')],
      [[{ ...old, leader: null }], S1],
      [[{ ...old, leader: '1100' }], ofCluster('1')],
    ],
    [
      'of another cluster is another one',
      [[{ ...standby, timeline: '5' }], ofCluster('5')],
      [[{ ...standby, system_identifier: '8', timeline: null }], { epoch: '8/1' }],
    ],
  ])
})

describe('the option expect', () => {
  const EXPECTED = ['s1', 's2', '7']
  const all = { names: EXPECTED }
  const missing = EXPECTED.map((replica) => ({ replica, connected: false }))
  const others = { names: ['s2', '7'] }
  itReads(
    [
      ['reports names that are missing as not connected', [[NODE], { followers: missing }]],
      ['adds nothing to a follower that is there', [[STANDBY], all], [[SLOT], all]],
      [
        'lets a dropped slot be removed before it reports it as missing',
        [[SLOT], all],
        [[NODE], { removed: ['s1'] }],
        [[NODE], { followers: missing }],
      ],
      [
        'does not expect the node itself, by the name of its slot, application or cluster',
        [[{ ...NODE, own_slot: 's1', timeline: '2' }], others],
        [[{ ...NODE, own_application: 's1', timeline: '2' }], others],
        [[{ ...NODE, cluster_name: 's1' }], others],
      ],
      [
        'expects a standby that has the settings of a primary which was never a standby',
        [[{ ...NODE, own_slot: 's1', own_application: 's1' }], all],
      ],
      [
        'reports nothing on a standby without connections',
        [onStandby(NODE), NOTHING],
        [onStandby(STANDBY), all],
      ],
    ],
    { expect: ['s1', 's2', 7] as string[] },
  )

  it('adds nothing to one that is connected and not reported, and no lag', async () => {
    const expected = { expect: ['s1'] }
    expect((await createReader(expected)(RECEIVING)).names).toEqual([])
    expect((await createReader({ ...expected, filter: () => false })(SLOT)).names).toEqual([])
    expect((await createReader(expected)(NODE)).first).not.toHaveProperty('appliedSeqno')
  })
})

describe('the option filter', () => {
  it('gets what is known of each follower', async () => {
    const filter = vi.fn<(follower: PostgresFollower) => boolean>(() => true)
    await createReader({ filter })(SLOT, { ...TEMPORARY, connection: '2 2' }, LOGICAL_SLOT)
    const standby = { applicationName: 's1', address: '10.0.0.1' }
    const consumer = { replica: 'nightly-export', applicationName: 'nightly-export' }
    expect(filter.mock.calls.flat()).toEqual([
      { replica: 's1', slotName: 's1', slotType: 'physical', ...standby },
      { ...standby, ...consumer, slotType: 'logical' },
      { replica: 'etl', slotName: 'etl', slotType: 'logical' },
    ])
  })

  it('leaves out those that it returns false for, and removes them if it returned true before', async () => {
    let passes = true
    const read = createReader({ filter: ({ slotType }) => slotType === 'physical' || passes })
    expect((await read(SLOT, LOGICAL_SLOT)).names).toEqual(['s1', 'etl'])
    passes = false
    expect(await read(SLOT, LOGICAL_SLOT)).toMatchObject({ names: ['s1'], removed: ['etl'] })
  })
})

it.each(['filter', 'intermittent'])(
  'the option %s fails the read if it returns something else or throws',
  async (option) => {
    const promising = createReader({ [option]: () => Promise.resolve(true) })
    await expect(promising(IDLE_SLOT)).rejects.toThrow(
      `${option}: expected a function that returns a boolean, got an object`,
    )
    const throwing = () => {
      throw new Error('no such pod')
    }
    await expect(createReader({ [option]: throwing })(IDLE_SLOT)).rejects.toThrow('no such pod')
  },
)

it('an address that reaches different servers is logged, not a server that restarts or moves', async () => {
  const log = recordLog()
  const read = createReader()
  for (const started of ['1', '1', '2', '3', '3']) await read({ ...SLOT, started })
  // It does not remove slots of the server that does not answer.
  expect((await read(...onStandby({ ...NODE, started: '4' }))).removed).toBeUndefined()
  expect(log.messages).toEqual([])
  expect(await read({ ...SLOT, started: '3' })).toMatchObject(S1)
  expect(log.messages).toEqual([matching(/its address reaches different servers in turn/)])
})

const columns = Object.keys(SLOT)
const nodeColumns = columns.slice(0, columns.indexOf('connection'))
const OPTIONAL = [
  ...['started', 'cluster_name', 'own_slot', 'own_application'],
  ...['receives_only', 'wal_status', 'received', 'retained', 'reply'],
]

/** Reads a follower with these values, and another one. Returns what is wrong with a column. */
async function faultOf(values: AnswerRow, column: string): Promise<string | undefined> {
  const ofNode = Object.entries(values).filter(([name]) => nodeColumns.includes(name))
  const other = { ...OTHER, ...Object.fromEntries(ofNode) }
  const reading = createReader()({ ...SLOT, ...values }, other)
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

describe('a column', () => {
  it.each([...columns, 'unknown'])('must be there, unless it is optional: %s', async (column) => {
    const fault = await faultOf({ [column]: undefined }, column)
    if ([...OPTIONAL, 'unknown'].includes(column)) expect(fault).toBeUndefined()
    else expect(fault).toMatch(new RegExp(`(^|: |is left out: )field ${column} is missing$`))
  })

  it.each([
    ['the connection of "s1"', { slot_name: undefined }],
    ['slot "s1"', { connection: undefined }],
  ])('that is missing leaves out %s', async (subject, values) => {
    const { problem } = await createReader()({ ...SLOT, ...values }, OTHER)
    expect(problem).toMatch(new RegExp(`^${subject} is left out: field `))
  })

  const INTEGERS = ['leader', 'timeline', 'restart_timeline', 'applied', 'received', 'retained']
  const NAMES = ['role_name', 'system_identifier', 'connection', 'application_name', 'slot_name']
  it.each<[type: string, columns: string[], invalid: unknown[], valid: unknown[]]>([
    [
      'an unsigned 64-bit integer',
      INTEGERS,
      [
        ...['', '-1', '+1', ' 1', '1 ', '1.0', '1e3', '0x10', '0/1', `${MAX + 1n}`, 'NaN'],
        ...[-1, 1.5, NaN, -1n, MAX + 1n, true, {}, []],
      ],
      ['0', '007', `${MAX}`, 0, 2 ** 53 - 1, MAX],
    ],
    [
      'a string that can be a name',
      NAMES,
      ['', 'x'.repeat(4000), '\ud800', 7, true, Buffer.from('s1')],
      ['x'.repeat(256)],
    ],
    ['not null', ['role_name', 'in_recovery', 'system_identifier', 'restart_timeline'], [null], []],
    [
      'a boolean',
      ['in_recovery', 'connected', 'receives_only'],
      ['', 't', 'f', 'yes', 'TRUE', 1, 0, {}],
      ['true', 'false', true, false],
    ],
  ])('is %s', async (_, typed, invalid, valid) => {
    for (const column of typed) {
      const read = (value: unknown) => faultOf({ leader: `${MAX}`, [column]: value }, column)
      for (const value of invalid) {
        expect(await read(value)).toContain(`field ${column} has an invalid value`)
      }
      for (const value of valid) expect(await read(value)).toBeUndefined()
    }
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

  const long = { ...STANDBY, application_name: 'x'.repeat(1020) }
  const tooLong = /^the connection of a string of 1020 characters .* is left out: field app/
  const odd = { ...SLOT, state: 'flying', slot_type: 'quantum', wal_status: 'unknown' }
  const twice = (subject: string) => ({
    names: ['s1', 's2'],
    problem: `${subject} is left out: it is listed twice`,
  })
  itReads([
    ['leaves out a second row for a slot', [[SLOT, SLOT, OTHER], twice('slot "s1"')]],
    [
      'leaves out a second row for a connection',
      [[STANDBY, STANDBY, OTHER], twice('the connection of "s1"')],
    ],
    [
      'leaves out a connection whose name is too long',
      [[long, OTHER], { names: ['s2'], problem: matching(tooLong) }],
    ],
    ['is read whatever state, type and status its rows have', [[odd], at(900n)]],
  ])

  it('is refused with the privilege that the role needs if it hides the state of a connection', async () => {
    await expect(createReader()({ ...STANDBY, state: null })).rejects.toThrow(
      'the role monitor may not see the positions of followers: GRANT pg_monitor TO monitor',
    )
  })

  it('of any kind makes a valid reading, or an error that names a field or the privilege', async () => {
    const recorded = [NODE, STANDBY, SLOT, IDLE_SLOT, LOGICAL_SLOT, TEMPORARY]
    const texts = ['', 'true', 'false', '0', '1', 's1', 'streaming', '-1', ' 7', 'x'.repeat(4000)]
    const others = [null, undefined, true, 7n, -0.5, `${MAX}`, `${MAX + 1n}`, '\udfff']
    const value = fc.oneof(fc.constantFrom<unknown>(...texts, ...others), fc.anything())
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
