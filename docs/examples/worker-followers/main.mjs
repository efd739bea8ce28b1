import { MessageChannel, Worker } from 'node:worker_threads'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'

const host = '127.0.0.1'
const port = Number(process.env['PORT'] ?? 9464)

const gauge = new ReplicationLagGauge()
const exporter = new PrometheusExporter({
  host,
  port,
  preventServerStart: true,
  metricProducers: [new ReplicationLagMetricProducer({ gauge })],
})
new MeterProvider({ readers: [exporter] })
await exporter.startServer().catch((/** @type {unknown} */ error) => {
  const { message } = /** @type {Error} */ (error)
  console.error(`set PORT to another port: ${message}`)
  process.exit(1)
})
console.log(`Metrics: http://${host}:${port}/metrics`)

// This thread has the leader: it writes the log, and sends each entry to the workers.
/** @type {{ seqno: number, order: string }[]} */
const log = []
/** @type {Map<string, Worker>} */
const workers = new Map()
const leader = gauge.leader('orders')
setInterval(() => {
  const entry = { seqno: log.length + 1, order: `order ${log.length + 1}` }
  log.push(entry)
  leader.store(entry.seqno)
  for (const worker of workers.values()) worker.postMessage(entry)
}, 10)

startFollower('worker-1')
startFollower('worker-2')

/** Starts a worker that applies the log from its beginning. If that ends, a new one starts a second later. */
function startFollower(/** @type {string} */ replica) {
  const { port1, port2 } = new MessageChannel()
  gauge.subscribe(port1)
  const worker = new Worker(new URL('follower.mjs', import.meta.url), {
    workerData: { replica, port: port2 },
    transferList: [port2],
  })
  worker.once('error', (error) => console.error(error))
  worker.once('exit', () => setTimeout(startFollower, 1000, replica))
  for (const entry of log) worker.postMessage(entry)
  workers.set(replica, worker)
}
