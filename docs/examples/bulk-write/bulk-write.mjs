/** @import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag' */
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Writes batch after batch, and waits before each one until no follower is more than 5 s behind.
 *
 * @template Batch
 * @param {ReplicationLagGauge} gauge
 * @param {string} shard
 * @param {Iterable<Batch>} batches
 * @param {(batch: Batch) => Promise<unknown>} write
 */
export async function writeInBatches(gauge, shard, batches, write) {
  for (const batch of batches) {
    await waitForFollowers(gauge, shard, { maxSeconds: 5, deadlineMillis: 10 * 60_000 })
    await write(batch)
  }
}

/**
 * Resolves when no follower of a shard is more than `maxSeconds` behind.
 *
 * @param {ReplicationLagGauge} gauge
 * @param {string} shard
 * @param {{ maxSeconds: number, deadlineMillis: number }} limits
 * @throws Error at the deadline, with what it was waiting for.
 */
export async function waitForFollowers(gauge, shard, { maxSeconds, deadlineMillis }) {
  const deadline = performance.now() + deadlineMillis
  for (;;) {
    const reason = reasonToWait(gauge, shard, maxSeconds)
    if (reason === undefined) return
    if (performance.now() >= deadline) throw new Error(`${reason}, after ${deadlineMillis} ms`)
    await sleep(200)
  }
}

/**
 * @param {ReplicationLagGauge} gauge
 * @param {string} shard
 * @param {number} maxSeconds
 */
function reasonToWait(gauge, shard, maxSeconds) {
  const followers = gauge.collectMetrics().filter((follower) => follower.shard === shard)
  // Nothing was read yet, or the source can no longer be read.
  if (followers.length === 0) return `no follower of ${shard} is known`
  for (const { replica, connected, lagSeconds } of followers) {
    if (connected === false) return `${replica} is disconnected`
    if (lagSeconds === undefined) return `the lag of ${replica} is unknown`
    if (lagSeconds > maxSeconds) return `${replica} is ${lagSeconds.toFixed(1)} s behind`
  }
  return undefined
}
