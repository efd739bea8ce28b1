import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { fillGauge, shardNames } from './fleet.mjs'

// One process of growth.mjs: prints nanoseconds a follower, of each round, as JSON.

const SMALL = 10_000
const LARGE = 1_000_000
const ROUNDS = 5

/** @param {number} count */
function producerOf(count) {
  const producer = new ReplicationLagMetricProducer(fillGauge(shardNames(count)), {
    lagSeconds: false,
  })
  return () => producer.collect()
}

/** @param {number} count */
function loopOf(count) {
  const points = shardNames(count).map((shard, lag) => ({ attributes: { shard }, lag }))
  return () => {
    const time = [1, 2]
    const dataPoints = []
    for (const { attributes, lag } of points) {
      dataPoints.push({ startTime: time, endTime: time, attributes, value: lag })
    }
    return dataPoints
  }
}

/**
 * @param {() => unknown} collect
 * @param {number} count of followers that it collects
 * @param {boolean} isKept whether every result is kept until a million points are there, or only the newest
 */
async function nanosPerFollower(collect, count, isKept) {
  const results = []
  // Once only: with this heap it takes long.
  globalThis.gc?.()
  const startedAt = performance.now()
  for (let collected = 0; collected < LARGE; collected += count) {
    const result = await collect()
    if (isKept) results.push(result)
    else results[0] = result
  }
  return ((performance.now() - startedAt) * 1e6) / LARGE
}

const sides = {
  producer: { small: producerOf(SMALL), large: producerOf(LARGE) },
  loop: { small: loopOf(SMALL), large: loopOf(LARGE) },
}
/** @type {Record<keyof typeof sides, import('./growth.mjs').Nanos>} */
const figures = {
  producer: { small: [], smallKept: [], large: [] },
  loop: { small: [], smallKept: [], large: [] },
}
for (let round = -1; round < ROUNDS; round++) {
  for (const name of /** @type {const} */ (['producer', 'loop'])) {
    const { small, large } = sides[name]
    const measured = {
      small: await nanosPerFollower(small, SMALL, false),
      smallKept: await nanosPerFollower(small, SMALL, true),
      large: await nanosPerFollower(large, LARGE, true),
    }
    if (round < 0) continue
    for (const kind of /** @type {const} */ (['small', 'smallKept', 'large'])) {
      figures[name][kind].push(measured[kind])
    }
  }
}
console.log(JSON.stringify(figures))
