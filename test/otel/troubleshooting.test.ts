import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import {
  createDenyListAttributesProcessor,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished } from 'vitest'
import { provide } from '../support/attachments.js'
import { recordDiag } from '../support/diag.js'
import { serveMetrics } from '../support/prometheus.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'

// docs/troubleshooting.md has these symptoms.

const METRIC = 'replication_lag_seqno'

function twoFollowers(): ReplicationLagGauge {
  const gauge = new ReplicationLagGauge()
  gauge.updateLeaderSeqno('orders', 100)
  gauge.updateAppliedSeqno('orders', 90, 'r1')
  gauge.updateAppliedSeqno('orders', 100, 'r2')
  return gauge
}

/** Exports once to an address. Returns what the SDK says about it. */
async function exportTo(url: string): Promise<string> {
  const logged = recordDiag()
  onTestFinished(() => logged.stop())
  const producer = new ReplicationLagMetricProducer({ gauge: twoFollowers() })
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ url, timeoutMillis: 500 }),
    metricProducers: [producer],
  })
  provide(reader)
  const failure = await reader.forceFlush().then(
    () => '',
    (error: unknown) => String(error),
  )
  // The application continues.
  producer.gauge.updateLeaderSeqno('orders', 101)
  expect(producer.gauge.lagSeqno('orders', 'r1')).toBe(11)
  return [failure, ...logged.messages].join('\n')
}

describe('an export that fails is an error of the SDK, and the service goes on', () => {
  it('with TLS where the Collector has none', async () => {
    const receiver = await startOtlpReceiver()
    onTestFinished(() => receiver.close())
    const url = receiver.url.replace('http:', 'https:')
    expect(await exportTo(url)).toMatch(/EPROTO|SSL|wrong version number|timed out|timeout/i)
  })
})

it('a View that drops the attribute replica leaves one series, and the producer does not know Views', async () => {
  const gauge = twoFollowers()
  const views = [
    {
      instrumentName: METRIC,
      attributesProcessors: [createDenyListAttributesProcessor(['replica'])],
    },
  ]
  const serve = async (exporter: PrometheusExporter) => {
    const endpoint = await serveMetrics(exporter)
    onTestFinished(() => endpoint.close())
    return (await endpoint.read()).find(METRIC)
  }
  const exporter = new PrometheusExporter({ preventServerStart: true })
  const instrumentation = new ReplicationLagInstrumentation({ gauge })
  instrumentation.setMeterProvider(new MeterProvider({ views, readers: [exporter] }))
  onTestFinished(() => instrumentation.disable())
  expect(await serve(exporter)).toHaveLength(1)

  const metricProducers = [new ReplicationLagMetricProducer({ gauge })]
  const other = new PrometheusExporter({ preventServerStart: true, metricProducers })
  new MeterProvider({ views, readers: [other] })
  expect(await serve(other)).toHaveLength(2)
})

it('both attachments on one reader report every follower twice', async () => {
  const gauge = twoFollowers()
  const metricProducers = [new ReplicationLagMetricProducer({ gauge })]
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ url: receiver.url }),
    metricProducers,
  })
  const instrumentation = new ReplicationLagInstrumentation({ gauge })
  instrumentation.setMeterProvider(provide(reader))
  onTestFinished(() => instrumentation.disable())
  await reader.forceFlush()
  expect(receiver.points(METRIC)).toHaveLength(4)
})
