import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'

/** @typedef {import('opentelemetry-instrumentation-replication-lag').SharedReplicationLagGauge} SharedReplicationLagGauge */

const host = '127.0.0.1'
const port = Number(process.env['PORT'] ?? 9464)

// On Linux that is the priority of this thread: where cores are few, the thread that replicates comes first.
if (process.platform === 'linux') setPriority(10)

// The SDK is loaded here alone, and what a scrape costs is spent here.
/** @type {unknown} */
const shared = workerData
const gauge = ReplicationLagGauge.attach(/** @type {SharedReplicationLagGauge} */ (shared))
const producer = new ReplicationLagMetricProducer(gauge)
const exporter = new PrometheusExporter({
  host,
  port,
  preventServerStart: true,
  metricProducers: [producer],
})
new MeterProvider({ readers: [exporter] })
await exporter.startServer()
parentPort?.postMessage(`http://${host}:${port}/metrics`)
// It is this listener that keeps the thread running.
parentPort?.once('message', () => void exporter.shutdown())
