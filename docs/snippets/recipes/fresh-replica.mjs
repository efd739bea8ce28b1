/** @import { FollowerLag, ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag' */

const MAX_SECONDS = 2

/**
 * Returns the pool of a replica that is fresh enough to read from, or else the pool of the primary.
 *
 * @template Pool
 * @param {ReplicationLagGauge} gauge
 * @param {string} shard
 * @param {Pool} primary
 * @param {ReadonlyMap<string, Pool>} replicas by their names
 */
export function choosePool(gauge, shard, primary, replicas) {
  const fresh = gauge.collectMetrics().flatMap((follower) => {
    const pool = follower.shard === shard && replicas.get(follower.replica ?? '')
    return pool && isFresh(follower) ? [pool] : []
  })
  return fresh[Math.floor(Math.random() * fresh.length)] ?? primary
}

/** @param {FollowerLag} follower */
function isFresh({ connected, lagSeconds }) {
  return connected === true && lagSeconds !== undefined && lagSeconds <= MAX_SECONDS
}
