import { Pool } from 'pg'
import {
  ReplicationLagInstrumentation,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'

// Configuration that cannot work does not compile. Checked by types.test.ts, once with each line of the SDK; never run.

const client = new Pool()

export const refused = () => [
  // @ts-expect-error an unknown option
  new ReplicationLagInstrumentation({ interval: 5000 }),
  // @ts-expect-error a number of milliseconds
  new ReplicationLagInstrumentation({ pollIntervalMillis: '5s' }),
  // @ts-expect-error a list of sources
  new ReplicationLagInstrumentation({ sources: postgresSource({ client, shard: 1 }) }),
  // @ts-expect-error the lag map, not a shard
  new ReplicationLagInstrumentation({ gauge: '7' }),
  // @ts-expect-error a name for the shard
  postgresSource({ client }),
  // @ts-expect-error a client that is made by the caller
  postgresSource({ client: 'postgres://localhost', shard: 1 }),
  // @ts-expect-error an option of the instrumentation
  postgresSource({ client, shard: 1, pollIntervalMillis: 1000 }),
]

export function refusedProvider(instrumentation: ReplicationLagInstrumentation): void {
  // @ts-expect-error a provider, not a reader
  instrumentation.setMeterProvider({ collect: () => [] })
}

/** A source without a name. */
// @ts-expect-error it is told apart by its name
export const nameless: ReplicationSource = { read: () => Promise.resolve({ shards: [] }) }

/** A source that reads at once. */
export const synchronous: ReplicationSource = {
  name: 'synchronous',
  // @ts-expect-error a promise, so that it can have a deadline
  read: () => ({ shards: [] }),
}

/** A source that leaves out the leader. */
export const leaderless: ReplicationSource = {
  name: 'leaderless',
  // @ts-expect-error a leader seqno
  read: () => Promise.resolve({ shards: [{ shard: 1, followers: [] }] }),
}
