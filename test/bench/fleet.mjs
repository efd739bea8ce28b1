import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'

/** The fleet: so many shards, with one unnamed follower each. */
export const FOLLOWERS = 65_536
export const SHARDS = shardNames(FOLLOWERS)

/** Where seqnos start: a log that has been written for a while, past what fits into 32 bits. */
export const START = 2n ** 40n
/** How fast each leader writes where a benchmark lets time pass. */
export const SEQNOS_PER_SECOND = 100n

/** @param {number} count */
export function shardNames(count) {
  return Array.from({ length: count }, (_, i) => `shard-${i}`)
}

/**
 * A lag map in which the application reports a leader and a follower of each shard, which has caught up.
 *
 * @param {readonly string[]} shards
 */
export function fillGauge(shards) {
  const gauge = new ReplicationLagGauge()
  for (const shard of shards) {
    gauge.updateLeaderSeqno(shard, START)
    gauge.updateAppliedSeqno(shard, START)
  }
  return gauge
}

/** A reader that only collects. What an exporter does with the points afterwards is the same for all subjects. */
export class BenchReader extends MetricReader {
  onShutdown = () => Promise.resolve()
  onForceFlush = () => Promise.resolve()
}

/**
 * A reader that collects from a metric producer.
 *
 * @param {import('opentelemetry-instrumentation-replication-lag').ReplicationLagOptions} options
 */
export function produce(options) {
  const reader = new BenchReader({ metricProducers: [new ReplicationLagMetricProducer(options)] })
  new MeterProvider({ readers: [reader] })
  return reader
}

/**
 * Collects once.
 *
 * @param {BenchReader} reader
 * @param {number} expected how many points there must be
 */
export async function collect(reader, expected) {
  const { resourceMetrics, errors } = await reader.collect()
  if (errors.length > 0) throw new AggregateError(errors, 'the collection failed')
  const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
  const count = metrics.reduce((sum, { dataPoints }) => sum + dataPoints.length, 0)
  if (count !== expected) throw new Error(`expected ${expected} points, got ${count}`)
  return resourceMetrics
}

/**
 * Takes over the clock and the interval timers of this process: a benchmark of a day must not take a day. Call it before
 * anything starts a timer.
 */
export function takeOverTime() {
  /** @type {(() => void)[]} */
  const timers = []
  let millis = 0
  performance.now = () => millis
  Object.assign(globalThis, { setInterval: (/** @type {() => void} */ run) => timers.push(run) })
  return {
    /** Lets a second pass, without what the timers do in it. */
    passSecond: () => {
      millis += 1000
    },
    /** Runs what is due once a second. */
    runTimers: () => {
      if (timers.length === 0) throw new Error('expected a timer that samples the leaders')
      for (const run of timers) run()
    },
  }
}
