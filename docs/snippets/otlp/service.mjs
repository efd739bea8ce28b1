import { diag, DiagConsoleLogger, DiagLogLevel } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { createServer } from 'node:http'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'

diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN) // shows why a source cannot be read

const { DATABASE_URL: connectionString, PORT = '8080' } = process.env
const pool = new pg.Pool({ connectionString, connectionTimeoutMillis: 3000 })
pool.on('error', () => undefined) // the next read reports it

const source = postgresSource({ client: pool, shard: 'orders' })
const reader = new PeriodicExportingMetricReader({
  exporter: new OTLPMetricExporter(), // OTEL_EXPORTER_OTLP_ENDPOINT, or http://localhost:4318
  exportIntervalMillis: 15_000, // default: a minute
  exportTimeoutMillis: 10_000,
  metricProducers: [new ReplicationLagMetricProducer({ sources: [source] })],
})
const sdk = new NodeSDK({ metricReaders: [reader] })
sdk.start()

const server = createServer((_request, response) => response.end('ok\n'))
server.listen(Number(PORT))

// Exports once more at the end.
process.once('SIGTERM', () => void sdk.shutdown().finally(() => process.exit()))
