import type { PostgresFollower } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { describe, expect, it, vi } from 'vitest'
import { recordLog } from '../../support/postgres-monitor.js'
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
} from './answers.js'

// Answers that a real server gives, but not in this order or not when a test wants it to.

describe('a reading', () => {
  it('has the positions of a standby with a slot', async () => {
    const { reading } = await createReader()(SLOT)
    const standby = {
      replica: 's1',
      connected: true,
      appliedSeqno: 900n,
      receivedSeqno: 950n,
      retainedSeqno: 950n,
    }
    expect(reading).toEqual({
      shards: [
        { shard: 'pg', leaderSeqno: 1000n, epoch: '7712205833477952562/1', followers: [standby] },
      ],
    })
  })

  it.each([
    ['primary', 'false', 'a primary that no follower streams from'],
    ['standby', 'true', 'a standby that no follower streams from: its upstream reports its lag'],
  ])('says that a %s has no followers', async (_, in_recovery, note) => {
    const { reading, names } = await createReader()({ ...NODE, in_recovery })
    expect({ names, note: reading.note }).toEqual({ names: [], note })
  })

  const unnamed = { ...STANDBY, application_name: null }
  const local = { ...unnamed, client_addr: null }
  it.each([
    ['names a follower without slot and application_name by its address', [unnamed], ['10.0.0.1']],
    [
      'names those that come through a Unix socket "local"',
      [local, { ...local, connection: '2 2' }],
      ['local', 'local@local'],
    ],
    [
      'gives a slot its own name, even if a connection has it',
      [STANDBY, IDLE_SLOT],
      ['s1@10.0.0.1', 's1'],
    ],
    ['leaves out a connection that reports no position', [{ ...STANDBY, applied: null }], []],
    ['leaves out a slot that was never used', [UNUSED_SLOT], []],
  ])('%s', async (_, rows, expected) => {
    expect((await createReader()(...rows)).names).toEqual(expected)
  })
})

describe('a physical slot without a connection', () => {
  it('has the position up to which its standby had replayed, not received', async () => {
    const read = createReader()
    const appliedAt = async (row: object) => (await read(row)).first?.appliedSeqno
    await read(SLOT)
    expect(await appliedAt(IDLE_SLOT)).toBe(900n)
    expect(await appliedAt(IDLE_SLOT)).toBe(900n)
    expect(await appliedAt({ ...SLOT, applied: '940' })).toBe(940n)
    expect(await appliedAt(IDLE_SLOT)).toBe(940n)
    // The slot keeps an older position.
    expect(await appliedAt({ ...IDLE_SLOT, applied: '700' })).toBe(700n)
  })

  it('has the position that it keeps if its standby was never seen', async () => {
    expect((await createReader()(IDLE_SLOT)).first).toMatchObject({ appliedSeqno: 950n })
  })

  it('keeps its position when it is lost', async () => {
    const read = createReader()
    await read(SLOT)
    expect((await read(LOST_SLOT)).followers).toEqual([
      {
        replica: 's1',
        connected: false,
        appliedSeqno: 900n,
        problem: expect.stringMatching(/^its slot s1 is lost: .* removed WAL/) as string,
      },
    ])
  })

  it('is removed at the next reading when it is dropped', async () => {
    const read = createReader()
    await read(SLOT)
    await read(IDLE_SLOT)
    expect(await read(NODE)).toMatchObject({ names: [], removed: ['s1'] })
    expect((await read(NODE)).removed).toBeUndefined()
  })

  it('is removed when it is dropped and created again', async () => {
    const read = createReader()
    await read(SLOT)
    expect(await read(UNUSED_SLOT)).toMatchObject({ names: [], removed: ['s1'] })
    expect((await read(IDLE_SLOT)).first).toMatchObject({ appliedSeqno: 950n })
  })

  it('is not removed while its standby streams under that name without it', async () => {
    const read = createReader()
    await read(SLOT)
    const { first, removed } = await read(STANDBY)
    expect(first).toMatchObject({ replica: 's1', connected: true })
    expect(removed).toBeUndefined()
  })

  it('starts from scratch when the history is another one', async () => {
    const read = createReader()
    await read(SLOT)
    const { first } = await read({ ...IDLE_SLOT, timeline: '2' })
    expect(first).toMatchObject({ appliedSeqno: 950n })
  })
})

