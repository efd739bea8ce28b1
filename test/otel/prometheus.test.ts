import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
} from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished } from 'vitest'
import { importProgram } from '../docs/pages.js'
import { ATTACHMENTS, provide, reportTo } from '../support/attachments.js'
import { ODD_NAMES } from '../support/bad-input.js'
import { parsePrometheusText, serveMetrics } from '../support/http.js'

const METRIC = 'replication_lag_seqno'

/** Serves a lag map at /metrics. */
async function serve(way: (typeof ATTACHMENTS)[number]['name'], gauge: ReplicationLagGauge) {
  const exporter = reportTo(
    way,
    { gauge, positions: true },
    (options) => new PrometheusExporter({ preventServerStart: true, ...options }),
  )
  const endpoint = await serveMetrics(exporter)
  onTestFinished(() => endpoint.close())
  return endpoint
}

describe.each(ATTACHMENTS)('/metrics through $name', ({ name: way }) => {
  it('shows each metric under its name, with help, type and labels', async () => {
    const gauge = new ReplicationLagGauge()
    const endpoint = await serve(way, gauge)
    gauge.updateLeaderSeqno('orders', 100)
    gauge.updateAppliedSeqno('orders', 90)
    gauge.updateLeaderSeqno('users', 7)
    gauge.updateAppliedSeqno('users', 3, 'r1')
    const text = await endpoint.scrape()
    const { find, value } = parsePrometheusText(text)
    expect(text).toContain(`# TYPE ${METRIC} gauge\n`)
    expect(text).toContain(
      `# HELP ${METRIC} How far a follower is behind its leader: leader seqno minus applied seqno.\n`,
    )
    expect(find(METRIC)).toHaveLength(2)
    expect(value(METRIC, { shard: 'orders' })).toBe(10)
    expect(value(METRIC, { shard: 'users', replica: 'r1' })).toBe(4)
    expect(value('replication_leader_seqno', { shard: 'orders' })).toBe(100)
    expect(value('replication_applied_seqno', { shard: 'users', replica: 'r1' })).toBe(3)
  })

  it('shows the largest and the smallest lag exactly, and the largest position as a double', async () => {
    const gauge = new ReplicationLagGauge()
    const endpoint = await serve(way, gauge)
    gauge.updateLeaderSeqno('far', 2n ** 64n - 1n)
    gauge.updateAppliedSeqno('far', 0)
    gauge.updateLeaderSeqno('ahead', 0)
    gauge.updateAppliedSeqno('ahead', 2n ** 64n - 1n)
    const text = await endpoint.scrape()
    expect(text).toMatch(/^replication_lag_seqno\{shard="far".*\} 9007199254740991( |$)/m)
    expect(text).toMatch(/^replication_lag_seqno\{shard="ahead".*\} -9007199254740991( |$)/m)
    expect((await endpoint.read()).value('replication_leader_seqno', { shard: 'far' })).toBe(
      2 ** 64,
    )
  })

  // A carriage return and NUL have no escape in the format. They reach Prometheus as they are.
  it.each(ODD_NAMES)('escapes odd names: %s', async (_, name) => {
    const gauge = new ReplicationLagGauge()
    const endpoint = await serve(way, gauge)
    gauge.updateLeaderSeqno(name, 9)
    gauge.updateAppliedSeqno(name, 4, name)
    gauge.updateLeaderSeqno('plain', 1)
    gauge.updateAppliedSeqno('plain', 1)
    const { find, value } = await endpoint.read()
    expect(find(METRIC)).toHaveLength(2)
    expect(value(METRIC, { shard: name, replica: name })).toBe(5)
    expect(value(METRIC, { shard: 'plain' })).toBe(0)
  })
})

const { ForgettingExporter } = (await importProgram(
  'docs/attachments.md',
  'ForgettingExporter',
)) as { ForgettingExporter: typeof PrometheusExporter }

it('an exporter with the override forgets removed followers, and keeps counters', async () => {
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
