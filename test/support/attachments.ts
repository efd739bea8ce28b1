import {
  AggregationTemporality,
  MeterProvider,
  type IMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  type ReplicationLagGauge,
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

export function attachInstrumentation(options: ReplicationLagOptions = {}): Attachment {
  // A cumulative reader of the SDK also reports what was observed in earlier collections only.
  const reader = new TestReader({
    aggregationTemporalitySelector: () => AggregationTemporality.DELTA,
  })
  const instrumentation = new ReplicationLagInstrumentation(options)
  instrumentation.setMeterProvider(provide(reader))
  onTestFinished(() => instrumentation.disable())
  return { gauge: instrumentation.gauge, reader }
}

export function attachProducer(options: ReplicationLagOptions = {}): Attachment {
  const producer = new ReplicationLagMetricProducer(options)
  const reader = new TestReader({ metricProducers: [producer] })
  provide(reader)
  onTestFinished(() => producer.shutdown())
  return { gauge: producer.gauge, reader }
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
