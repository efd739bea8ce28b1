import { ValueType } from '@opentelemetry/api'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { ReplicationLagInstrumentation } from 'opentelemetry-instrumentation-replication-lag'
import { BenchReader } from './bench-reader.mjs'
import { median, medianRatio } from './statistics.mjs'

// One process of collect.mjs: prints its figures as JSON. Its argument: shards.

const METRIC = 'replication_lag_seqno'
const SHARDS = Number(process.argv[2])
const WARM_UP_ROUNDS = 200
const ROUNDS = 600

/**
 * Something to collect a point a shard from.
 *
 * @typedef {object} Subject
 * @property {BenchReader} reader
 * @property {() => void} update gives every shard a lag that it did not have before
 */

/**
 * @param {readonly string[]} shards
 * @returns {Subject}
 */
function instrumentation(shards) {
  const reader = new BenchReader()
  // One series a shard, as the peer has.
  const instrumentation = new ReplicationLagInstrumentation({ lagSeconds: false })
  instrumentation.setMeterProvider(new MeterProvider({ readers: [reader] }))
  const { gauge } = instrumentation
  let leaderSeqno = 2n ** 40n
  for (const shard of shards) gauge.updateAppliedSeqno(shard, leaderSeqno)
  const update = () => {
    leaderSeqno++
    for (const shard of shards) gauge.updateLeaderSeqno(shard, leaderSeqno)
  }
  return { reader, update }
}

/**
 * @param {readonly string[]} shards
 * @param {(shard: string) => { shard: string } | undefined} attributes
 * @returns {Subject}
 */
function bareGauge(shards, attributes) {
  const reader = new BenchReader()
  const meter = new MeterProvider({ readers: [reader] }).getMeter('bench')
  /** @type {Map<string, number>} */
  const lags = new Map()
  meter
    .createObservableGauge(METRIC, { unit: '{seqno}', valueType: ValueType.INT })
    .addCallback((result) => {
      for (const [shard, lag] of lags) result.observe(lag, attributes(shard))
    })
  let lag = 0
  const update = () => {
    lag++
    for (const shard of shards) lags.set(shard, lag)
  }
  return { reader, update }
}

/**
 * Collects from each once a round, in an order that turns from round to round.
 *
 * @param {readonly Subject[]} subjects
 * @returns {Promise<(subject: Subject) => number[]>} the milliseconds of each round
 */
async function collectInTurn(subjects) {
  /** @type {Map<Subject, number[]>} */
  const millis = new Map(subjects.map((subject) => [subject, []]))
  const turn = [...millis]
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    turn.push(...turn.splice(0, 1))
    for (const [{ reader, update }, figures] of turn) {
      update()
      const startedAt = performance.now()
      const { resourceMetrics, errors } = await reader.collect()
      const took = performance.now() - startedAt
      if (errors.length > 0) throw new AggregateError(errors, 'collection failed')
      const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
      const points = metrics.flatMap(({ dataPoints }) => /** @type {unknown[]} */ (dataPoints))
      if (points.length !== SHARDS)
        throw new Error(`expected ${SHARDS} points of ${METRIC} alone, got ${points.length}`)
      if (round >= WARM_UP_ROUNDS) figures.push(took)
    }
  }
  return (subject) => millis.get(subject) ?? []
}

const shards = Array.from({ length: SHARDS }, (_, i) => `shard-${i}`)
const attributesOf = new Map(shards.map((shard) => [shard, { shard }]))
const own = instrumentation(shards)
const kept = bareGauge(shards, (shard) => attributesOf.get(shard))
const fresh = bareGauge(shards, (shard) => ({ shard }))
const millis = await collectInTurn([own, kept, fresh])

/** @type {import('./collect.mjs').Figures} */
const figures = {
  millis: median(millis(own)),
  kept: { millis: median(millis(kept)), ratio: medianRatio(millis(own), millis(kept)) },
  fresh: { millis: median(millis(fresh)), ratio: medianRatio(millis(own), millis(fresh)) },
}
console.log(JSON.stringify(figures))
