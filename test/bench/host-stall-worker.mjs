import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { listen, serveProducer } from './metrics-server.mjs'

// The worker of host-stall.mjs: it holds the SDK and the exporter, and serves the lag map of the main thread.

// On Linux this is the priority of this thread alone: where cores are short, the main thread goes first.
if (process.platform === 'linux') setPriority(10)

/** @type {unknown} */
const shared = workerData
const gauge = ReplicationLagGauge.attach(
  /** @type {import('opentelemetry-instrumentation-replication-lag').SharedReplicationLagGauge} */ (
    shared
  ),
)
parentPort?.postMessage(await listen(serveProducer(gauge)))
