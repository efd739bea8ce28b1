import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { BenchReader } from './bench-reader.mjs'
import { measureBlocks } from './blocks.mjs'
import { collectPoints, fillGauge, observeBare, shardNames } from './fleet.mjs'

// One process of fleet-collect.mjs: prints the milliseconds of each round as JSON.

const SHARDS = 65_536
const ROUNDS = 6

const shards = shardNames(SHARDS)
/** @type {ReadonlyMap<string, number>} */
const lags = new Map(shards.map((shard, i) => [shard, i]))
const attributes = new Map(shards.map((shard) => [shard, { shard }]))
const points = shards.map((shard, i) => ({ attributes: { shard }, lag: i }))

const produced = new BenchReader({
  metricProducers: [new ReplicationLagMetricProducer(fillGauge(shards), { lagSeconds: false })],
})
new MeterProvider({ readers: [produced] })
const observed = new BenchReader()
observeBare(observed, lags, attributes)

/** Each point with a new attributes object. */
function loopWithNewAttributes() {
  const time = [1, 2]
  const dataPoints = []
  for (const [shard, value] of lags) {
    dataPoints.push({ startTime: time, endTime: time, attributes: { shard }, value })
  }
  return dataPoints
}

/** The least that builds such points: over an array, with attributes objects that are kept. */
function loopWithKeptAttributes() {
  const time = [1, 2]
  const dataPoints = []
  for (const { attributes, lag } of points) {
    dataPoints.push({ startTime: time, endTime: time, attributes, value: lag })
  }
  return dataPoints
}

const millis = await measureBlocks(
  {
    producer: () => collectPoints(produced, SHARDS),
    observed: () => collectPoints(observed, SHARDS),
    fresh: loopWithNewAttributes,
    kept: loopWithKeptAttributes,
  },
  ROUNDS,
)
console.log(JSON.stringify(millis))
