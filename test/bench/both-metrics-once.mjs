import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { BenchReader } from './bench-reader.mjs'
import { measureBlocks } from './blocks.mjs'
import { collectPoints, fillGauge, shardNames, START } from './fleet.mjs'

// One process of both-metrics.mjs: prints the milliseconds of each round as JSON. Its arguments: gauge or producer,
// shards, and where the followers are: caught-up; behind, where they stay; or moving, as far behind all the time.

const ROUNDS = 9
const SECONDS_BEHIND = 60
/** So that no timer samples while it is measured. */
const NEVER = 2 ** 31 - 1

const [path, count, who] = process.argv.slice(2)
const shards = shardNames(Number(count))

/** @param {boolean} lagSeconds */
function collector(lagSeconds) {
  let seconds = 0
  const gauge = fillGauge(shards, { clock: () => seconds * 1000 })
  const options = { lagSeconds, sampleIntervalMillis: NEVER }
  const reader = path === 'gauge' ? observe() : produce()
  let seqno = START
  while (seconds < SECONDS_BEHIND) pass()
  return {
    collect: () => collectPoints(reader, lagSeconds ? 2 * shards.length : shards.length),
    pass,
  }

  /** A second passes. */
  function pass() {
    seconds++
    seqno += 100n
    const applied = who === 'caught-up' ? seqno : seqno - 100n * BigInt(SECONDS_BEHIND)
    const isMoving = who === 'caught-up' || (who === 'moving' && seconds > SECONDS_BEHIND)
    for (const shard of shards) {
      gauge.updateLeaderSeqno(shard, seqno)
      if (isMoving) gauge.updateAppliedSeqno(shard, applied)
    }
    if (lagSeconds) gauge.sample(true)
  }

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

const [both, one] = [collector(true), collector(false)]
const before = who === 'moving' ? { both: both.pass, one: one.pass } : {}
const millis = await measureBlocks({ both: both.collect, one: one.collect }, ROUNDS, before)
console.log(JSON.stringify(millis))
process.exit()
