import { ValueType } from '@opentelemetry/api'
import { AggregationType, MeterProvider } from '@opentelemetry/sdk-metrics'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'

export const METRIC = 'replication_lag_seqno'

/** Where seqnos start: a log that has been written for a while, past what fits into 32 bits. */
export const START = 2n ** 40n

/** @param {number} count */
export function shardNames(count) {
  return Array.from({ length: count }, (_, i) => `shard-${i}`)
}

/**
 * A lag map of so many shards, with one unnamed follower each that is behind by the shard's number.
 *
 * @param {readonly string[]} shards
 * @param {import('opentelemetry-instrumentation-replication-lag').ReplicationLagGaugeOptions} [options]
 */
export function fillGauge(shards, options) {
  const gauge = new ReplicationLagGauge(undefined, options)
  for (const [i, shard] of shards.entries()) {
    gauge.updateLeaderSeqno(shard, START + BigInt(i))
    gauge.updateAppliedSeqno(shard, START)
  }
  return gauge
}

/**
 * An ObservableGauge as one would write it: a callback that loops over a map of lags, with attributes objects that are
 * kept. A View raises the limit of series, which is 2,000.
 *
 * @param {import('@opentelemetry/sdk-metrics').IMetricReader} reader
 * @param {ReadonlyMap<string, number>} lags
 * @param {ReadonlyMap<string, { shard: string }>} attributes
 */
export function observeBare(reader, lags, attributes) {
  const view = {
    instrumentName: METRIC,
    aggregation: { type: AggregationType.LAST_VALUE },
    aggregationCardinalityLimit: 10_000_000,
  }
  const provider = new MeterProvider({ readers: [reader], views: [view] })
  const options = { unit: '{seqno}', valueType: ValueType.INT }
  const gauge = provider.getMeter('bench').createObservableGauge(METRIC, options)
  gauge.addCallback((result) => {
    for (const [shard, lag] of lags) result.observe(lag, attributes.get(shard))
  })
}

/**
 * The points of a metric that a reader collects.
 *
 * @param {import('./bench-reader.mjs').BenchReader} reader
 * @param {number} expected how many there must be
 */
export async function collectPoints(reader, expected) {
  const { resourceMetrics, errors } = await reader.collect()
  if (errors.length > 0) throw new AggregateError(errors, 'collection failed')
  const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
  const count = metrics.reduce((sum, { dataPoints }) => sum + dataPoints.length, 0)
  if (count !== expected) throw new Error(`expected ${expected} points, got ${count}`)
  return resourceMetrics
}
