import type { HrTime } from '@opentelemetry/api'
import type { FollowerId } from './follower.js'
import { LAG_SEQNO, SCOPE, type MetricDefinition } from './metrics.js'
import { optionError } from './option-errors.js'
import type { ReplicationLagGauge } from './replication-lag-gauge.js'
import { lagBetween } from './seqno.js'

/** One point of a gauge, as the SDK has it. */
export interface GaugePoint {
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly attributes: FollowerId
  readonly value: number
}

/** A gauge with its points, as the SDK has it. */
export interface GaugeData {
  readonly descriptor: MetricDefinition & {
    readonly type: 'OBSERVABLE_GAUGE'
    readonly advice: object
  }
  /** The SDK's AggregationTemporality.CUMULATIVE, which is what it gives a gauge. */
  readonly aggregationTemporality: 1
  /** The SDK's DataPointType.GAUGE. */
  readonly dataPointType: 2
  dataPoints: GaugePoint[]
}

/** What the SDK expects of a collection. */
export interface ProducedMetrics {
  readonly resourceMetrics: {
    readonly resource: typeof NO_RESOURCE
    scopeMetrics: { scope: { name: string; version: string }; metrics: GaugeData[] }[]
  }
  /** What went wrong; the metrics are without what could not be collected then. */
  errors: unknown[]
}

/** A reader takes the resource of its SDK; the one of a producer is not looked at. */
const NO_RESOURCE = {
  attributes: {},
  merge: <Other>(other: Other) => (other ?? NO_RESOURCE) as NonNullable<Other>,
  getRawAttributes: (): [] => [],
}

/**
 * Reports `replication_lag_seqno` of every follower in a lag map as a MetricProducer: for fleets that are large or change.
 *
 * Give it to a reader: `new PrometheusExporter({ metricProducers: [producer] })`, or the `metricProducers` of a
 * PeriodicExportingMetricReader. The metric is the same as that of {@link ReplicationLagInstrumentation}, but a removed
 * follower is gone at the next collection, there is no limit to the number of series, and nothing is kept between
 * collections. Never give one reader both: it would report every follower twice.
 */
export class ReplicationLagMetricProducer {
  readonly #gauge: ReplicationLagGauge

  /** @throws TypeError if `gauge` is no ReplicationLagGauge. */
  constructor(gauge: ReplicationLagGauge) {
    // Not instanceof: a program may hold the ESM and the CommonJS build of this package at the same time.
    if (
      typeof (gauge as Partial<ReplicationLagGauge> | null | undefined)?.forEachFollower !==
      'function'
    ) {
      throw optionError('gauge', 'a ReplicationLagGauge', gauge)
    }
    this.#gauge = gauge
  }

  /** Collects every follower now. Never rejects: an error is among the result's `errors`. */
  collect(): Promise<ProducedMetrics> {
    const dataPoints: GaugePoint[] = []
    const errors: unknown[] = []
    const time = now()
    try {
      this.#gauge.forEachFollower((attributes, leaderSeqno, appliedSeqno) => {
        const value = lagBetween(leaderSeqno, appliedSeqno ?? 0n)
        dataPoints.push({ startTime: time, endTime: time, attributes, value })
      })
    } catch (error) {
      errors.push(error)
    }
    const metrics = dataPoints.length > 0 ? [gaugeData(LAG_SEQNO, dataPoints)] : []
    const scopeMetrics = metrics.length > 0 ? [{ scope: { ...SCOPE }, metrics }] : []
    return Promise.resolve({ resourceMetrics: { resource: NO_RESOURCE, scopeMetrics }, errors })
  }
}

function gaugeData(definition: MetricDefinition, dataPoints: GaugePoint[]): GaugeData {
  return {
    descriptor: { ...definition, type: 'OBSERVABLE_GAUGE', advice: {} },
    aggregationTemporality: 1,
    dataPointType: 2,
    dataPoints,
  }
}

/** The time of the collection, in seconds and nanoseconds since 1970. */
function now(): HrTime {
  const millis = Date.now()
  const seconds = Math.trunc(millis / 1000)
  return [seconds, (millis - seconds * 1000) * 1e6]
}
