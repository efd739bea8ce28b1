import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import promClient from 'prom-client'
import { BenchReader } from './bench-reader.mjs'
import { METRIC, observeBare } from './fleet.mjs'
import { usedBytes } from './in-process.mjs'

// One process of fleet-memory.mjs: prints bytes at every tenth of the rounds as JSON. Its arguments: which path, how many
// followers, how many collections with a tenth of the followers replaced between each.

const [path = '', followers = 0, rounds = 0] = process.argv
  .slice(2)
  .map((argument, i) => (i === 0 ? argument : Number(argument)))
const count = Number(followers)
const churn = Math.ceil(count / 10)
const options = { lagSeconds: false }

/**
 * @typedef {object} Subject
 * @property {(shard: string) => void} add
 * @property {(shard: string) => void} remove
 * @property {() => Promise<unknown>} collect
 */

/** @type {ReadonlyMap<unknown, () => Subject>} */
const paths = new Map([
  ['producer', () => ownPath((gauge) => readProducer(gauge))],
  ['instrumentation', () => ownPath((gauge) => readInstrumentation(gauge))],
  ['observed', barePath],
  ['prom', promPath],
])

/**
 * @param {(gauge: ReplicationLagGauge) => BenchReader} attach
 * @returns {Subject}
 */
function ownPath(attach) {
  const gauge = new ReplicationLagGauge()
  const reader = attach(gauge)
  return {
    add: (shard) => {
      gauge.updateLeaderSeqno(shard, 1000n)
      gauge.updateAppliedSeqno(shard, 900n)
    },
    remove: (shard) => void gauge.remove(shard),
    collect: () => reader.collect(),
  }
}

/** @param {ReplicationLagGauge} gauge */
function readProducer(gauge) {
  const producer = new ReplicationLagMetricProducer(gauge, options)
  const reader = new BenchReader({ metricProducers: [producer] })
  new MeterProvider({ readers: [reader] })
  return reader
}

/** @param {ReplicationLagGauge} gauge */
function readInstrumentation(gauge) {
  const reader = new BenchReader()
  const views = [{ instrumentName: METRIC, aggregationCardinalityLimit: 10_000_000 }]
  const instrumentation = new ReplicationLagInstrumentation({ gauge, ...options })
  instrumentation.setMeterProvider(new MeterProvider({ readers: [reader], views }))
  return reader
}

/** @returns {Subject} */
function barePath() {
  /** @type {Map<string, number>} */
  const lags = new Map()
  /** @type {Map<string, { shard: string }>} */
  const attributes = new Map()
  const reader = new BenchReader()
  observeBare(reader, lags, attributes)
  return {
    add: (shard) => {
      lags.set(shard, 100)
      attributes.set(shard, { shard })
    },
    remove: (shard) => {
      lags.delete(shard)
      attributes.delete(shard)
    },
    collect: () => reader.collect(),
  }
}

/** @returns {Subject} */
function promPath() {
  const register = new promClient.Registry()
  const gauge = new promClient.Gauge({
    name: METRIC,
    help: 'The same series.',
    labelNames: ['shard'],
    registers: [register],
  })
  return {
    add: (shard) => gauge.set({ shard }, 100),
    remove: (shard) => gauge.remove({ shard }),
    collect: () => register.metrics(),
  }
}

const create = paths.get(path)
if (!create) throw new Error(`expected one of ${[...paths.keys()].join(', ')}, got ${path}`)
const before = usedBytes()
const subject = create()
for (let i = 0; i < count; i++) subject.add(`shard-${i}`)
await subject.collect()
const filled = usedBytes()

/** @type {number[]} */
const bytes = []
for (let round = 1; round <= Number(rounds); round++) {
  const oldest = (round - 1) * churn
  for (let i = oldest; i < oldest + churn; i++) {
    subject.remove(`shard-${i}`)
    subject.add(`shard-${i + count}`)
  }
  await subject.collect()
  if (round % (Number(rounds) / 10) === 0) bytes.push(usedBytes() - before)
}

/** @type {import('./fleet-memory.mjs').Figures} */
const figures = { filled: filled - before, churned: bytes }
console.log(JSON.stringify(figures))
