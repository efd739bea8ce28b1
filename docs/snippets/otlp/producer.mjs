import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'

const pool = new pg.Pool({ connectionTimeoutMillis: 3000, allowExitOnIdle: true })
pool.on('error', () => undefined)
export const producer = new ReplicationLagMetricProducer({
  sources: [postgresSource({ client: pool, shard: 'orders' })],
})
const reader = new PeriodicExportingMetricReader({
  exporter: new OTLPMetricExporter(), // OTEL_EXPORTER_OTLP_ENDPOINT, or http://localhost:4318
  exportIntervalMillis: 15_000, // default: a minute
  metricProducers: [producer],
})
export const sdk = new NodeSDK({ metricReaders: [reader] })
sdk.start()
