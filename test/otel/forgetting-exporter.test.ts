import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, onTestFinished, test } from 'vitest'
import type { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { provide } from '../support/attachments.js'
import { importProgram } from '../docs/page-programs.js'
import { serveMetrics } from '../support/prometheus.js'

const { ForgettingExporter } = (await importProgram(
  'docs/attachments.md',
  'ForgettingExporter',
)) as { ForgettingExporter: typeof PrometheusExporter }

test('an exporter with the override forgets removed followers, and keeps counters', async () => {
  const exporter = new ForgettingExporter({ preventServerStart: true })
  const provider = provide(exporter)
  const counter = provider.getMeter('app').createCounter('requests')
  counter.add(7)
  const gauge = new ReplicationLagGauge()
  const instrumentation = new ReplicationLagInstrumentation({ gauge })
  instrumentation.setMeterProvider(provider)
  onTestFinished(() => instrumentation.disable())
  gauge.updateLeaderSeqno('orders', 3)
  for (const replica of ['a', 'b']) gauge.updateAppliedSeqno('orders', 1, replica)
  const endpoint = await serveMetrics(exporter)
  onTestFinished(() => endpoint.close())
  expect((await endpoint.read()).find('replication_lag_seqno')).toHaveLength(2)
  gauge.remove('orders', 'a')
  counter.add(1)
  const { find, value } = await endpoint.read()
  expect(find('replication_lag_seqno')).toMatchObject([{ labels: { replica: 'b' }, value: 2 }])
  expect(value('requests_total')).toBe(8)
})
