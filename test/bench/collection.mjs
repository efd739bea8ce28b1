import { setTimeout as sleep } from 'node:timers/promises'
import { ValueType } from '@opentelemetry/api'
import { AggregationType, MeterProvider } from '@opentelemetry/sdk-metrics'
import { BenchReader, collect, fillGauge, FOLLOWERS, produce, SHARDS, START } from './fleet.mjs'
import { ratio, report, takeTurns } from './measure.mjs'

// A collection by the metric producer, next to an ObservableGauge, and of followers that come from a source.

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

const reading = {
  shards: SHARDS.map((shard) => {
    return { shard, leaderSeqno: START, followers: [{ appliedSeqno: START }] }
  }),
}
const source = { name: 'fleet', read: () => Promise.resolve(reading) }
const NEVER_MILLIS = 2 ** 31 - 1

const observed = observe()
const own = produce({ gauge: fillGauge(SHARDS), lagSeconds: false })
const ownBoth = produce({ gauge: fillGauge(SHARDS) })
const polled = produce({ sources: [source], pollIntervalMillis: NEVER_MILLIS, lagSeconds: false })
// Until the source has been read.
await sleep(1000)
const [observedMillis, ownMillis] = await takeTurns(
  () => collect(observed, FOLLOWERS),
  () => collect(own, FOLLOWERS),
)
const [polledMillis, ownBothMillis] = await takeTurns(
  // With whether each follower is connected, and two points of the source.
  () => collect(polled, 2 * FOLLOWERS + 2),
  // As many points: with the lag in seconds, which is 0.
  () => collect(ownBoth, 2 * FOLLOWERS),
)

report(
  ratio('collection by ObservableGauge : by producer', observedMillis, ownMillis, { atLeast: 20 }),
  ratio(
    'collection of followers from a source : from the application',
    polledMillis,
    ownBothMillis,
    {
      atMost: 1.25,
    },
  ),
)
