import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { describe, expect, it } from 'vitest'
import type { ReplicationReading } from 'opentelemetry-instrumentation-replication-lag'
import type { PostgresRow } from '../../src/sources/postgres-query.js'

// Answers that a server gives, but not on demand on a test machine: over a Unix socket, in the first moments of a standby.

const NODE: PostgresRow = {
  role_name: 'monitor',
  in_recovery: false,
  leader: '1000',
  system_identifier: '7000000000000000000',
  timeline: 1,
  restart_timeline: 1,
  connection: null,
  state: null,
  application_name: null,
  client_addr: null,
  slot_name: null,
  slot_type: null,
  connected: null,
  lost: null,
  applied: null,
}
const FOLLOWER: PostgresRow = {
  ...NODE,
  connection: '42 2026-01-01',
  state: 'streaming',
  connected: true,
  applied: '900',
}

/** One source, for reading after reading. */
function createSource() {
  let answer: PostgresRow[] = []
  const source = postgresSource({
    client: { query: () => Promise.resolve({ rows: answer }) },
    shard: 'pg',
  })
  return (...rows: PostgresRow[]) => {
    answer = rows
    return source.read(AbortSignal.timeout(10_000))
  }
}

const read = (...rows: PostgresRow[]) => createSource()(...rows)

describe('postgresSource', () => {
  it('calls a follower without slot and application_name by its address', async () => {
    const { shards } = await read({ ...FOLLOWER, client_addr: '10.0.0.7' })
    expect(shards[0]?.followers).toEqual([
      { replica: '10.0.0.7', appliedSeqno: 900n, connected: true },
    ])
  })

  it('calls one that comes over a Unix socket "local"', async () => {
    const { shards } = await read(FOLLOWER, { ...FOLLOWER, connection: '43 2026-01-01' })
    expect(shards[0]?.followers.map(({ replica }) => replica)).toEqual(['local', 'local@local'])
  })

  it('reports nothing of a standby that has no WAL yet, and says so', async () => {
    const reading = await read({ ...NODE, in_recovery: true, leader: null })
    expect(reading).toEqual({
      shards: [],
      note: 'a standby that has neither received nor replayed any WAL yet',
    })
  })

  it('leaves out a connection that tells no position: it receives, and applies nothing', async () => {
    const { shards } = await read({ ...FOLLOWER, applied: null })
    expect(shards[0]?.followers).toEqual([])
  })

  it('goes on measuring a logical slot that is lost from what was confirmed, and tells the problem', async () => {
    const slot = { ...FOLLOWER, slot_name: 'etl', slot_type: 'logical', lost: 'wal_removed' }
    const { shards } = await read({ ...slot, connection: null, state: null, connected: false })
    expect(shards[0]?.followers).toMatchObject([
      {
        replica: 'etl',
        appliedSeqno: 900n,
        connected: false,
        problem: expect.stringContaining('lost: the server has removed WAL') as string,
      },
    ])
  })

  it('tells why a slot is lost where that is not for WAL that was removed', async () => {
    const slot = { slot_name: 'etl', slot_type: 'logical', lost: 'idle_timeout' }
    const { shards } = await read({ ...FOLLOWER, ...slot })
    expect(shards[0]?.followers[0]?.problem).toMatch(
      /etl is lost: .*invalidated it \(idle_timeout\)/,
    )
  })

  it('fails when the answer has no row', async () => {
    await expect(read()).rejects.toThrow('the query returned no row')
  })
})

describe('a physical slot without a connection', () => {
  const slot: PostgresRow = { ...FOLLOWER, slot_name: 's1', slot_type: 'physical' }
  /** What it has received, and holds WAL from. */
  const alone = { ...slot, connection: null, state: null, connected: false, applied: '1000' }
  const appliedOf = ({ shards }: ReplicationReading) => shards[0]?.followers[0]?.appliedSeqno

  it('is measured from what its standby had replayed, not from what it had received', async () => {
    const read = createSource()
    await read(slot)
    expect(appliedOf(await read(alone))).toBe(900n)
    expect(appliedOf(await read(alone))).toBe(900n)
    expect(appliedOf(await read({ ...slot, applied: '950' }))).toBe(950n)
    expect(appliedOf(await read(alone))).toBe(950n)
  })

  it('is measured from what it holds where the standby was never seen, or that is less', async () => {
    const read = createSource()
    expect(appliedOf(await read(alone))).toBe(1000n)
    await read(slot)
    expect(appliedOf(await read({ ...alone, applied: '700' }))).toBe(700n)
  })

  it('is another one once it was away, or its positions are of another history', async () => {
    const read = createSource()
    await read(slot)
    await read(NODE)
    expect(appliedOf(await read(alone))).toBe(1000n)
    await read(slot)
    expect(appliedOf(await read({ ...alone, timeline: 2 }))).toBe(1000n)
  })

  it('of what only receives is no follower, also while nobody is connected', async () => {
    const read = createSource()
    const receiving = { ...slot, applied: null }
    expect((await read(receiving)).shards).toMatchObject([{ followers: [] }])
    expect((await read(alone)).shards).toMatchObject([{ followers: [] }])
  })

  it('turns out to be no follower when what only receives connects, and is removed once', async () => {
    const read = createSource()
    const receiving = { ...slot, applied: null }
    expect((await read(alone)).shards[0]?.followers).toHaveLength(1)
    const [shard] = (await read(receiving)).shards
    expect(shard).toMatchObject({ followers: [], removed: ['s1'] })
    expect((await read(receiving)).shards[0]).not.toHaveProperty('removed')
    expect((await read(alone)).shards).toMatchObject([{ followers: [] }])
    // It is a standby's after all.
    expect((await read(slot)).shards[0]?.followers).toHaveLength(1)
    expect((await read(alone)).shards[0]?.followers).toHaveLength(1)
  })

  it('stays a follower while its standby connects and has told nothing yet', async () => {
    const read = createSource()
    await read(slot)
    const reading = await read({ ...slot, state: 'catchup', applied: null })
    expect(reading.shards[0]).not.toHaveProperty('removed')
    expect(appliedOf(await read(alone))).toBe(900n)
  })
})

describe('the epoch', () => {
  const epochOf = ({ shards }: ReplicationReading) => shards[0]?.epoch
  const standby = { ...NODE, in_recovery: true }

  it('of a standby stays while it receives nothing', async () => {
    const read = createSource()
    expect(epochOf(await read({ ...standby, timeline: 2 }))).toBe('7000000000000000000/2')
    expect(epochOf(await read({ ...standby, timeline: null }))).toBe('7000000000000000000/2')
    expect(epochOf(await read({ ...standby, timeline: 3 }))).toBe('7000000000000000000/3')
  })

  it('of a standby that receives nothing is at first that which it would restart with', async () => {
    const read = createSource()
    expect(epochOf(await read({ ...standby, timeline: null }))).toBe('7000000000000000000/1')
    const other = { ...standby, system_identifier: '8', timeline: null, restart_timeline: 4 }
    expect(epochOf(await read(other))).toBe('8/4')
  })
})
