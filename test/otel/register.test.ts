import { metrics, type Meter, type MeterProvider } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import type { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { provide } from '../support/attachments.js'
import { eventually } from '../support/eventually.js'
import { listen, serveMetrics } from '../support/http.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'
import { setUpRegister } from '../support/register.js'

// What `register` does to the readers of an SDK that it did not start.

const METRIC = 'replication_lag_seqno'

const { logged, register: load } = setUpRegister()

/** Loads the module, as a process does that starts with it. Returns the lag map. */
async function register(env: Record<string, string> = {}): Promise<ReplicationLagGauge> {
  const sources = 'registry=etcd+http://127.0.0.1:1'
  const { instrumentation } = await load({ REPLICATION_LAG_SOURCES: sources, ...env })
  if (!instrumentation) throw new Error('nothing is registered')
  const { gauge } = instrumentation
  for (const replica of ['a', 'b']) gauge.updateAppliedSeqno('own', 1, replica)
  gauge.updateLeaderSeqno('own', 3)
  return gauge
}

async function serve(exporter: PrometheusExporter) {
  const endpoint = await serveMetrics(exporter)
  onTestFinished(() => endpoint.close())
  return async () => {
    const replicas = (await endpoint.read()).find(METRIC).map(({ labels }) => labels['replica'])
    return replicas.sort()
  }
}

/** Adds metrics of the application, of which it stops observing one series. */
function addOwnMetrics(meter: Meter) {
  const observed = new Set(['x', 'y'])
  meter.createObservableGauge('temperature').addCallback((result) => {
    for (const room of observed) result.observe(20, { room })
  })
  meter.createCounter('requests').add(7, { route: '/' })
  return { observed }
}

test('a follower that was removed is gone at the next scrape, and counters stay as they are', async () => {
  const exporter = new PrometheusExporter({ preventServerStart: true })
  const provider = provide(exporter)
  const { observed } = addOwnMetrics(provider.getMeter('app'))
  const gauge = await register()
  metrics.setGlobalMeterProvider(provider)
  const endpoint = await serveMetrics(exporter)
  onTestFinished(() => endpoint.close())
  await eventually(async () => expect((await endpoint.read()).find(METRIC)).toHaveLength(2))
  provider.getMeter('app').createCounter('late').add(3)
  gauge.remove('own', 'a')
  observed.delete('x')
  for (let scrape = 0; scrape < 2; scrape++) {
    const { find, value } = await endpoint.read()
    expect(find(METRIC).map(({ labels }) => labels['replica'])).toEqual(['b'])
    expect(value('requests_total', { route: '/' })).toBe(7)
    expect(value('late_total')).toBe(3)
  }
})

test('a follower that was removed is gone at the next export by OTLP', async () => {
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ url: receiver.url }),
  })
  const provider = provide(reader)
  addOwnMetrics(provider.getMeter('app'))
  const gauge = await register()
  metrics.setGlobalMeterProvider(provider)
  const exported = async () => {
    const before = receiver.points(METRIC).length
    await reader.forceFlush()
    return receiver.points(METRIC).slice(before)
  }
  await eventually(async () => expect(await exported()).toHaveLength(2))
  gauge.remove('own', 'a')
  expect(await exported()).toMatchObject([{ attributes: { replica: 'b' }, value: 2 }])
  expect(receiver.points('requests').at(-1)).toMatchObject({ value: 7 })
})

test('the readers of the next SDK forget too', async () => {
  const gauge = await register()
  for (let round = 0; round < 2; round++) {
    gauge.updateAppliedSeqno('own', 1, 'a')
    const exporter = new PrometheusExporter({ preventServerStart: true })
    const provider = provide(exporter)
    metrics.setGlobalMeterProvider(provider)
    const replicas = await serve(exporter)
    await eventually(async () => expect(await replicas()).toEqual(['a', 'b']))
    gauge.remove('own', 'a')
    expect(await replicas()).toEqual(['b'])
    await provider.shutdown()
    metrics.disable()
  }
})

test('REPLICATION_LAG_KEEP_SERIES=true leaves the readers as they are', async () => {
  const exporter = new PrometheusExporter({ preventServerStart: true })
  const gauge = await register({ REPLICATION_LAG_KEEP_SERIES: 'true' })
  metrics.setGlobalMeterProvider(provide(exporter))
  const replicas = await serve(exporter)
  await eventually(async () => expect(await replicas()).toEqual(['a', 'b']))
  gauge.remove('own', 'a')
  expect(await replicas()).toEqual(['a', 'b'])
})

test.each([
  {},
  { _sharedState: {} },
  { _sharedState: { metricCollectors: [null, {}, { _metricReader: {} }] } },
])('a provider that keeps its readers elsewhere is left alone: %j', async (internals) => {
  const exporter = new PrometheusExporter({ preventServerStart: true })
  const provider = provide(exporter)
  const gauge = await register()
  const other: MeterProvider = {
    getMeter: (...parameters) => provider.getMeter(...parameters),
    ...internals,
  }
  metrics.setGlobalMeterProvider(other)
  const replicas = await serve(exporter)
  await eventually(async () => expect(await replicas()).toEqual(['a', 'b']))
  expect(logged.matching('debug', 'series of removed followers remain')).toHaveLength(1)
  gauge.remove('own', 'a')
  expect(await replicas()).toEqual(['a', 'b'])
})

test('a port that is in use is an error in the log', async () => {
  const taken = await listen((_, response) => response.end('not metrics'))
  onTestFinished(() => taken.close())
  const port = Number(new URL(taken.url).port)
  const exporter = new PrometheusExporter({ host: '127.0.0.1', port })
  await register()
  metrics.setGlobalMeterProvider(provide(exporter))
  await eventually(() => {
    const [message] = logged.matching('error:', 'there is no /metrics: listen EADDRINUSE')
    expect(message).toContain('Set OTEL_EXPORTER_PROMETHEUS_PORT to another port')
  })
})

test('a server that listens, and one that is not wanted, are left alone', async () => {
  const [port, unwanted] = [await freePort(), await freePort()]
  const exporter = new PrometheusExporter({ host: '127.0.0.1', port })
  const other = new PrometheusExporter({
    host: '127.0.0.1',
    port: unwanted,
    preventServerStart: true,
  })
  await register()
  metrics.setGlobalMeterProvider(provide(exporter, other))
  await eventually(async () => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    expect(text).toContain(METRIC)
  })
  await expect(fetch(`http://127.0.0.1:${unwanted}/metrics`)).rejects.toThrow()
  expect(logged.matching('there is no /metrics')).toEqual([])
})
