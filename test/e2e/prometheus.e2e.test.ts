import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { join } from 'node:path'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ATTACHMENTS, reportTo } from '../support/attachments.js'
import { ODD_NAMES } from '../support/bad-input.js'
import { eventually } from '../support/eventually.js'
import { serveMetrics } from '../support/prometheus.js'
import { repository } from '../support/repository.js'
import { createServers, Prometheus, prometheus2, prometheus3, versionOf } from './backends.js'

const METRIC = 'replication_lag_seqno'
const SHARDS = 1500

/** Serves a lag map. Returns the address. */
async function serve(way: (typeof ATTACHMENTS)[number]['name'], gauge: ReplicationLagGauge) {
  const exporter = reportTo(way, { gauge, positions: true }, (options) => {
    return new PrometheusExporter({ preventServerStart: true, ...options })
  })
  const endpoint = await serveMetrics(exporter)
  onTestFinished(() => endpoint.close())
  return endpoint.url
}

const versions = [
  { name: 'Prometheus 2', program: prometheus2 },
  { name: 'Prometheus 3', program: prometheus3 },
]

for (const { name, program = '' } of versions) {
  const version = program && (await versionOf(program))
  describe.skipIf(!program)(`${name} (${version || 'not installed: npm run e2e:install'})`, () => {
    it.each(ATTACHMENTS)('has the followers of $name, under odd names too', async ({ name }) => {
      const gauge = new ReplicationLagGauge()
      for (let shard = 0; shard < SHARDS; shard++) {
        gauge.updateLeaderSeqno(shard, shard)
        gauge.updateAppliedSeqno(shard, 0, 'r1')
      }
      for (const [, odd] of ODD_NAMES) {
        gauge.updateLeaderSeqno(odd, 1)
        gauge.updateAppliedSeqno(odd, 0, odd)
      }
      const prometheus = await Prometheus.start(await createServers(), program, {
        targets: { service: [await serve(name, gauge)] },
      })
      const value = async (expression: string) =>
        (await prometheus.query(expression)).map(({ value }) => value)
      const all = SHARDS + ODD_NAMES.length
      await eventually(async () => expect(await value(`count(${METRIC})`)).toEqual([all]))
      expect(await value(`sum(${METRIC}{replica="r1"})`)).toEqual([(SHARDS * (SHARDS - 1)) / 2])
      const odd = await prometheus.query(`${METRIC}{replica!="r1"}`)
      const names = odd.map(({ labels }) => [labels['shard'], labels['replica']])
      expect(names.sort()).toEqual(ODD_NAMES.map(([, each]) => [each, each]).sort())
      gauge.updateAppliedSeqno(1234, 1234, 'r1')
      await eventually(async () => expect(await value(`${METRIC}{shard="1234"}`)).toEqual([0]))
    })
  })
}

it.skipIf(!prometheus3)('Prometheus 3 receives names, labels and numbers by OTLP', async () => {
  const gauge = new ReplicationLagGauge()
  gauge.updateLeaderSeqno('a', 2n ** 64n - 1n)
  gauge.updateAppliedSeqno('a', 2n ** 64n - 43n, 'r1')
  const options = { otlp: true }
  const prometheus = await Prometheus.start(await createServers(), prometheus3 ?? '', options)
  const reader = reportTo(
    'ReplicationLagMetricProducer',
    { gauge, positions: true },
    (readerOptions) => {
      const exporter = new OTLPMetricExporter({ url: `${prometheus.url}/api/v1/otlp/v1/metrics` })
      return new PeriodicExportingMetricReader({ exporter, ...readerOptions })
    },
  )
  await reader.forceFlush()
  await eventually(async () => {
    expect(await prometheus.query(METRIC)).toMatchObject([
      { labels: { __name__: METRIC, shard: 'a', replica: 'r1' }, value: 42 },
    ])
  })
  expect(await prometheus.query('replication_leader_seqno')).toMatchObject([
    { labels: { shard: 'a' }, value: 2 ** 64 },
  ])
})

it.skipIf(!prometheus2)(
  'the recording rule joins what different processes report, even after a change of leader',
  async () => {
    const [first, second, third] = [
      new ReplicationLagGauge(),
      new ReplicationLagGauge(),
      new ReplicationLagGauge(),
    ]
    const nodes = [first, second, third].map((gauge) =>
      serve('ReplicationLagMetricProducer', gauge),
    )
    const prometheus = await Prometheus.start(await createServers(), prometheus2 ?? '', {
      targets: { nodes: await Promise.all(nodes) },
      rules: [join(repository, 'docs/monitoring/rules.yml')],
    })
    const expectLags = (expected: Record<string, number>) =>
      eventually(async () => {
        const samples = await prometheus.query('replication:lag_seqno{shard="orders"}')
        const lags = samples.map(({ labels, value }) => [labels['replica'] ?? '', value] as const)
        expect(Object.fromEntries(lags)).toEqual(expected)
        expect(samples).toHaveLength(Object.keys(expected).length)
      })

    first.updateLeaderSeqno('orders', 100)
    second.updateAppliedSeqno('orders', 60, 'second')
    third.updateAppliedSeqno('orders', 100, 'third')
    await expectLags({ second: 40, third: 0 })

    // Another process also knows where the leader was a while ago.
    second.updateLeaderSeqno('orders', 90)
    second.updateAppliedSeqno('orders', 70, 'second')
    await expectLags({ second: 30, third: 0 })

    // The third becomes the leader.
    first.remove('orders')
    third.remove('orders')
    third.updateLeaderSeqno('orders', 120)
    await expectLags({ second: 50 })
  },
)
