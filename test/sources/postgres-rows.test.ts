import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { describe, expect, it } from 'vitest'
import type { PostgresRow } from '../../src/sources/postgres-query.js'

// Answers that a server gives, but not on demand on a test machine: over a Unix socket, in the first moments of a standby.

const NODE: PostgresRow = {
  role_name: 'monitor',
  in_recovery: false,
  leader: '1000',
  epoch: '7000000000000000000/1',
  connection: null,
  state: null,
  application_name: null,
  client_addr: null,
  slot_name: null,
  connected: null,
  lost: null,
  applied: null,
}
const FOLLOWER: PostgresRow = {
  ...NODE,
  connection: '42 2026-01-01',
  state: 'streaming',
  connected: true,
  lost: false,
  applied: '900',
}

function read(...rows: PostgresRow[]) {
  const client = { query: () => Promise.resolve({ rows }), connect: () => Promise.resolve() }
  return postgresSource({ client, shard: 'pg' }).read(AbortSignal.timeout(10_000))
}

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
    const lost = { connection: null, state: null, slot_name: 'etl', connected: false, lost: true }
    const { shards } = await read({ ...FOLLOWER, ...lost })
    expect(shards[0]?.followers).toMatchObject([
      {
        replica: 'etl',
        appliedSeqno: 900n,
        connected: false,
        problem: expect.stringContaining('lost') as string,
      },
    ])
  })

  it('fails when the answer has no row', async () => {
    await expect(read()).rejects.toThrow('the query returned no row')
  })
})
