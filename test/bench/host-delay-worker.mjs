import { once } from 'node:events'
import { createServer } from 'node:http'
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'

// The worker of host-delay.mjs: serves what the main thread publishes at /metrics, on a free port.

// On Linux this is the priority of this thread alone. Where cores are few, the main thread goes first.
if (process.platform === 'linux') setPriority(10)

const gauge = new ReplicationLagGauge()
/** @type {unknown} */
const port = workerData
gauge.subscribe(/** @type {import('node:worker_threads').MessagePort} */ (port))
const exporter = new PrometheusExporter({
  preventServerStart: true,
  metricProducers: [new ReplicationLagMetricProducer({ gauge })],
})
new MeterProvider({ readers: [exporter] })
const server = createServer((request, response) => {
  exporter.getMetricsRequestHandler(request, response)
})
await once(server.listen(0, '127.0.0.1'), 'listening')
const address = /** @type {import('node:net').AddressInfo} */ (server.address())
parentPort?.postMessage(`http://127.0.0.1:${address.port}/metrics`)