describe('a standby that connects through its slot', () => {
  it('is connected and keeps its position until it reports one', async () => {
    const read = createReader()
    await read(SLOT)
    await read(IDLE_SLOT)
    const expected = { replica: 's1', connected: true, appliedSeqno: 900n }
    for (const state of ['startup', 'catchup', 'streaming'])
      expect((await read({ ...CONNECTING, state })).first).toMatchObject(expected)
  })

  it('is no second follower while it has left a timeline and not begun the next one', async () => {
    const between = { ...STANDBY, state: 'startup' }
    const read = createReader()
    expect(await read(IDLE_SLOT, between)).toMatchObject({ names: ['s1'] })
    await read(SLOT)
    expect(await read(IDLE_SLOT, between)).toMatchObject({ names: ['s1'] })
    const readOther = createReader()
    await readOther(STANDBY)
    expect((await readOther(between)).first).toMatchObject({ replica: 's1', connected: true })
  })

  it('stays in the readings if it was never seen connected', async () => {
    const read = createReader()
    await read(IDLE_SLOT)
    const expected = { replica: 's1', connected: true, retainedSeqno: 950n }
    expect((await read(CONNECTING)).followers).toEqual([expected])
  })

  it('is not connected while the stream of a base backup uses its slot, and is back after that', async () => {
    const read = createReader()
    await read(SLOT)
    await read(IDLE_SLOT)
    const { first, removed } = await read({ ...RECEIVING, application_name: 'pg_basebackup' })
    expect(first).toMatchObject({ replica: 's1', connected: false, appliedSeqno: 900n })
    expect(first).not.toHaveProperty('receivedSeqno')
    expect(removed).toBeUndefined()
    expect((await read(IDLE_SLOT)).names).toEqual(['s1'])
  })
})

describe('a slot that is used only to receive WAL', () => {
  it('is no follower, connected or not, until a standby uses it', async () => {
    const read = createReader()
    for (const row of [RECEIVING, IDLE_SLOT]) expect((await read(row)).names).toEqual([])
    for (const row of [SLOT, IDLE_SLOT]) expect((await read(row)).names).toEqual(['s1'])
  })

  it('is removed once if it was taken for a follower', async () => {
    const read = createReader()
    expect((await read(IDLE_SLOT)).names).toEqual(['s1'])
    expect(await read(RECEIVING)).toMatchObject({ names: [], removed: ['s1'] })
    expect((await read(RECEIVING)).removed).toBeUndefined()
  })

  it('is a problem of the shard when it is lost, and is not reported', async () => {
    const read = createReader()
    expect((await read(RECEIVING)).problem).toBeUndefined()
    for (let poll = 0; poll < 3; poll++) {
      const { names, removed, problem } = await read(LOST_SLOT)
      expect({ names, removed }).toEqual({ names: [], removed: undefined })
      expect(problem).toMatch(/^its slot s1 is lost/)
    }
  })

  it('is recognized without the columns that show it', async () => {
    const read = createReader()
    const old = { ...RECEIVING, receives_only: undefined }
    for (const row of [old, IDLE_SLOT]) expect((await read(row)).names).toEqual([])
  })
})

describe('a logical slot', () => {
  it('is connected while SQL reads it, without a connection that streams', async () => {
    const { first } = await createReader()({ ...LOGICAL_SLOT, connected: 'true' })
    expect(first).toMatchObject({ replica: 'etl', connected: true, appliedSeqno: 800n })
  })

  it('has no lag while it is being created, and shows what it keeps and what it waits for', async () => {
    const creating = { ...LOGICAL_SLOT, connected: 'true', applied: null, retained: '700' }
    expect((await createReader()(creating)).followers).toEqual([
      {
        replica: 'etl',
        connected: true,
        retainedSeqno: 700n,
        problem: expect.stringMatching(/^its slot etl is being created: that waits for/) as string,
      },
    ])
  })
})

