import type { MeterProvider as ApiMeterProvider, TracerProvider } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { registerInstrumentations, type Instrumentation } from '@opentelemetry/instrumentation'
import type { InMemoryMetricExporter } from '@opentelemetry/sdk-metrics'
import {
  MeterProvider,
  PeriodicExportingMetricReader,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'

// Checked with each SDK version, by `npm run check` and types.slow.test.ts. It never runs.

/** The SDK accepts the instrumentation. */
export function instrument(api: ApiMeterProvider, tracers: TracerProvider): Instrumentation {
  const instrumentation = new ReplicationLagInstrumentation()
  registerInstrumentations({ instrumentations: [instrumentation] })
  registerInstrumentations({ instrumentations: [[instrumentation]], meterProvider: api })
  new NodeSDK({ instrumentations: [instrumentation] }).start()
  instrumentation.setMeterProvider(new MeterProvider())
  instrumentation.setMeterProvider(api)

  // As the SDK calls it.
  const asInstrumentation: Instrumentation = instrumentation
  asInstrumentation.setTracerProvider(tracers)
  asInstrumentation.setConfig({ enabled: false })
  asInstrumentation.setConfig({ ...asInstrumentation.getConfig(), enabled: true })
  return asInstrumentation
}

/** The SDK accepts the producer. */
export function produce(exporter: InMemoryMetricExporter): Promise<void> {
  const producer = new ReplicationLagMetricProducer({ gauge: new ReplicationLagGauge() })
  const metricProducers: MetricProducer[] = [producer]
  const prometheus = new PrometheusExporter({ metricProducers: [producer] })
  const periodic = new PeriodicExportingMetricReader({ exporter, metricProducers })
  new NodeSDK({ metricReaders: [prometheus, periodic] }).start()
  return producer.shutdown()
}
