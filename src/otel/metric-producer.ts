import type { Attributes, HrTime } from '@opentelemetry/api'
import type { ReplicationLagGauge } from '../lag-map/replication-lag-gauge.js'
import type { ReplicationSource } from '../sources/source.js'
import { describeError, OncePerSubject } from '../support/log.js'
import { readMetrics, SCOPE, selectMetrics, type Descriptor, type Metric } from './metrics.js'
import {
  resolveOptions,
  start,
  type ReplicationLagOptions,
  type ResolvedOptions,
} from './options.js'

/** One point of a gauge, in the SDK's format. */
interface GaugePoint {
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly attributes: Attributes
  readonly value: number
}

/** A gauge with its points, in the SDK's format. */
interface GaugeData {
  readonly descriptor: Descriptor & { readonly type: 'OBSERVABLE_GAUGE'; readonly advice: object }
  /** The SDK's AggregationTemporality.CUMULATIVE. A gauge is exported without one. */
  readonly aggregationTemporality: 1
  /** The SDK's DataPointType.GAUGE. */
  readonly dataPointType: 2
  readonly dataPoints: GaugePoint[]
}

/** What the SDK expects of a collection. */
interface ProducedMetrics {
  readonly resourceMetrics: {
    readonly resource: typeof NO_RESOURCE
    scopeMetrics: { scope: { name: string; version: string }; metrics: GaugeData[] }[]
  }
  /** The error that ended the collection early. The metrics are what was collected before it. */
  errors: unknown[]
}

/** Readers ignore the resource of a producer and use that of their SDK. */
const NO_RESOURCE = Object.freeze({
  attributes: Object.freeze({}),
  merge: <Other>(other: Other) => (other ?? NO_RESOURCE) as NonNullable<Other>,
  getRawAttributes: (): [] => [],
})

/**
 * Reports every follower in a lag map as an OpenTelemetry `MetricProducer`: give it to a reader, as in
 * `new PrometheusExporter({ metricProducers: [producer] })`, or in the `metricProducers` of a PeriodicExportingMetricReader.
 *
 * The metrics are those of {@link ReplicationLagInstrumentation}. Unlike there, a removed follower disappears at the next
 * collection, the number of series is not limited, and nothing is kept between collections. Do not give one reader both: it
 * would report every follower twice.
 */
export class ReplicationLagMetricProducer {
  private readonly options: ResolvedOptions
  private readonly metrics: readonly Metric[]
  private readonly warnings = new OncePerSubject()

  /**
   * Starts polling the sources, unless the environment variable `OTEL_SDK_DISABLED` is `true`.
   * @throws TypeError that names the option that is invalid and what was expected.
   */
  constructor(options: ReplicationLagOptions = {}) {
    this.options = resolveOptions('ReplicationLagMetricProducer', options)
    this.metrics = selectMetrics(this.options.report)
    start(this.options)
  }

  /** The lag map that is reported. */
  get gauge(): ReplicationLagGauge {
    return this.options.gauge
  }

  /**
   * Adds a source to poll. It is read immediately.
   * @throws TypeError if it is not a source, or if another source of the gauge has its name.
   */
  addSource(source: ReplicationSource): void {
    this.options.poller.add(source)
  }

  /** Removes a source and everything it reported. Returns whether there was one with this name. */
  removeSource(name: string): boolean {
    return this.options.poller.remove(name)
  }

  /** Collects every follower. Never rejects: an error is logged once and is in `errors` of the result. */
  collect(): Promise<ProducedMetrics> {
    const errors: unknown[] = []
    const metrics: GaugeData[] = []
    const millis = Date.now()
    const time: HrTime = [Math.trunc(millis / 1000), (millis % 1000) * 1e6]
    try {
      readMetrics(this.gauge, this.metrics, this.options.report, (metric) => {
        const { name, description, unit, valueType } = metric
        const type = 'OBSERVABLE_GAUGE'
        const descriptor = { name, description, unit, valueType, type, advice: {} } as const
        const dataPoints: GaugePoint[] = []
        metrics.push({ descriptor, aggregationTemporality: 1, dataPointType: 2, dataPoints })
        return (value, attributes) => {
          dataPoints.push({ startTime: time, endTime: time, attributes, value })
        }
      })
    } catch (error) {
      errors.push(error)
      // No exporter logs the errors of a producer.
      this.warnings.warn('collect', () => `cannot collect: ${describeError(error)} (logged once)`)
    }
    const reported = metrics.filter(({ dataPoints }) => dataPoints.length > 0)
    const scopeMetrics = reported.length > 0 ? [{ scope: { ...SCOPE }, metrics: reported }] : []
    return Promise.resolve({ resourceMetrics: { resource: NO_RESOURCE, scopeMetrics }, errors })
  }

  /** Stops polling. What the sources have reported is no longer reported. */
  shutdown(): Promise<void> {
    this.options.poller.stop()
    return Promise.resolve()
  }
}
