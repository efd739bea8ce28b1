import {
  ReplicationLagGauge,
  ReplicationPoller,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'

/** A pool of connections to the leader, with a role that has `pg_monitor`. */
export const monitorPool = new pg.Pool({ connectionTimeoutMillis: 900, allowExitOnIdle: true })
monitorPool.on('error', () => undefined)

export const gauge = new ReplicationLagGauge()
const source = postgresSource({ client: monitorPool, shard: 'orders' })
export const poller = new ReplicationPoller({
  gauge,
  sources: [source],
  pollIntervalMillis: 1000,
  pollTimeoutMillis: 1000,
})
poller.start()
