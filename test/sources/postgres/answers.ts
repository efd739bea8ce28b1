import {
  postgresSource,
  type PostgresSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/postgres'

/** A row of an answer, as text or NULL. Types of the application may make other values of it. */
export type AnswerRow = Readonly<Record<string, unknown>>

/** The answer of a primary of PostgreSQL 18 without followers, as it was recorded. */
export const NODE: AnswerRow = {
  role_name: 'monitor',
  in_recovery: 'false',
  leader: '1000',
  system_identifier: '7712205833477952562',
  timeline: '1',
  restart_timeline: '1',
  started: '1795638037718737',
  cluster_name: null,
  own_slot: null,
  own_application: null,
  connection: null,
  state: null,
  application_name: null,
  client_addr: null,
  slot_name: null,
  slot_type: null,
  connected: null,
  receives_only: null,
  wal_status: null,
  lost: null,
  applied: null,
  received: null,
  retained: null,
  reply: null,
}

/** A standby without a slot. */
export const STANDBY: AnswerRow = {
  ...NODE,
  connection: '19435 1795638043464581',
  state: 'streaming',
  application_name: 's1',
  client_addr: '10.0.0.1',
  slot_type: 'none',
  connected: 'true',
  receives_only: 'false',
  applied: '900',
  received: '950',
  reply: '1795638043706317',
}

/** A standby with a slot. */
export const SLOT: AnswerRow = {
  ...STANDBY,
  slot_name: 's1',
  slot_type: 'physical',
  wal_status: 'reserved',
  retained: '950',
}

/** The same slot without its standby. It shows what the standby has received. */
export const IDLE_SLOT: AnswerRow = {
  ...NODE,
  slot_name: 's1',
  slot_type: 'physical',
  connected: 'false',
  receives_only: 'false',
  wal_status: 'reserved',
  applied: '950',
  retained: '950',
}

/** The same slot before its first use. */
export const UNUSED_SLOT: AnswerRow = {
  ...IDLE_SLOT,
  applied: null,
  retained: null,
  wal_status: null,
}

/** The same slot when it needs WAL that is gone. */
export const LOST_SLOT: AnswerRow = { ...UNUSED_SLOT, wal_status: 'lost', lost: 'wal_removed' }

/** The same slot while its standby connects, and has not reported a position. */
export const CONNECTING: AnswerRow = { ...SLOT, applied: null, received: null, reply: null }

/** The same slot while it is used only to receive WAL. */
export const RECEIVING: AnswerRow = { ...SLOT, applied: null, receives_only: 'true' }

/** A logical slot without a consumer. */
export const LOGICAL_SLOT: AnswerRow = {
  ...IDLE_SLOT,
  slot_name: 'etl',
  slot_type: 'logical',
  applied: '800',
}

/** A consumer that has created a temporary logical slot. */
export const TEMPORARY: AnswerRow = {
  ...STANDBY,
  application_name: 'nightly-export',
  slot_type: 'logical',
  receives_only: 'false',
}

/** Makes rows of a node in recovery. */
export function onStandby(...rows: AnswerRow[]): AnswerRow[] {
  return rows.map((row) => ({ ...row, in_recovery: 'true' }))
}

/** Returns a function that lets one source read one answer after another, and returns its only shard. */
export function createReader(options: Partial<PostgresSourceOptions> = {}) {
  let answer: unknown
  const source = postgresSource({
    client: { query: () => Promise.resolve(answer as { rows: unknown[] }) },
    shard: 'pg',
    ...options,
  })
  return async (...rows: unknown[]) => {
    answer = { rows }
    const reading = await source.read(new AbortController().signal)
    const [shard] = reading.shards
    const { followers = [], removed, problem } = shard ?? {}
    const names = followers.map(({ replica }) => replica)
    return { reading, ...shard, followers, names, first: followers[0], removed, problem }
  }
}
