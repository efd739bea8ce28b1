import { MessageChannel, Worker } from 'node:worker_threads'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'

// This thread replicates. All it does for the metrics is to store seqnos.
const gauge = new ReplicationLagGauge()
const leader = gauge.leader('orders')
const prompt = gauge.applied('orders', 'prompt')
const behind = gauge.applied('orders', 'five-behind')

let seqno = 0n
setInterval(() => {
  leader.store(++seqno)
  prompt.store(seqno)
  if (seqno >= 5n) behind.store(seqno - 5n)
}, 10)

startExporter()

/** Serves /metrics from another thread. If that ends, a new one starts a second later. */
function startExporter() {
  const { port1, port2 } = new MessageChannel()
  gauge.publish(port1)
  const exporter = new URL('exporter.mjs', import.meta.url)
  new Worker(exporter, { workerData: port2, transferList: [port2] })
    .once('message', (url) => console.log(`Metrics: ${url}`))
    .once('error', ({ message }) => console.error(message))
    .once('exit', () => setTimeout(startExporter, 1000))
}
