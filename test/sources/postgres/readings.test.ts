import type { ReplicationReading } from 'opentelemetry-instrumentation-replication-lag'
import type { PostgresFollower } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { recordDiag } from '../../support/diag.js'
import {
  createReader,
  followersOf,
  IDLE_SLOT,
  LOGICAL_SLOT,
  namesOf,
  NODE,
  onStandby,
  problemOf,
  SLOT,
  STANDBY,
  TEMPORARY,
} from './answers.js'

// Answers that a real server gives, but not in this order or not when a test wants it to.

const appliedOf = (reading: ReplicationReading) => followersOf(reading)?.[0]?.appliedSeqno

function recordLog() {
  const log = recordDiag()
  onTestFinished(() => log.stop())
  return log
}

describe('a reading', () => {
  it('has the positions of a standby with a slot', async () => {
    expect(await createReader()(SLOT)).toEqual({
      shards: [
        {
          shard: 'pg',
          leaderSeqno: 1000n,
          epoch: '7712205833477952562/1',
          followers: [
            {
              replica: 's1',
              connected: true,
              appliedSeqno: 900n,
              receivedSeqno: 950n,
              retainedSeqno: 950n,
            },
          ],
        },
      ],
    })
  })

  it('says that a primary has no followers', async () => {
    expect(await createReader()(NODE)).toMatchObject({
      shards: [{ followers: [] }],
      note: 'a primary that no follower streams from',
    })
  })

  it('says that a standby has no followers', async () => {
    expect(await createReader()(...onStandby(NODE))).toMatchObject({
      shards: [{ followers: [] }],
      note: 'a standby that no follower streams from: its upstream reports its lag',
    })
  })

  it('names a follower without slot and application_name by its address', async () => {
    expect(namesOf(await createReader()({ ...STANDBY, application_name: null }))).toEqual([
      '10.0.0.1',
    ])
  })

  it('names one that comes through a Unix socket "local"', async () => {
    const socket = { ...STANDBY, application_name: null, client_addr: null }
    const reading = await createReader()(socket, { ...socket, connection: '2 2' })
    expect(namesOf(reading)).toEqual(['local', 'local@local'])
  })

  it('gives a slot its own name, even if a connection has it', async () => {
    const reading = await createReader()(STANDBY, IDLE_SLOT)
    expect(namesOf(reading)).toEqual(['s1@10.0.0.1', 's1'])
  })

  it('leaves out a connection that reports no position', async () => {
    expect(namesOf(await createReader()({ ...STANDBY, applied: null }))).toEqual([])
  })

  it('leaves out a slot that was never used', async () => {
    const reading = await createReader()({
      ...IDLE_SLOT,
      applied: null,
      retained: null,
      wal_status: null,
    })
    expect(namesOf(reading)).toEqual([])
  })
})

