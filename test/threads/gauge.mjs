import { parentPort, workerData } from 'node:worker_threads'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'

/**
 * @typedef {import('opentelemetry-instrumentation-replication-lag').SharedReplicationLagGauge} Shared
 * @typedef {import('opentelemetry-instrumentation-replication-lag').AtomicSeqno} AtomicSeqno
 */

// A thread that has attached a gauge and does with it what it is told: see support/gauge-thread.ts.

/** @type {unknown} */
const shared = workerData
const gauge = ReplicationLagGauge.attach(/** @type {Shared} */ (shared))
/** @type {Map<string, AtomicSeqno>} */
const handles = new Map()

export const commands = {
  /** @param {string} shard @param {bigint} seqno */
  updateLeader: (shard, seqno) => gauge.updateLeaderSeqno(shard, seqno),

  /** @param {string} shard @param {bigint} seqno @param {string} [replica] */
  updateApplied: (shard, seqno, replica) => gauge.updateAppliedSeqno(shard, seqno, replica),

  /** @param {string} shard @param {string} [replica] */
  remove: (shard, replica) => gauge.remove(shard, replica),

  /** @param {string} shard @param {string} [replica] */
  lagSeqno: (shard, replica) => gauge.lagSeqno(shard, replica),

  collect: () => gauge.collectMetrics(),

  share: () => gauge.share(),

  /** Through a handle that is taken the first time. @param {string} shard @param {bigint} seqno @param {string} [replica] */
  storeApplied(shard, seqno, replica) {
    const name = JSON.stringify([shard, replica])
    const handle = handles.get(name) ?? gauge.applied(shard, replica)
    handles.set(name, handle)
    handle.store(seqno)
    return handle.load()
  },

  /**
   * Updates so many shards, each with its leader and two replicas, when all threads are at the gate.
   *
   * @param {{ gate: Int32Array, threads: number, prefix: string, shards: number, seqno: bigint }} how
   */
  updateMany({ gate, threads, prefix, shards, seqno }) {
    passGate(gate, threads)
    for (let shard = 0; shard < shards; shard++) {
      gauge.updateLeaderSeqno(`${prefix}${shard}`, seqno)
      gauge.updateAppliedSeqno(`${prefix}${shard}`, seqno, 'r1')
      gauge.applied(`${prefix}${shard}`, 'r2').store(seqno)
    }
  },

  /**
   * Adds, updates, removes and collects at random, among a few followers.
   *
   * @param {{ gate: Int32Array, threads: number, rounds: number }} how
   */
  churn({ gate, threads, rounds }) {
    passGate(gate, threads)
    for (let round = 0; round < rounds; round++) {
      const shard = `churn-${Math.floor(Math.random() * 5)}`
      const replica = Math.random() < 0.5 ? 'r1' : 'r2'
      const dice = Math.random()
      if (dice < 0.3) gauge.updateLeaderSeqno(shard, round)
      else if (dice < 0.5) gauge.updateAppliedSeqno(shard, round, replica)
      else if (dice < 0.7) gauge.applied(shard, replica).store(round)
      else if (dice < 0.8) gauge.remove(shard, replica)
      else if (dice < 0.9) gauge.remove(shard)
      else gauge.collectMetrics()
    }
  },

  /** Adds follower after follower until the thread is terminated. @param {Int32Array} count how many by now */
  addForEver(count) {
    for (let shard = 0; ; shard++) {
      gauge.updateLeaderSeqno(`endless-${shard}`, 7n)
      Atomics.store(count, 0, shard + 1)
    }
  },
}

/** Waits for the others, in a loop: they are to begin at the same moment. @param {Int32Array} gate @param {number} threads */
function passGate(gate, threads) {
  Atomics.add(gate, 0, 1)
  while (Atomics.load(gate, 0) < threads);
}

/** @typedef {{ [name: string]: (...parameters: unknown[]) => unknown }} Callable */
parentPort?.on('message', (/** @type {[number, string, ...unknown[]]} */ message) => {
  const [id, command, ...parameters] = message
  const result = /** @type {Callable} */ (/** @type {unknown} */ (commands))[command]?.(
    ...parameters,
  )
  parentPort?.postMessage([id, result])
})
