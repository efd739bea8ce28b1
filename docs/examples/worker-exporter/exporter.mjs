import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'

/** @typedef {import('node:worker_threads').MessagePort} MessagePort */

const host = '127.0.0.1'
const port = Number(process.env['PORT'] ?? 9464)

// On Linux this sets the priority of this thread alone. Where cores are few, the thread that replicates comes first.
if (process.platform === 'linux') setPriority(10)

/** @type {unknown} */
const data = workerData
const gauge = new ReplicationLagGauge()
gauge.subscribe(/** @type {MessagePort} */ (data))

/** Databases are polled here too, because sources are not published. */
function createSources() {
  const connectionString = process.env['DATABASE_URL']
  if (!connectionString) return []
  const pool = new pg.Pool({
    connectionString,
    connectionTimeoutMillis: 3000,
    allowExitOnIdle: true,
  })
  pool.on('error', (error) => console.error(error.message))
  return [postgresSource({ client: pool, shard: 'database' })]
}

// The SDK is loaded only in this thread, and scrapes take their time only here.
const exporter = new PrometheusExporter({
  host,
  port,
  preventServerStart: true,
  metricProducers: [new ReplicationLagMetricProducer({ gauge, sources: createSources() })],
})
new MeterProvider({ readers: [exporter] })
await exporter.startServer().catch((/** @type {unknown} */ error) => {
  const { message } = /** @type {Error} */ (error)
  throw new Error(`set PORT to another port: ${message}`)
})
parentPort?.postMessage(`http://${host}:${port}/metrics`)
// The exporter does not keep the thread running, but this listener does.
parentPort?.once('message', () => void exporter.shutdown())
