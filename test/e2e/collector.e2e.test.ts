import { OTLPMetricExporter as GrpcExporter } from '@opentelemetry/exporter-metrics-otlp-grpc'
import {
  AggregationTemporalityPreference,
  OTLPMetricExporter as JsonExporter,
} from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PeriodicExportingMetricReader, type PushMetricExporter } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'
import { provide, reportTo, type ATTACHMENTS } from '../support/attachments.js'
import { eventually } from '../support/eventually.js'
import { parsePrometheusText } from '../support/prometheus.js'
import { Collector, collector, createServers, Prometheus, prometheus3 } from './backends.js'

const METRIC = 'replication_lag_seqno'
const { CUMULATIVE, DELTA } = AggregationTemporalityPreference

/** Each protocol, temporality and attachment occurs. They do not depend on each other. */
const exporters = [
  {
    ...{ protocol: 'gRPC', kind: 'delta', way: 'ReplicationLagInstrumentation' as const },
    ...{ Exporter: GrpcExporter, temporalityPreference: DELTA },
    urlOf: ({ grpcUrl }: Collector) => grpcUrl,
  },
  {
    ...{ protocol: 'JSON', kind: 'cumulative', way: 'ReplicationLagInstrumentation' as const },
    ...{ Exporter: JsonExporter, temporalityPreference: CUMULATIVE },
    urlOf: ({ httpUrl }: Collector) => httpUrl,
  },
  {
    ...{ protocol: 'protobuf', kind: 'cumulative', way: 'ReplicationLagMetricProducer' as const },
    ...{ Exporter: ProtobufExporter, temporalityPreference: CUMULATIVE },
    urlOf: ({ httpUrl }: Collector) => httpUrl,
  },
]

/** Exports a lag map, each time that the reader is flushed. */
function exportBy(
  way: (typeof ATTACHMENTS)[number]['name'],
  gauge: ReplicationLagGauge,
  exporter: PushMetricExporter,
) {
  const options = { gauge, positions: true }
  return reportTo(way, options, (readerOptions) => {
    return new PeriodicExportingMetricReader({ exporter, ...readerOptions })
  })
}
const exportByProducer = (gauge: ReplicationLagGauge, exporter: PushMetricExporter) =>
  exportBy('ReplicationLagMetricProducer', gauge, exporter)

/** What the Collector serves to Prometheus. */
async function serve({ metricsUrl }: Collector) {
  return parsePrometheusText(await (await fetch(metricsUrl)).text())
}

function twoFollowers(): ReplicationLagGauge {
  const gauge = new ReplicationLagGauge()
  gauge.updateLeaderSeqno('orders', 2n ** 64n - 1n)
  gauge.updateAppliedSeqno('orders', 2n ** 64n - 43n, 'r1')
  gauge.updateAppliedSeqno('orders', 2n ** 64n - 8n, 'r2')
  return gauge
}

describe.skipIf(!collector)('the Collector (npm run e2e:install)', () => {
  it.each(exporters)(
    'has names, labels and numbers from $protocol of $way, $kind',
    async ({ way, Exporter, urlOf, temporalityPreference }) => {
      const server = await Collector.start(await createServers(), collector ?? '')
      const exporter = new Exporter({ url: urlOf(server), temporalityPreference })
      const reader = exportBy(way, twoFollowers(), exporter)
      await eventually(async () => {
        // Again, because an export to a Collector that is still starting fails.
        await reader.forceFlush()
        const { find, value } = await serve(server)
        const labels = { shard: 'orders', replica: 'r1' }
        expect(value(METRIC, labels)).toBe(42)
        expect(value(METRIC, { ...labels, replica: 'r2' })).toBe(7)
        expect(value('replication_leader_seqno', { shard: 'orders' })).toBe(2 ** 64)
        expect(find(METRIC)).toHaveLength(2)
      })
      await eventually(async () => {
        const text = JSON.stringify(await server.batches())
        expect(text).toContain(`"name":"${METRIC}"`)
        expect(text).toContain('"unit":"{seqno}"')
      })
    },
  )

  it('gets 65,536 shards of the producer whole', async () => {
    const gauge = new ReplicationLagGauge()
    for (let shard = 0; shard < 65_536; shard++) {
      gauge.updateLeaderSeqno(shard, shard)
      gauge.updateAppliedSeqno(shard, 0)
    }
    const server = await Collector.start(await createServers(), collector ?? '')
    const url = server.httpUrl
    const metricProducers = [new ReplicationLagMetricProducer({ gauge, lagSeconds: false })]
    const exporter = new ProtobufExporter({ url })
    const reader = new PeriodicExportingMetricReader({ exporter, metricProducers })
    provide(reader)
    await reader.forceFlush()
    await eventually(async () => {
      const { find } = await serve(server)
      const samples = find(METRIC)
      expect(samples).toHaveLength(65_536)
      expect(samples.every(({ labels, value }) => Number(labels['shard']) === value)).toBe(true)
    })
  })

  it('does not disturb the service while it is away or hangs, and has the right numbers afterwards', async () => {
    const gauge = twoFollowers()
    const server = await Collector.start(await createServers(), collector ?? '')
    const exporter = new ProtobufExporter({ url: server.httpUrl, timeoutMillis: 300 })
    const reader = exportByProducer(gauge, exporter)
    const exportOnce = () => reader.forceFlush().catch(() => undefined)
    await exportOnce()
    const expectLag = (lag: number) =>
      eventually(async () => {
        await exportOnce()
        expect((await serve(server)).value(METRIC, { shard: 'orders', replica: 'r1' })).toBe(lag)
      })
    await expectLag(42)

    await server.stop()
    gauge.updateAppliedSeqno('orders', 2n ** 64n - 11n, 'r1')
    await exportOnce()
    await server.restart()
    await expectLag(10)

    server.freeze()
    gauge.updateAppliedSeqno('orders', 2n ** 64n - 2n, 'r1')
    await exportOnce()
    server.thaw()
    await expectLag(1)
  })

  it.skipIf(!prometheus3)('passes the same names and numbers on to Prometheus 3', async () => {
    const servers = await createServers()
    const prometheus = await Prometheus.start(servers, prometheus3 ?? '', { otlp: true })
    const forwardTo = `${prometheus.url}/api/v1/otlp/v1/metrics`
    const server = await Collector.start(servers, collector ?? '', { forwardTo })
    const reader = exportByProducer(twoFollowers(), new GrpcExporter({ url: server.grpcUrl }))
    await eventually(async () => {
      await reader.forceFlush()
      expect(await prometheus.query(`${METRIC}{replica="r1"}`)).toMatchObject([
        { labels: { __name__: METRIC, shard: 'orders' }, value: 42 },
      ])
    })
  })
})
