import { parentPort, workerData } from 'node:worker_threads'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'

/** @typedef {import('node:worker_threads').MessagePort} MessagePort */

/** @type {unknown} */
const data = workerData
const { replica, port } = /** @type {{ replica: string, port: MessagePort }} */ (data)

// A gauge of this thread. It needs no leader: the main thread has that.
const gauge = new ReplicationLagGauge()
gauge.publish(port)
const applied = gauge.applied('orders', replica)

/** What this worker replicates. @type {Map<number, string>} */
const orders = new Map()
parentPort?.on('message', (/** @type {{ seqno: number, order: string }} */ { seqno, order }) => {
  orders.set(seqno, order)
  applied.store(seqno)
})
