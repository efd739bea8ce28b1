import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { BenchReader } from './bench-reader.mjs'
import { measureBlocks } from './blocks.mjs'
import { collectPoints, fillGauge, shardNames, START } from './fleet.mjs'

// One process of both-metrics.mjs: prints the milliseconds of each round as JSON. Its arguments: gauge or producer,
// shards, behind or caught-up.

const ROUNDS = 9
const SECONDS_BEHIND = 60
/** So that no timer samples while it is measured. */
const NEVER = 2 ** 31 - 1

const [path, count, who] = process.argv.slice(2)
const shards = shardNames(Number(count))

/**
 * @param {boolean} lagSeconds
 * @returns {() => Promise<unknown>}
 */
function collector(lagSeconds) {
  let seconds = 0
  const gauge = fillGauge(shards, { clock: () => seconds * 1000 })
  const options = { lagSeconds, sampleIntervalMillis: NEVER }
  const reader = path === 'gauge' ? observe() : produce()
  for (let seqno = START; seconds < SECONDS_BEHIND; seconds++) {
    seqno += 100n
    for (const shard of shards) {
      gauge.updateLeaderSeqno(shard, seqno)
      if (who === 'caught-up') gauge.updateAppliedSeqno(shard, seqno)
    }
    if (lagSeconds) gauge.sample(true)
  }
  return () => collectPoints(reader, lagSeconds ? 2 * shards.length : shards.length)

  function observe() {
    const reader = new BenchReader()
    const instrumentation = new ReplicationLagInstrumentation({ gauge, ...options })
    instrumentation.setMeterProvider(new MeterProvider({ readers: [reader] }))
    return reader
  }

  function produce() {
    const producer = new ReplicationLagMetricProducer(gauge, options)
    const reader = new BenchReader({ metricProducers: [producer] })
    new MeterProvider({ readers: [reader] })
    return reader
  }
}

const millis = await measureBlocks({ both: collector(true), one: collector(false) }, ROUNDS)
console.log(JSON.stringify(millis))
process.exit()
