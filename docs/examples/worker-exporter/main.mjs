import { Worker } from 'node:worker_threads'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'

// This thread replicates. For the metrics it stores seqnos, and does no more.
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

/** Serves /metrics from another thread. Should that end, the next one finds the gauge as it is. */
function startExporter() {
  const exporter = new URL('exporter.mjs', import.meta.url)
  new Worker(exporter, { workerData: gauge.share() })
    .once('message', (url) => console.log(`Metrics: ${url}`))
    .once('error', (error) => console.error(error))
    .once('exit', () => setTimeout(startExporter, 1000))
}
