import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import promClient from 'prom-client'
import { usedBytes } from './in-process.mjs'

const FOLLOWERS = 65_536
const BAR = 400

/** A fleet: its shards, and the replicas of each; none stands for one unnamed follower. */
const FLEETS = [
  { title: '65,536 shards, one unnamed follower each', shards: FOLLOWERS, replicas: 0 },
  { title: '8,192 shards, 8 replicas each', shards: FOLLOWERS / 8, replicas: 8 },
]

/**
 * Bytes a follower, of a lag map that knows the leader and all followers of each shard, beside a prom-client gauge of the
 * same series (it holds the lag only). The names are made while it is measured, so they count too.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchMemory() {
  return FLEETS.flatMap((fleet) => {
    const byName = bytesPerFollower(() => fillByName(fleet))
    const handles = bytesPerFollower(() => fillByHandles(fleet))
    const prom = bytesPerFollower(() => fillPromClient(fleet))
    return [
      {
        metric: `Memory a follower, ${fleet.title}`,
        figure: `${byName} bytes (prom-client: ${prom})`,
        bar: `≤ ${BAR} bytes`,
        met: byName <= BAR,
      },
      {
        metric: `Memory a follower, ${fleet.title}, all with handles`,
        figure: `${handles} bytes`,
      },
    ]
  })
}

/**
 * @param {() => unknown} build what it returns is kept while it is measured
 * @returns {number}
 */
function bytesPerFollower(build) {
  const before = usedBytes()
  const kept = [build()]
  const bytes = usedBytes() - before
  // Something must use it after the measurement, or it might be gone before.
  kept.pop()
  return Math.round(bytes / FOLLOWERS)
}

/** @typedef {typeof FLEETS[number]} Fleet */

/**
 * @param {Fleet} fleet
 * @returns {Generator<{ shard: string, replicas: (string | undefined)[] }>}
 */
function* names({ shards, replicas }) {
  for (let i = 0; i < shards; i++) {
    yield {
      shard: `shard-${i}`,
      replicas:
        replicas === 0
          ? [undefined]
          : Array.from({ length: replicas }, (_, replica) => `replica-${replica}`),
    }
  }
}

/** @param {Fleet} fleet */
function fillByName(fleet) {
  const gauge = new ReplicationLagGauge()
  for (const { shard, replicas } of names(fleet)) {
    gauge.updateLeaderSeqno(shard, 1000n)
    for (const replica of replicas) gauge.updateAppliedSeqno(shard, 900n, replica)
  }
  return gauge
}

/** @param {Fleet} fleet */
function fillByHandles(fleet) {
  const gauge = new ReplicationLagGauge()
  for (const { shard, replicas } of names(fleet)) {
    gauge.leader(shard).store(1000n)
    for (const replica of replicas) gauge.applied(shard, replica).store(900n)
  }
  return gauge
}

/** @param {Fleet} fleet */
function fillPromClient(fleet) {
  const gauge = new promClient.Gauge({
    name: 'replication_lag_seqno',
    help: 'The same series.',
    labelNames: fleet.replicas === 0 ? ['shard'] : ['shard', 'replica'],
    registers: [new promClient.Registry()],
  })
  for (const { shard, replicas } of names(fleet)) {
    for (const replica of replicas) {
      gauge.set(replica === undefined ? { shard } : { shard, replica }, 100)
    }
  }
  return gauge
}
