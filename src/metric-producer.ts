import type { Attributes, HrTime, ValueType } from '@opentelemetry/api'
import { checkGauge } from './config.js'
import { SCOPE, selectMetrics, type Emit, type Metric, type MetricGroup } from './metrics.js'
import { checkObject, refuseUnknown } from './option-errors.js'
import type { ReplicationLagGauge } from './replication-lag-gauge.js'
import { resolveReport, type ReportOptions } from './report-options.js'

/** One point of a gauge, as the SDK has it. */
export interface GaugePoint {
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly attributes: Attributes
  readonly value: number
}

/** A gauge with its points, as the SDK has it. */
export interface GaugeData {
  readonly descriptor: {
    readonly name: string
    readonly description: string
    readonly unit: string
    readonly valueType: ValueType
    readonly type: 'OBSERVABLE_GAUGE'
    readonly advice: object
  }
  /** The SDK's AggregationTemporality.CUMULATIVE. A gauge is exported without one. */
  readonly aggregationTemporality: 1
  /** The SDK's DataPointType.GAUGE. */
  readonly dataPointType: 2
  readonly dataPoints: GaugePoint[]
}

/** What the SDK expects of a collection. */
export interface ProducedMetrics {
  readonly resourceMetrics: {
    readonly resource: typeof NO_RESOURCE
    scopeMetrics: { scope: { name: string; version: string }; metrics: GaugeData[] }[]
  }
  /** What went wrong: the first error of each kind of metric, which are without the points that it came from. */
  errors: unknown[]
}

/** A reader takes the resource of its SDK; the one of a producer is not looked at. */
const NO_RESOURCE = Object.freeze({
  attributes: Object.freeze({}),
  merge: <Other>(other: Other) => (other ?? NO_RESOURCE) as NonNullable<Other>,
  getRawAttributes: (): [] => [],
})

/** Options of {@link ReplicationLagMetricProducer}. */
export type ReplicationLagMetricProducerOptions = ReportOptions

/**
 * Reports the followers in a lag map as a MetricProducer: for fleets that are large or change.
 *
 * Give it to a reader: `new PrometheusExporter({ metricProducers: [producer] })`, or the `metricProducers` of a
 * PeriodicExportingMetricReader. The metrics are the same as those of {@link ReplicationLagInstrumentation}, but a removed
 * follower is gone at the next collection, there is no limit to the number of series, and nothing is kept between
 * collections. Never give one reader both: it would report every follower twice. (An instrumentation that polls sources
 * for a producer has `observableGauges: false`.)
 */
export class ReplicationLagMetricProducer {
  readonly #gauge: ReplicationLagGauge
  readonly #groups: readonly MetricGroup[]

  /** @throws TypeError that names what cannot work, and says what was expected. */
  constructor(gauge: ReplicationLagGauge, options: ReplicationLagMetricProducerOptions = {}) {
    checkGauge(gauge)
    checkObject('options', options)
    const { lagSeconds, sampleIntervalMillis, positions, ...unknown } = options
    refuseUnknown(unknown)
    const report = resolveReport({ lagSeconds, sampleIntervalMillis, positions })
    this.#gauge = gauge
    this.#groups = selectMetrics({ ...report, health: true })
    if (!report.lagSeconds) return
    gauge.sampler.start(this, {
      intervalMillis: report.sampleIntervalMillis,
      withUnseen: !report.positions,
    })
  }

  /** Collects every follower now. Never rejects: an error is among the result's `errors`. */
  collect(): Promise<ProducedMetrics> {
    const errors: unknown[] = []
    const metrics: GaugeData[] = []
    const time = now()
    this.#gauge.attachments.asked('producer')
    for (const group of this.#groups) {
      const gauges = group.metrics.map(gaugeData)
      try {
        group.collect(this.#gauge, ...gauges.map(({ dataPoints }) => pointsInto(dataPoints, time)))
      } catch (error) {
        // With the points of those that it did not come from.
        errors.push(error)
      }
      metrics.push(...gauges.filter(({ dataPoints }) => dataPoints.length > 0))
    }
    const scopeMetrics = metrics.length > 0 ? [{ scope: { ...SCOPE }, metrics }] : []
    return Promise.resolve({ resourceMetrics: { resource: NO_RESOURCE, scopeMetrics }, errors })
  }
}

function gaugeData({ name, description, unit, valueType }: Metric): GaugeData {
  return {
    descriptor: { name, description, unit, valueType, type: 'OBSERVABLE_GAUGE', advice: {} },
    aggregationTemporality: 1,
    dataPointType: 2,
    dataPoints: [],
  }
}

function pointsInto(dataPoints: GaugePoint[], time: HrTime): Emit {
  return (value, attributes) => {
    dataPoints.push({ startTime: time, endTime: time, attributes, value })
  }
}

/** The time of the collection, in seconds and nanoseconds since 1970. */
function now(): HrTime {
  const millis = Date.now()
  const seconds = Math.trunc(millis / 1000)
  return [seconds, (millis - seconds * 1000) * 1e6]
}
