import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { serve } from './serve.mjs'

// The worker of host-delay.mjs: serves what the main thread publishes.

// On Linux this is the priority of this thread alone. Where cores are few, the main thread goes first.
if (process.platform === 'linux') setPriority(10)

const gauge = new ReplicationLagGauge()
/** @type {unknown} */
const port = workerData
gauge.subscribe(/** @type {import('node:worker_threads').MessagePort} */ (port))
parentPort?.postMessage(await serve(gauge))
