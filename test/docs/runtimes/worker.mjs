/** @import { ThreadPort } from 'opentelemetry-instrumentation-replication-lag' */
import { parentPort, workerData } from 'node:worker_threads'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'

/** @type {unknown} */
const port = workerData

const gauge = new ReplicationLagGauge()
gauge.publish(/** @type {ThreadPort} */ (port))
const applied = gauge.applied('log', 'worker')
applied.store(2n ** 64n - 11n)
parentPort?.on('message', () => applied.store(2n ** 64n - 5n))
parentPort?.postMessage('started')