describe('a physical slot without a connection', () => {
  it('has the position up to which its standby had replayed, not received', async () => {
    const read = createReader()
    await read(SLOT)
    expect(appliedOf(await read(IDLE_SLOT))).toBe(900n)
    expect(appliedOf(await read(IDLE_SLOT))).toBe(900n)
    expect(appliedOf(await read({ ...SLOT, applied: '940' }))).toBe(940n)
    expect(appliedOf(await read(IDLE_SLOT))).toBe(940n)
  })

  it('has the position that it keeps if its standby was never seen', async () => {
    expect(appliedOf(await createReader()(IDLE_SLOT))).toBe(950n)
  })

  it('has the position that it keeps if that is older', async () => {
    const read = createReader()
    await read(SLOT)
    expect(appliedOf(await read({ ...IDLE_SLOT, applied: '700' }))).toBe(700n)
  })

  it('keeps its position when it is lost', async () => {
    const read = createReader()
    await read(SLOT)
    const lost = {
      ...IDLE_SLOT,
      applied: null,
      retained: null,
      wal_status: 'lost',
      lost: 'wal_removed',
    }
    expect(followersOf(await read(lost))).toEqual([
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
    expect((await read(NODE)).shards).toMatchObject([{ followers: [], removed: ['s1'] }])
    expect((await read(NODE)).shards[0]).not.toHaveProperty('removed')
  })

  it('is removed when it is dropped and created again', async () => {
    const read = createReader()
    await read(SLOT)
    const unused = { ...IDLE_SLOT, applied: null, retained: null, wal_status: null }
    expect((await read(unused)).shards).toMatchObject([{ followers: [], removed: ['s1'] }])
    expect(appliedOf(await read(IDLE_SLOT))).toBe(950n)
  })

  it('is not removed while its standby streams under that name without it', async () => {
    const read = createReader()
    await read(SLOT)
    const [shard] = (await read(STANDBY)).shards
    expect(shard?.followers).toMatchObject([{ replica: 's1', connected: true }])
    expect(shard).not.toHaveProperty('removed')
  })

  it('starts from scratch when the history is another one', async () => {
    const read = createReader()
    await read(SLOT)
    expect(appliedOf(await read({ ...IDLE_SLOT, timeline: '2' }))).toBe(950n)
  })
})

describe('a standby that connects through its slot', () => {
  it('is connected and keeps its position until it reports one', async () => {
    const read = createReader()
    await read(SLOT)
    await read(IDLE_SLOT)
    const connecting = { ...SLOT, applied: null, received: null, reply: null }
    for (const state of ['startup', 'catchup', 'streaming']) {
      expect(followersOf(await read({ ...connecting, state }))).toMatchObject([
        { replica: 's1', connected: true, appliedSeqno: 900n },
      ])
    }
  })

  it('stays in the readings if it was never seen connected', async () => {
    const read = createReader()
    await read(IDLE_SLOT)
    const connecting = { ...SLOT, applied: null, received: null, reply: null }
    expect(followersOf(await read(connecting))).toEqual([
      { replica: 's1', connected: true, retainedSeqno: 950n },
    ])
  })

  it('is not connected while the stream of a base backup uses its slot, and is back after that', async () => {
    const read = createReader()
    await read(SLOT)
    await read(IDLE_SLOT)
    const backup = {
      ...SLOT,
      application_name: 'pg_basebackup',
      applied: null,
      receives_only: 'true',
    }
    const [shard] = (await read(backup)).shards
    expect(shard?.followers).toMatchObject([
      { replica: 's1', connected: false, appliedSeqno: 900n },
    ])
    expect(shard?.followers[0]).not.toHaveProperty('receivedSeqno')
    expect(shard).not.toHaveProperty('removed')
    expect(namesOf(await read(IDLE_SLOT))).toEqual(['s1'])
  })
})

describe('a slot that is used only to receive WAL', () => {
  const receiving = { ...SLOT, applied: null, receives_only: 'true' }

  it('is not a follower, connected or not', async () => {
    const read = createReader()
    expect(namesOf(await read(receiving))).toEqual([])
    expect(namesOf(await read(IDLE_SLOT))).toEqual([])
  })

  it('is removed once if it was taken for a follower', async () => {
    const read = createReader()
    expect(namesOf(await read(IDLE_SLOT))).toEqual(['s1'])
    expect((await read(receiving)).shards).toMatchObject([{ followers: [], removed: ['s1'] }])
    expect((await read(receiving)).shards[0]).not.toHaveProperty('removed')
  })

  it('is a follower from when a standby uses it', async () => {
    const read = createReader()
    await read(receiving)
    expect(namesOf(await read(SLOT))).toEqual(['s1'])
    expect(namesOf(await read(IDLE_SLOT))).toEqual(['s1'])
  })

  it('is a problem of the shard when it is lost, and is not reported', async () => {
    const read = createReader()
    expect(problemOf(await read(receiving))).toBeUndefined()
    const lost = { ...IDLE_SLOT, applied: null, wal_status: 'lost', lost: 'wal_removed' }
    for (let poll = 0; poll < 3; poll++) {
      const [shard] = (await read(lost)).shards
      expect(shard?.followers).toEqual([])
      expect(shard).not.toHaveProperty('removed')
      expect(shard?.problem).toMatch(/^its slot s1 is lost/)
    }
  })

  it('is recognized without the columns that show it', async () => {
    const read = createReader()
    const old = Object.fromEntries(
      Object.entries(receiving).filter(([name]) => name !== 'receives_only'),
    )
    expect(namesOf(await read(old))).toEqual([])
    expect(namesOf(await read(IDLE_SLOT))).toEqual([])
  })
})

describe('a logical slot', () => {
  it('is connected while SQL reads it, without a connection that streams', async () => {
    const reading = await createReader()({ ...LOGICAL_SLOT, connected: 'true' })
    expect(followersOf(reading)).toMatchObject([
      { replica: 'etl', connected: true, appliedSeqno: 800n },
    ])
  })
})

describe('a problem with a slot', () => {
  const slotProblem = async (row: object) =>
    followersOf(await createReader()({ ...IDLE_SLOT, ...row }))?.[0]?.problem

  it.each([
    [
      'extended',
      null,
      'its slot s1 keeps more WAL than max_wal_size: if nothing needs it, drop it',
    ],
    [
      'unreserved',
      null,
      'its slot s1 needs WAL that the server removes at the next checkpoint: it is almost lost',
    ],
    [
      'lost',
      'wal_removed',
      'its slot s1 is lost: the server has removed WAL that it needs. Restore that WAL from an archive, or rebuild the follower',
    ],
    [
      'lost',
      'idle_timeout',
      'its slot s1 is lost: it was not used for idle_replication_slot_timeout. Rebuild the follower, or drop the slot',
    ],
    [
      'lost',
      'rows_removed',
      'its slot s1 is lost: the server has invalidated it (rows_removed). Rebuild the follower',
    ],
  ])('is reported: %s, %s', async (wal_status, lost, problem) => {
    expect(await slotProblem({ wal_status, lost })).toBe(problem)
  })

  it('does not exist while the slot is reserved', async () => {
    expect(await slotProblem({})).toBeUndefined()
  })
})

describe('a position after the end of the WAL', () => {
  it('by one byte is lag 0, because some consumers confirm the byte after the last one', async () => {
    const read = createReader()
    expect(followersOf(await read({ ...LOGICAL_SLOT, applied: '1001' }))).toMatchObject([
      { replica: 'etl', appliedSeqno: 1000n },
    ])
    expect(
      followersOf(await read({ ...STANDBY, applied: '1001', received: '1001' })),
    ).toMatchObject([{ replica: 's1', appliedSeqno: 1000n, receivedSeqno: 1000n }])
  })

  it.each([
    ['a logical slot', { ...LOGICAL_SLOT, applied: '1002' }, 'etl'],
    ['a standby', { ...STANDBY, applied: '1002' }, 's1'],
  ])('by more has no lag and diverges: %s', async (_, row, replica) => {
    const [follower] = followersOf(await createReader()(row)) ?? []
    expect(follower).toMatchObject({
      replica,
      diverged: true,
      problem: expect.stringContaining('2 bytes after the end of the WAL') as string,
    })
    expect(follower).not.toHaveProperty('appliedSeqno')
    expect(follower).not.toHaveProperty('receivedSeqno')
  })

  it('is over when the WAL has grown', async () => {
    const read = createReader()
    const ahead = { ...LOGICAL_SLOT, applied: '1500' }
    expect(followersOf(await read(ahead))).toMatchObject([{ diverged: true }])
    const [follower] = followersOf(await read({ ...ahead, leader: '1600' })) ?? []
    expect(follower).toMatchObject({ appliedSeqno: 1500n })
    expect(follower).not.toHaveProperty('diverged')
  })
})

describe('a logical slot that is being created', () => {
  it('has no lag, and shows what it keeps and what it waits for', async () => {
    const creating = { ...LOGICAL_SLOT, connected: 'true', applied: null, retained: '700' }
    expect(followersOf(await createReader()(creating))).toEqual([
      {
        replica: 'etl',
        connected: true,
        retainedSeqno: 700n,
        problem: expect.stringMatching(/^its slot etl is being created: that waits for/) as string,
      },
    ])
  })
})

describe('a follower without a permanent slot', () => {
  it('has disconnected when it is a standby and no longer there', async () => {
    const read = createReader()
    await read(STANDBY)
    expect((await read(NODE)).shards).toEqual([expect.not.objectContaining({ removed: ['s1'] })])
  })

  it('has disconnected when it is a standby with a temporary slot', async () => {
    const read = createReader()
    await read({ ...STANDBY, slot_type: 'physical' })
    expect((await read(NODE)).shards[0]).not.toHaveProperty('removed')
  })

  it('is removed when it is a consumer with a temporary slot and no longer there', async () => {
    const read = createReader()
    expect(namesOf(await read(TEMPORARY))).toEqual(['nightly-export'])
    expect((await read(NODE)).shards).toMatchObject([
      { followers: [], removed: ['nightly-export'] },
    ])
  })
})

describe('a node in recovery', () => {
  it('is a cascading leader', async () => {
    const read = createReader()
    expect((await read(...onStandby(STANDBY))).shards).toMatchObject([{ cascading: true }])
    expect((await read(STANDBY)).shards[0]).not.toHaveProperty('cascading')
  })

  it('compares a consumer that is ahead as a primary does', async () => {
    const ahead = { ...LOGICAL_SLOT, applied: '5000' }
    expect(followersOf(await createReader()(...onStandby(STANDBY, ahead)))).toMatchObject([
      { replica: 's1', appliedSeqno: 900n },
      { replica: 'etl', diverged: true },
    ])
  })

  it('does not report slots without a connection', async () => {
    expect(namesOf(await createReader()(...onStandby(IDLE_SLOT)))).toEqual([])
  })

  it('lets a follower disconnect whose slot still exists, and removes it when that is dropped', async () => {
    const read = createReader()
    expect(namesOf(await read(...onStandby(SLOT)))).toEqual(['s1'])
    for (let poll = 0; poll < 2; poll++) {
      const [shard] = (await read(...onStandby(IDLE_SLOT))).shards
      expect(shard?.followers).toEqual([])
      expect(shard).not.toHaveProperty('removed')
    }
    expect((await read(...onStandby(NODE))).shards).toMatchObject([{ removed: ['s1'] }])
  })

  it('reports logical slots without a connection', async () => {
    expect(namesOf(await createReader()(...onStandby(LOGICAL_SLOT)))).toEqual(['etl'])
  })

  it('forgets what it had as a primary', async () => {
    const read = createReader()
    await read(SLOT)
    const [shard] = (await read(...onStandby({ ...IDLE_SLOT, timeline: '2' }))).shards
    expect(shard?.followers).toEqual([])
    expect(shard).not.toHaveProperty('removed')
  })

  it.each([
    ['is unknown', { leader: null }],
    ['is behind that of its follower', { leader: '500' }],
  ])('compares nothing with its newest position while that %s', async (_, node) => {
    const read = createReader()
    const unknown = onStandby({ ...STANDBY, ...node })
    const reading = {
      shards: [{ shard: 'pg', followers: [{ replica: 's1', connected: true }], cascading: true }],
      note: 'a standby whose newest position is not known at the moment',
    }
    expect(await read(...unknown)).toEqual(reading)
    expect(appliedOf(await read(...onStandby(STANDBY)))).toBe(900n)
    expect(await read(...unknown)).toEqual(reading)
    expect(appliedOf(await read(...onStandby({ ...STANDBY, leader: '2000' })))).toBe(900n)
  })
})

describe('the epoch', () => {
  const epochOf = ({ shards }: ReplicationReading) => shards[0]?.epoch?.split('/')[1]
  const standby = { ...NODE, in_recovery: 'true' }

  it('of a standby stays while it receives nothing', async () => {
    const read = createReader()
    expect(epochOf(await read({ ...standby, timeline: '2' }))).toBe('2')
    expect(epochOf(await read({ ...standby, timeline: null }))).toBe('2')
    expect(epochOf(await read({ ...standby, timeline: '3' }))).toBe('3')
  })

  it('of a standby that never received anything is the one that it would start with', async () => {
    const read = createReader()
    expect(epochOf(await read({ ...standby, timeline: null }))).toBe('1')
    expect(epochOf(await read({ ...standby, timeline: null, restart_timeline: '4' }))).toBe('4')
  })

  it('of a primary changes when its position falls, because it was restored', async () => {
    const read = createReader()
    const idle = { ...IDLE_SLOT, applied: '100', retained: '100' }
    const epochs = []
    for (const leader of ['1000', '2000', '500', '900', '400']) {
      epochs.push((await read({ ...idle, leader })).shards[0]?.epoch)
    }
    const [first, second, third, fourth, fifth] = epochs
    expect(first).toBe('7712205833477952562/1')
    expect(second).toBe(first)
    expect(third).not.toBe(first)
    expect(fourth).toBe(third)
    expect([first, third]).not.toContain(fifth)
  })

  it('of a primary stays while its position is unknown', async () => {
    const read = createReader()
    const epochs = []
    for (const leader of ['1000', null, '1100']) {
      epochs.push((await read({ ...IDLE_SLOT, applied: '100', leader })).shards[0]?.epoch)
    }
    expect(epochs[2]).toBe(epochs[0])
  })

  it('of another cluster is another one', async () => {
    const read = createReader()
    await read({ ...standby, timeline: '5' })
    const reading = await read({ ...standby, system_identifier: '8', timeline: null })
    expect(reading.shards[0]?.epoch).toBe('8/1')
  })
})

describe('the option expect', () => {
  const read = createReader({ expect: ['s1', 's2', 7] as string[] })

  it('reports names that are missing as not connected, without a lag', async () => {
    expect(followersOf(await read(NODE))).toEqual([
      { replica: 's1', connected: false },
      { replica: 's2', connected: false },
      { replica: '7', connected: false },
    ])
  })

  it('adds nothing to a follower that is there', async () => {
    expect(namesOf(await read(STANDBY))).toEqual(['s1', 's2', '7'])
    expect(namesOf(await read(SLOT))).toEqual(['s1', 's2', '7'])
  })

  it('adds nothing to one that is connected and not reported', async () => {
    const receiving = { ...SLOT, applied: null, receives_only: 'true' }
    expect(namesOf(await createReader({ expect: ['s1'] })(receiving))).toEqual([])
    expect(namesOf(await createReader({ expect: ['s1'], filter: () => false })(SLOT))).toEqual([])
  })

  it('lets a dropped slot be removed before it reports it as missing', async () => {
    await read(SLOT)
    expect((await read(NODE)).shards).toMatchObject([{ removed: ['s1'] }])
    expect(namesOf(await read(NODE))).toEqual(['s1', 's2', '7'])
  })

  it.each([
    ['its slot', { own_slot: 's1', timeline: '2' }],
    ['its application_name', { own_application: 's1', timeline: '2' }],
    ['its cluster_name', { cluster_name: 's1' }],
  ])('does not expect the node itself, by the name of %s', async (_, own) => {
    expect(namesOf(await read({ ...NODE, ...own }))).toEqual(['s2', '7'])
  })

  it('expects a standby that has the settings of a primary which was never a standby', async () => {
    const own = { own_slot: 's1', own_application: 's1' }
    expect(namesOf(await read({ ...NODE, ...own }))).toEqual(['s1', 's2', '7'])
  })

  it('reports nothing on a standby without connections', async () => {
    expect(namesOf(await read(...onStandby(NODE)))).toEqual([])
    expect(namesOf(await read(...onStandby(STANDBY)))).toEqual(['s1', 's2', '7'])
  })
})

describe('the option filter', () => {
  it('gets what is known of each follower', async () => {
    const seen: unknown[] = []
    const read = createReader({ filter: (follower) => seen.push(follower) > 0 })
    await read(SLOT, { ...TEMPORARY, connection: '2 2' }, LOGICAL_SLOT)
    expect(seen).toEqual([
      {
        replica: 's1',
        slotName: 's1',
        slotType: 'physical',
        applicationName: 's1',
        address: '10.0.0.1',
      },
      {
        replica: 'nightly-export',
        slotName: undefined,
        slotType: 'logical',
        applicationName: 'nightly-export',
        address: '10.0.0.1',
      },
      {
        replica: 'etl',
        slotName: 'etl',
        slotType: 'logical',
        applicationName: undefined,
        address: undefined,
      },
    ])
  })

  it('leaves out those that it returns false for', async () => {
    const read = createReader({ filter: ({ slotType }) => slotType !== 'logical' })
    expect(namesOf(await read(SLOT, LOGICAL_SLOT))).toEqual(['s1'])
  })

  it('removes a follower that it returned true for before', async () => {
    let passes = true
    const read = createReader({ filter: () => passes })
    await read(STANDBY)
    passes = false
    expect((await read(STANDBY)).shards).toMatchObject([{ followers: [], removed: ['s1'] }])
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
    const read = createReader({ intermittent })
    expect(followersOf(await read(LOGICAL_SLOT, IDLE_SLOT))).toMatchObject([
      { replica: 'etl', connected: true, appliedSeqno: 800n, retainedSeqno: 950n },
      { replica: 's1', connected: false },
    ])
    expect(intermittent).toHaveBeenCalledWith(
      expect.objectContaining({ replica: 'etl', slotType: 'logical' }),
    )
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
      await read(...other)
    }
    expect(log.messages).toEqual([
      expect.stringMatching(/warn: .*source "any": its address reaches different servers in turn/),
    ])
  })

  it('does not remove slots of the server that does not answer', async () => {
    const read = createReader()
    await read(SLOT)
    expect((await read(...onStandby(NODE))).shards[0]).not.toHaveProperty('removed')
    expect(namesOf(await read(SLOT))).toEqual(['s1'])
  })

  it('is not logged for a server that restarts or moves', async () => {
    const log = recordLog()
    const read = createReader()
    for (const started of ['1', '1', '2', '3', '3']) await read({ ...NODE, started })
    expect(log.messages).toEqual([])
  })
})

describe('a standby that reconnects while the server waits for its old connection', () => {
  const old = STANDBY
  const current = { ...STANDBY, connection: '2 2', applied: '990', reply: '8' }

  it('keeps its name, and the old connection is not reported', async () => {
    const read = createReader()
    await read(old)
    for (let poll = 0; poll < 3; poll++) {
      expect(followersOf(await read(old, current))).toMatchObject([
        { replica: 's1', appliedSeqno: 990n },
      ])
    }
    const [shard] = (await read(current)).shards
    expect(shard?.followers).toMatchObject([{ replica: 's1', connected: true }])
    expect(shard).not.toHaveProperty('removed')
  })
})
