import {
  AggregationTemporality,
  MeterProvider,
  type IMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  ReplicationLagGauge,
  type ReplicationLagOptions,
} from 'opentelemetry-instrumentation-replication-lag'
import { onTestFinished } from 'vitest'
import { TestReader } from './test-reader.js'

/** A lag map, and a reader that collects its metrics. */
export interface Attachment {
  readonly gauge: ReplicationLagGauge
  readonly reader: TestReader
}

/** The two ways from a lag map to a reader, for tests that hold for both. Each ends with its test. */
export const ATTACHMENTS = [
  { name: 'ReplicationLagInstrumentation', attach: attachInstrumentation },
  { name: 'ReplicationLagMetricProducer', attach: attachProducer },
] as const

/**
 * Reports a lag map to a reader, which `create` makes, until the end of the test.
 * @param way the name of one of {@link ATTACHMENTS}.
 */
export function reportTo<Reader extends IMetricReader>(
  way: (typeof ATTACHMENTS)[number]['name'],
  options: ReplicationLagOptions,
  create: (options: { metricProducers: ReplicationLagMetricProducer[] }) => Reader,
): Reader {
  if (way === 'ReplicationLagMetricProducer') {
    const producer = new ReplicationLagMetricProducer(options)
    onTestFinished(() => producer.shutdown())
    const reader = create({ metricProducers: [producer] })
    provide(reader)
    return reader
  }
  const reader = create({ metricProducers: [] })
  const instrumentation = new ReplicationLagInstrumentation(options)
  instrumentation.setMeterProvider(provide(reader))
  onTestFinished(() => instrumentation.disable())
  return reader
}

export function attachInstrumentation(options: ReplicationLagOptions = {}): Attachment {
  const gauge = options.gauge ?? new ReplicationLagGauge()
  // A cumulative reader of the SDK also reports what was observed in earlier collections only.
  const aggregationTemporalitySelector = () => AggregationTemporality.DELTA
  const create = () => new TestReader({ aggregationTemporalitySelector })
  return { gauge, reader: reportTo('ReplicationLagInstrumentation', { ...options, gauge }, create) }
}

export function attachProducer(options: ReplicationLagOptions = {}): Attachment {
  const gauge = options.gauge ?? new ReplicationLagGauge()
  const create = (readerOptions: object) => new TestReader(readerOptions)
  return { gauge, reader: reportTo('ReplicationLagMetricProducer', { ...options, gauge }, create) }
}

/** A meter provider with these readers, until the end of the test. */
export function provide(...readers: IMetricReader[]): MeterProvider {
  const provider = new MeterProvider({ readers })
  onTestFinished(() => provider.shutdown())
  return provider
}

/** Creates a lag map of another version of this package: it looks like one, and cannot be collected. */
export function createForeignGauge(): ReplicationLagGauge {
  const methods = ['updateLeaderSeqno', 'collectMetrics', 'lagSeconds', 'subscribe']
  const gauge = Object.fromEntries(methods.map((method) => [method, () => undefined]))
  return gauge as unknown as ReplicationLagGauge
}