it.each([
  ['reserved', null, undefined],
  ['extended', null, 'keeps more WAL than max_wal_size: if nothing needs it, drop it'],
  [
    'unreserved',
    null,
    'needs WAL that the server removes at the next checkpoint: it is almost lost',
  ],
  [
    'lost',
    'wal_removed',
    'is lost: the server has removed WAL that it needs. Restore that WAL from an archive, or rebuild the follower',
  ],
  [
    'lost',
    'idle_timeout',
    'is lost: it was not used for idle_replication_slot_timeout. Rebuild the follower, or drop the slot',
  ],
  [
    'lost',
    'rows_removed',
    'is lost: the server has invalidated it (rows_removed). Rebuild the follower',
  ],
])('the problem of a slot is reported: %s, %s', async (wal_status, lost, problem) => {
  const { first } = await createReader()({ ...IDLE_SLOT, wal_status, lost })
  expect(first?.problem).toBe(problem && `its slot s1 ${problem}`)
})

describe('a position after the end of the WAL', () => {
  it('by one byte is lag 0, because some consumers confirm the byte after the last one', async () => {
    const read = createReader()
    const { first: consumer } = await read({ ...LOGICAL_SLOT, applied: '1001' })
    expect(consumer).toMatchObject({ replica: 'etl', appliedSeqno: 1000n })
    const { first: standby } = await read({ ...STANDBY, applied: '1001', received: '1001' })
    expect(standby).toMatchObject({ appliedSeqno: 1000n, receivedSeqno: 1000n })
  })

  it.each([
    ['a logical slot', { ...LOGICAL_SLOT, applied: '1002' }, 'etl'],
    ['a standby', { ...STANDBY, applied: '1002' }, 's1'],
  ])('by more has no lag and diverges: %s', async (_, row, replica) => {
    const { first } = await createReader()(row)
    expect(first).toMatchObject({
      replica,
      diverged: true,
      problem: expect.stringContaining('2 bytes after the end of the WAL') as string,
    })
    expect(first).not.toHaveProperty('appliedSeqno')
    expect(first).not.toHaveProperty('receivedSeqno')
  })

  it('is over when the WAL has grown', async () => {
    const read = createReader()
    const ahead = { ...LOGICAL_SLOT, applied: '1500' }
    expect((await read(ahead)).first).toMatchObject({ diverged: true })
    const { first } = await read({ ...ahead, leader: '1600' })
    expect(first).toMatchObject({ appliedSeqno: 1500n })
    expect(first).not.toHaveProperty('diverged')
  })
})

describe('a follower without a permanent slot', () => {
  it.each([
    ['has disconnected when it is a standby', STANDBY, undefined],
    [
      'has disconnected when it is a standby with a temporary slot',
      { ...STANDBY, slot_type: 'physical' },
      undefined,
    ],
    ['is removed when it is a consumer with a temporary slot', TEMPORARY, ['nightly-export']],
  ])('%s and is no longer there', async (_, row, expected) => {
    const read = createReader()
    expect((await read(row)).names).toEqual([row['application_name']])
    const { names, removed } = await read(NODE)
    expect({ names, removed }).toEqual({ names: [], removed: expected })
  })
})

