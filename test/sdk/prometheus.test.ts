import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { ReplicationLagInstrumentation } from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ODD_NAMES } from '../support/bad-input.js'
import { serveMetrics, type MetricsEndpoint } from '../support/prometheus.js'

let instrumentation: ReplicationLagInstrumentation
let provider: MeterProvider
let endpoint: MetricsEndpoint
beforeEach(async () => {
  const exporter = new PrometheusExporter({ preventServerStart: true })
  provider = new MeterProvider({ readers: [exporter] })
  instrumentation = new ReplicationLagInstrumentation()
  instrumentation.setMeterProvider(provider)
  endpoint = await serveMetrics(exporter)
})
afterEach(async () => {
  instrumentation.disable()
  await endpoint.close()
  await provider.shutdown()
})

const METRIC = 'replication_lag_seqno'

it('/metrics shows the gauge under its name, with help, type and labels', async () => {
  instrumentation.gauge.updateLeaderSeqno('orders', 100)
  instrumentation.gauge.updateLeaderSeqno('users', 7)
  instrumentation.gauge.updateAppliedSeqno('users', 3, 'r1')
  const text = await endpoint.scrape()
  expect(text).toContain(`# TYPE ${METRIC} gauge\n`)
  expect(text).toContain(`# HELP ${METRIC} How far a follower is behind its leader`)
  const exposition = await endpoint.read()
  expect(exposition.value(METRIC, { shard: 'orders' })).toBe(100)
  expect(exposition.value(METRIC, { shard: 'users', replica: 'r1' })).toBe(4)
  expect(exposition.find(METRIC)).toHaveLength(2)
})

it('/metrics shows the largest and the smallest lag exactly', async () => {
  instrumentation.gauge.updateLeaderSeqno('far', 2n ** 64n - 1n)
  instrumentation.gauge.updateLeaderSeqno('ahead', 0)
  instrumentation.gauge.updateAppliedSeqno('ahead', 2n ** 64n - 1n)
  const text = await endpoint.scrape()
  expect(text).toMatch(/shard="far".*\} 9007199254740991( |\n)/)
  expect(text).toMatch(/shard="ahead".*\} -9007199254740991( |\n)/)
})

// A carriage return and NUL have no escape in the format: they reach Prometheus as they are.
it.each(ODD_NAMES)('/metrics escapes odd names so that they are read back: %s', async (_, name) => {
  instrumentation.gauge.updateLeaderSeqno(name, 9)
  instrumentation.gauge.updateAppliedSeqno(name, 4, name)
  instrumentation.gauge.updateLeaderSeqno('plain', 1)
  const exposition = await endpoint.read()
  expect(exposition.value(METRIC, { shard: name, replica: name })).toBe(5)
  expect(exposition.value(METRIC, { shard: 'plain' })).toBe(1)
})

it('two scrapes at once get the same answer', async () => {
  instrumentation.gauge.updateLeaderSeqno('a', 5)
  const scrapes = await Promise.all([endpoint.read(), endpoint.read(), endpoint.read()])
  expect(scrapes.map((exposition) => exposition.value(METRIC, { shard: 'a' }))).toEqual([5, 5, 5])
})
