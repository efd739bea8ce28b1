import { Pool } from 'pg'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  ReplicationPoller,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'

// Invalid configuration does not compile. Checked with each SDK version, by `npm run check` and types.slow.test.ts. It never runs.

const client = new Pool()
const gauge = new ReplicationLagGauge()

export const refused = () => [
  // @ts-expect-error an option that does not exist
  new ReplicationLagInstrumentation({ interval: 5000 }),
  // @ts-expect-error a number of milliseconds
  new ReplicationLagInstrumentation({ pollIntervalMillis: '5s' }),
  // @ts-expect-error a list of sources
  new ReplicationLagInstrumentation({ sources: postgresSource({ client, shard: 1 }) }),
  // @ts-expect-error the lag map, not a shard
  new ReplicationLagInstrumentation({ gauge: '7' }),
  // @ts-expect-error options with the lag map, not the lag map
  new ReplicationLagInstrumentation(gauge),
  // @ts-expect-error options with the lag map, not the lag map
  new ReplicationLagMetricProducer(gauge),
  // @ts-expect-error an option of the instrumentation only
  new ReplicationLagMetricProducer({ gauge, enabled: false }),
  // @ts-expect-error a poller needs a lag map
  new ReplicationPoller({ sources: [] }),
  // @ts-expect-error an option of the attachments
  new ReplicationPoller({ gauge, positions: true }),
  // @ts-expect-error a source is removed by its name
  new ReplicationPoller({ gauge }).remove(postgresSource({ client, shard: 1 })),
  // @ts-expect-error a name for the shard
  postgresSource({ client }),
  // @ts-expect-error a client that the caller has created
  postgresSource({ client: 'postgres://localhost', shard: 1 }),
  // @ts-expect-error an option of the poller
  postgresSource({ client, shard: 1, pollIntervalMillis: 1000 }),
]

export function refusedProvider(instrumentation: ReplicationLagInstrumentation): void {
  // @ts-expect-error a provider, not a reader
  instrumentation.setMeterProvider({ collect: () => [] })
}

// @ts-expect-error a source needs a name
export const nameless: ReplicationSource = { read: () => Promise.resolve({ shards: [] }) }

export const synchronous: ReplicationSource = {
  name: 'synchronous',
  // @ts-expect-error a promise, so that it can have a deadline
  read: () => ({ shards: [] }),
}

export const leaderless: ReplicationSource = {
  name: 'leaderless',
  // @ts-expect-error a leader seqno
  read: () => Promise.resolve({ shards: [{ shard: 1, followers: [] }] }),
}