describe('a node in recovery', () => {
  it('is a cascading leader', async () => {
    const read = createReader()
    expect(await read(...onStandby(STANDBY))).toHaveProperty('cascading', true)
    expect(await read(STANDBY)).not.toHaveProperty('cascading')
  })

  it('compares a consumer that is ahead as a primary does', async () => {
    const ahead = { ...LOGICAL_SLOT, applied: '5000' }
    expect((await createReader()(...onStandby(STANDBY, ahead))).followers).toMatchObject([
      { replica: 's1', appliedSeqno: 900n },
      { replica: 'etl', diverged: true },
    ])
  })

  it('reports logical slots without a connection, and no physical ones', async () => {
    const { names } = await createReader()(...onStandby(IDLE_SLOT, LOGICAL_SLOT))
    expect(names).toEqual(['etl'])
  })

  it('lets a follower disconnect whose slot still exists, and removes it when that is dropped', async () => {
    const read = createReader()
    expect((await read(...onStandby(SLOT))).names).toEqual(['s1'])
    for (let poll = 0; poll < 2; poll++) {
      const { names, removed } = await read(...onStandby(IDLE_SLOT))
      expect({ names, removed }).toEqual({ names: [], removed: undefined })
    }
    expect(await read(...onStandby(NODE))).toMatchObject({ removed: ['s1'] })
  })

  it('forgets what it had as a primary', async () => {
    const read = createReader()
    await read(SLOT)
    const { names, removed } = await read(...onStandby({ ...IDLE_SLOT, timeline: '2' }))
    expect({ names, removed }).toEqual({ names: [], removed: undefined })
  })

  it.each([
    ['is unknown', { leader: null }],
    ['is behind that of its follower', { leader: '500' }],
  ])('compares nothing with its newest position while that %s', async (_, node) => {
    const read = createReader()
    const unknown = onStandby({ ...STANDBY, ...node })
    const known = onStandby({ ...STANDBY, leader: '2000' })
    for (let poll = 0; poll < 2; poll++) {
      expect((await read(...unknown)).reading).toEqual({
        shards: [{ shard: 'pg', followers: [{ replica: 's1', connected: true }], cascading: true }],
        note: 'a standby whose newest position is not known at the moment',
      })
      expect((await read(...known)).first).toMatchObject({ appliedSeqno: 900n })
    }
  })
})

describe('the epoch', () => {
  const standby = { ...NODE, in_recovery: 'true' }

  it.each([
    ['stays while it receives nothing', ['2', null, '3'], '1', ['2', '2', '3']],
    ['is the one that it would start with if it never received anything', [null], '4', ['4']],
  ])('of a standby %s', async (_, timelines, restart_timeline, expected) => {
    const read = createReader()
    const epochs = []
    for (const timeline of timelines)
      epochs.push((await read({ ...standby, restart_timeline, timeline })).epoch?.split('/')[1])
    expect(epochs).toEqual(expected)
  })

  it('of a primary changes when its position falls, because it was restored', async () => {
    const read = createReader()
    const idle = { ...IDLE_SLOT, applied: '100', retained: '100' }
    const epochs = []
    for (const leader of ['1000', '2000', '500', '900', '400'])
      epochs.push((await read({ ...idle, leader })).epoch)
    const history = '7712205833477952562/1'
    expect(epochs).toEqual([history, history, `${history}/1`, `${history}/1`, `${history}/2`])
  })

  it('of a primary stays while its position is unknown', async () => {
    const read = createReader()
    const epochs = []
    for (const leader of ['1000', null, '1100']) {
      epochs.push((await read({ ...IDLE_SLOT, applied: '100', leader })).epoch)
    }
    expect(epochs[2]).toBe(epochs[0])
  })

  it('of another cluster is another one', async () => {
    const read = createReader()
    await read({ ...standby, timeline: '5' })
    const { epoch } = await read({ ...standby, system_identifier: '8', timeline: null })
    expect(epoch).toBe('8/1')
  })
})

describe('the option expect', () => {
  const EXPECTED = ['s1', 's2', '7']
  const read = createReader({ expect: ['s1', 's2', 7] as string[] })

  it('reports names that are missing as not connected, without a lag', async () => {
    const missing = EXPECTED.map((replica) => ({ replica, connected: false }))
    expect((await read(NODE)).followers).toEqual(missing)
  })

  it('adds nothing to a follower that is there', async () => {
    for (const row of [STANDBY, SLOT]) expect((await read(row)).names).toEqual(EXPECTED)
  })

  it('adds nothing to one that is connected and not reported', async () => {
    const expected = { expect: ['s1'] }
    expect((await createReader(expected)(RECEIVING)).names).toEqual([])
    expect((await createReader({ ...expected, filter: () => false })(SLOT)).names).toEqual([])
  })

  it('lets a dropped slot be removed before it reports it as missing', async () => {
    await read(SLOT)
    expect(await read(NODE)).toMatchObject({ removed: ['s1'] })
    expect((await read(NODE)).names).toEqual(EXPECTED)
  })

  it.each([
    ['its slot', { own_slot: 's1', timeline: '2' }],
    ['its application_name', { own_application: 's1', timeline: '2' }],
    ['its cluster_name', { cluster_name: 's1' }],
  ])('does not expect the node itself, by the name of %s', async (_, own) => {
    expect((await read({ ...NODE, ...own })).names).toEqual(['s2', '7'])
  })

  it('expects a standby that has the settings of a primary which was never a standby', async () => {
    const own = { own_slot: 's1', own_application: 's1' }
    expect((await read({ ...NODE, ...own })).names).toEqual(EXPECTED)
  })

  it('reports nothing on a standby without connections', async () => {
    expect((await read(...onStandby(NODE))).names).toEqual([])
    expect((await read(...onStandby(STANDBY))).names).toEqual(EXPECTED)
  })
})

