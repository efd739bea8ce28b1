import { ValueType } from '@opentelemetry/api'
import { AggregationType, MeterProvider } from '@opentelemetry/sdk-metrics'
import { BenchReader, collect, fillGauge, FOLLOWERS, produce, SHARDS } from './fleet.mjs'
import { ratio, report, takeTurns } from './measure.mjs'

// A collection by the metric producer, next to an ObservableGauge.

/**
 * An ObservableGauge as one would write it: its callback loops over a map of lags, with attributes objects that are kept.
 * A View raises the limit of 2,000 series.
 */
function observe() {
  const name = 'replication_lag_seqno'
  const lags = new Map(SHARDS.map((shard, i) => [shard, i]))
  const attributes = new Map(SHARDS.map((shard) => [shard, { shard }]))
  const reader = new BenchReader()
  const view = {
    instrumentName: name,
    aggregation: { type: AggregationType.LAST_VALUE },
    aggregationCardinalityLimit: 1_000_000,
  }
  new MeterProvider({ readers: [reader], views: [view] })
    .getMeter('bench')
    .createObservableGauge(name, { unit: '{seqno}', valueType: ValueType.INT })
    .addCallback((result) => {
      for (const [shard, lag] of lags) result.observe(lag, attributes.get(shard))
    })
  return reader
}

const observed = observe()
const own = produce({ gauge: fillGauge(SHARDS), lagSeconds: false })
const [observedMillis, ownMillis] = await takeTurns(
  () => collect(observed, FOLLOWERS),
  () => collect(own, FOLLOWERS),
)
report(
  ratio('collection by ObservableGauge : by producer', observedMillis, ownMillis, { atLeast: 20 }),
)
