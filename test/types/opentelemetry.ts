import type { MeterProvider as ApiMeterProvider, TracerProvider } from '@opentelemetry/api'
import { registerInstrumentations, type Instrumentation } from '@opentelemetry/instrumentation'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { ReplicationLagInstrumentation } from 'opentelemetry-instrumentation-replication-lag'

// Checked by types.test.ts, once with each line of the SDK; never run.

export function attach(api: ApiMeterProvider, tracers: TracerProvider): Instrumentation {
  const instrumentation = new ReplicationLagInstrumentation()
  registerInstrumentations({ instrumentations: [instrumentation] })
  registerInstrumentations({ instrumentations: [[instrumentation]], meterProvider: api })
  new NodeSDK({ instrumentations: [instrumentation] }).start()

  const provider = new MeterProvider()
  instrumentation.setMeterProvider(provider)
  instrumentation.setMeterProvider(api)

  // As the SDK calls it.
  const asInstrumentation: Instrumentation = instrumentation
  asInstrumentation.setTracerProvider(tracers)
  asInstrumentation.setConfig({ enabled: false })
  asInstrumentation.setConfig({ ...asInstrumentation.getConfig(), enabled: true })
  return asInstrumentation
}
