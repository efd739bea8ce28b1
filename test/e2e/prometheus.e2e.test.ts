import { OTLPMetricExporter as JsonExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { ATTACHMENTS } from '../support/attachments.js'
import { reportTo } from '../support/attachments.js'
import { ODD_NAMES } from '../support/bad-input.js'
import { eventually } from '../support/eventually.js'
import { serveMetrics } from '../support/prometheus.js'
import { createServers, Prometheus, prometheus2, prometheus3, versionOf } from './backends.js'

const METRIC = 'replication_lag_seqno'

/** Serves a lag map. Returns the address. */
async function serve(
  way: (typeof ATTACHMENTS)[number]['name'],
  gauge: ReplicationLagGauge,
): Promise<string> {
  const exporter = reportTo(
    way,
    { gauge, positions: true },
    (options) => new PrometheusExporter({ preventServerStart: true, ...options }),
  )
  const endpoint = await serveMetrics(exporter)
  onTestFinished(() => endpoint.close())
  return endpoint.url
}
const serveByGauge = (gauge: ReplicationLagGauge) => serve('ReplicationLagInstrumentation', gauge)
const serveByProducer = (gauge: ReplicationLagGauge) => serve('ReplicationLagMetricProducer', gauge)

const versions = [
  { name: 'Prometheus 2', program: prometheus2 },
  { name: 'Prometheus 3', program: prometheus3 },
]

for (const { name, program = '' } of versions) {
  const version = program && (await versionOf(program))
  describe.skipIf(!program)(`${name} (${version || 'not installed: npm run e2e:install'})`, () => {
    it('shows a lag of 100, then 0 once the segments are applied, of both attachments', async () => {
      const gauge = new ReplicationLagGauge()
      for (let segment = 1; segment <= 100; segment++) gauge.updateLeaderSeqno('wal', segment)
      gauge.applied('wal', 'follower')
      const prometheus = await Prometheus.start(await createServers(), program, {
        targets: { gauge: [await serveByGauge(gauge)], producer: [await serveByProducer(gauge)] },
      })
      const expectLag = (value: number) =>
        eventually(async () => {
          for (const job of ['gauge', 'producer']) {
            expect(await prometheus.query(`${METRIC}{job="${job}"}`)).toMatchObject([
              { labels: { shard: 'wal', replica: 'follower' }, value },
            ])
          }
        })
      await expectLag(100)
      gauge.updateAppliedSeqno('wal', 100, 'follower')
      await expectLag(0)
    })

    it('has 5,000 shards of the producer, and forgets a follower that was removed', async () => {
      const gauge = new ReplicationLagGauge()
      for (let shard = 0; shard < 5000; shard++) {
        gauge.updateLeaderSeqno(shard, shard)
        gauge.updateAppliedSeqno(shard, 0, 'r1')
      }
      const prometheus = await Prometheus.start(await createServers(), program, {
        targets: { producer: [await serveByProducer(gauge)] },
      })
      const value = async (expression: string) =>
        (await prometheus.query(expression)).map(({ value }) => value)
      await eventually(async () => expect(await value(`count(${METRIC})`)).toEqual([5000]))
      expect(await value(`sum(${METRIC})`)).toEqual([(5000 * 4999) / 2])
      expect(await value(`${METRIC}{shard="4321"}`)).toEqual([4321])
      gauge.remove(4321, 'r1')
      await eventually(async () => expect(await value(`${METRIC}{shard="4321"}`)).toEqual([]))
      expect(await value(`count(${METRIC})`)).toEqual([4999])
    })

    it('has odd characters in names as they are', async () => {
      const gauge = new ReplicationLagGauge()
      for (const [, name] of ODD_NAMES) gauge.updateAppliedSeqno(name, 0, name)
      for (const [, name] of ODD_NAMES) gauge.updateLeaderSeqno(name, 1)
      const prometheus = await Prometheus.start(await createServers(), program, {
        targets: { producer: [await serveByProducer(gauge)] },
      })
      await eventually(async () => {
        const names = (await prometheus.query(METRIC)).map(({ labels }) => [
          labels['shard'],
          labels['replica'],
        ])
        expect(names.sort()).toEqual(ODD_NAMES.map(([, name]) => [name, name]).sort())
      })
    })
  })
}

describe.skipIf(!prometheus3)('Prometheus 3 by OTLP', () => {
  const exporters = [
    { encoding: 'JSON', Exporter: JsonExporter },
    { encoding: 'protobuf', Exporter: ProtobufExporter },
  ]
  it.each(exporters)('receives names, labels and numbers in $encoding', async ({ Exporter }) => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 2n ** 64n - 1n)
    gauge.updateAppliedSeqno('a', 2n ** 64n - 43n, 'r1')
    const prometheus = await Prometheus.start(await createServers(), prometheus3 ?? '', {
      otlp: true,
    })
    const reader = reportTo(
      'ReplicationLagMetricProducer',
      { gauge, positions: true },
      (options) => {
        const exporter = new Exporter({ url: `${prometheus.url}/api/v1/otlp/v1/metrics` })
        return new PeriodicExportingMetricReader({ exporter, ...options })
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
})
