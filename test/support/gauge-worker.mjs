import { createRequire } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'

/**
 * @typedef {typeof import('opentelemetry-instrumentation-replication-lag')} Package
 * @typedef {import('node:worker_threads').MessagePort} MessagePort
 */

// A thread with a gauge of its own, which does what a test asks: see gauge-worker.ts.

/** @type {unknown} */
const data = workerData
const { implementation, port } = /** @type {{ implementation: string, port: MessagePort }} */ (data)
/** @type {unknown} */
const loaded = createRequire(import.meta.url)(implementation)
const { ReplicationLagGauge } = /** @type {Package} */ (loaded)
const gauge = new ReplicationLagGauge()

export const commands = {
  publish: () => void gauge.publish(port),

  subscribe: () => gauge.subscribe(port),

  /** @param {string} shard @param {bigint} seqno */
  updateLeader: (shard, seqno) => gauge.updateLeaderSeqno(shard, seqno),

  /** @param {string} shard @param {bigint} seqno @param {string} [replica] */
  updateApplied: (shard, seqno, replica) => gauge.updateAppliedSeqno(shard, seqno, replica),

  /** @param {string} shard @param {string} [replica] */
  remove: (shard, replica) => gauge.remove(shard, replica),

  collect: () => gauge.collectMetrics(),

  /** Stores two seqnos in turn until the flag is set. @param {string} shard @param {bigint[]} seqnos @param {Int32Array} flag */
  storeInTurn: (shard, seqnos, flag) => {
    const leader = gauge.leader(shard)
    while (Atomics.load(flag, 0) === 0) for (const seqno of seqnos) leader.store(seqno)
  },

  /** Leaves nothing that keeps the thread running, except what the gauge keeps. */
  finish: () => parentPort?.unref(),
}

parentPort?.on('message', (/** @type {[number, keyof typeof commands, ...never[]]} */ message) => {
  const [id, name, ...parameters] = message
  const command = /** @type {(...parameters: unknown[]) => unknown} */ (commands[name])
  parentPort?.postMessage([id, command(...parameters)])
})