describe('the option filter', () => {
  it('gets what is known of each follower', async () => {
    const filter = vi.fn<(follower: PostgresFollower) => boolean>(() => true)
    await createReader({ filter })(SLOT, { ...TEMPORARY, connection: '2 2' }, LOGICAL_SLOT)
    const standby = { applicationName: 's1', address: '10.0.0.1' }
    expect(filter.mock.calls.flat()).toEqual([
      { replica: 's1', slotName: 's1', slotType: 'physical', ...standby },
      {
        ...standby,
        replica: 'nightly-export',
        slotType: 'logical',
        applicationName: 'nightly-export',
      },
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

  it('fails the read if it returns something else or throws', async () => {
    const filter = (() => Promise.resolve(true)) as unknown as () => boolean
    await expect(createReader({ filter })(STANDBY)).rejects.toThrow(
      'filter: expected a function that returns a boolean, got an object',
    )
    const throwing = () => {
      throw new Error('no such pod')
    }
    await expect(createReader({ filter: throwing })(STANDBY)).rejects.toThrow('no such pod')
  })
})

describe('the option intermittent', () => {
  it('lets a follower count as connected while it is away, and keeps what it retains', async () => {
    const intermittent = vi.fn(({ slotName }: PostgresFollower) => slotName === 'etl')
    const { followers } = await createReader({ intermittent })(LOGICAL_SLOT, IDLE_SLOT)
    expect(followers).toMatchObject([
      { replica: 'etl', connected: true, appliedSeqno: 800n, retainedSeqno: 950n },
      { replica: 's1', connected: false },
    ])
    const seen = expect.objectContaining({ replica: 'etl', slotType: 'logical' }) as unknown
    expect(intermittent).toHaveBeenCalledWith(seen)
  })

  it('fails the read if it returns something else', async () => {
    const intermittent = (() => 'etl') as unknown as () => boolean
    await expect(createReader({ intermittent })(IDLE_SLOT)).rejects.toThrow(
      'intermittent: expected a function that returns a boolean, got "etl"',
    )
  })
})

describe('an address that reaches different servers', () => {
  it('is logged once, when one of them can be read again', async () => {
    const log = recordLog()
    const read = createReader({ name: 'any' })
    const other = onStandby({ ...NODE, started: '5' })
    for (let poll = 0; poll < 3; poll++) {
      await read(SLOT)
      // It does not remove slots of the server that does not answer.
      expect((await read(...other)).removed).toBeUndefined()
    }
    expect((await read(SLOT)).names).toEqual(['s1'])
    expect(log.messages).toEqual([
      expect.stringMatching(/warn: .*source "any": its address reaches different servers in turn/),
    ])
  })

  it('is not logged for a server that restarts or moves', async () => {
    const log = recordLog()
    const read = createReader()
    for (const started of ['1', '1', '2', '3', '3']) await read({ ...NODE, started })
    expect(log.messages).toEqual([])
  })
})

it('a standby that reconnects before its old connection ends keeps its name, and is reported once', async () => {
  const read = createReader()
  const current = { ...STANDBY, connection: '2 2', applied: '990', reply: '8' }
  await read(STANDBY)
  const expected = [expect.objectContaining({ replica: 's1', appliedSeqno: 990n })]
  for (const rows of [[STANDBY, current], [STANDBY, current], [current]]) {
    const { followers, removed } = await read(...rows)
    expect(followers).toEqual(expected)
    expect(removed).toBeUndefined()
  }
})
