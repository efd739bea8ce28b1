import { OTLPMetricExporter as GrpcExporter } from '@opentelemetry/exporter-metrics-otlp-grpc'
import {
  AggregationTemporalityPreference,
  OTLPMetricExporter as JsonExporter,
} from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { PeriodicExportingMetricReader, type PushMetricExporter } from '@opentelemetry/sdk-metrics'
import { join } from 'node:path'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ATTACHMENTS, reportTo } from '../support/attachments.js'
import { ODD_NAMES } from '../support/bad-input.js'
import { eventually } from '../support/eventually.js'
import { parsePrometheusText, serveMetrics } from '../support/http.js'
import { repository } from '../support/repository.js'
import {
  Collector,
  collector,
  createServers,
  Prometheus,
  prometheus2,
  prometheus3,
} from './backends.js'

const METRIC = 'replication_lag_seqno'

type Way = (typeof ATTACHMENTS)[number]['name']

/** Serves a lag map to Prometheus. Returns the address. */
async function serve(way: Way, gauge: ReplicationLagGauge): Promise<string> {
  const exporter = reportTo(way, { gauge, positions: true }, (options) => {
    return new PrometheusExporter({ preventServerStart: true, ...options })
  })
  const endpoint = await serveMetrics(exporter)
  onTestFinished(() => endpoint.close())
  return endpoint.url
}

/** Exports a lag map, each time that the reader is flushed. */
function exportBy(way: Way, gauge: ReplicationLagGauge, exporter: PushMetricExporter) {
  return reportTo(way, { gauge, positions: true }, (options) => {
    return new PeriodicExportingMetricReader({ exporter, ...options })
  })
}

function createGauge(shards: number): ReplicationLagGauge {
  const gauge = new ReplicationLagGauge()
  for (let shard = 0; shard < shards; shard++) {
    gauge.updateLeaderSeqno(shard, shard)
    gauge.updateAppliedSeqno(shard, 0, 'r1')
  }
  return gauge
}

function twoFollowers(): ReplicationLagGauge {
  const gauge = new ReplicationLagGauge()
  gauge.updateLeaderSeqno('orders', 2n ** 64n - 1n)
  gauge.updateAppliedSeqno('orders', 2n ** 64n - 43n, 'r1')
  gauge.updateAppliedSeqno('orders', 2n ** 64n - 8n, 'r2')
  return gauge
}

describe.each([
  { name: 'Prometheus 2', program: prometheus2 },
  { name: 'Prometheus 3', program: prometheus3 },
])('$name (npm run e2e:install)', ({ program }) => {
  it.skipIf(!program).each(ATTACHMENTS)(
    'has the followers of $name, under odd names too',
    async ({ name }) => {
      const shards = 1500
      const gauge = createGauge(shards)
      for (const [, odd] of ODD_NAMES) {
        gauge.updateLeaderSeqno(odd, 1)
        gauge.updateAppliedSeqno(odd, 0, odd)
      }
      const prometheus = await Prometheus.start(await createServers(), program ?? '', {
        targets: { service: [await serve(name, gauge)] },
      })
      const value = async (expression: string) =>
        (await prometheus.query(expression)).map(({ value }) => value)
      const all = shards + ODD_NAMES.length
      await eventually(async () => expect(await value(`count(${METRIC})`)).toEqual([all]))
      expect(await value(`sum(${METRIC}{replica="r1"})`)).toEqual([(shards * (shards - 1)) / 2])
      const odd = await prometheus.query(`${METRIC}{replica!="r1"}`)
      const names = odd.map(({ labels }) => [labels['shard'], labels['replica']])
      expect(names.sort()).toEqual(ODD_NAMES.map(([, each]) => [each, each]).sort())
      gauge.updateAppliedSeqno(1234, 1234, 'r1')
      await eventually(async () => expect(await value(`${METRIC}{shard="1234"}`)).toEqual([0]))
    },
  )
})

it.skipIf(!prometheus3)('Prometheus 3 receives names, labels and numbers by OTLP', async () => {
  const options = { otlp: true }
  const prometheus = await Prometheus.start(await createServers(), prometheus3 ?? '', options)
  const exporter = new ProtobufExporter({ url: `${prometheus.url}/api/v1/otlp/v1/metrics` })
  await exportBy('ReplicationLagMetricProducer', twoFollowers(), exporter).forceFlush()
  await eventually(async () => {
    expect(await prometheus.query(`${METRIC}{replica="r1"}`)).toMatchObject([
      { labels: { __name__: METRIC, shard: 'orders', replica: 'r1' }, value: 42 },
    ])
  })
  expect(await prometheus.query('replication_leader_seqno')).toMatchObject([
    { labels: { shard: 'orders' }, value: 2 ** 64 },
  ])
})

it.skipIf(!prometheus2)(
  'the recording rule joins what different processes report, even after a change of leader',
  async () => {
    const gauges = [createGauge(0), createGauge(0), createGauge(0)] as const
    const [first, second, third] = gauges
    const nodes = gauges.map((gauge) => serve('ReplicationLagMetricProducer', gauge))
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

describe.skipIf(!collector)('the Collector (npm run e2e:install)', () => {
  const { CUMULATIVE, DELTA } = AggregationTemporalityPreference

  /** What it serves to Prometheus. */
  const read = async ({ metricsUrl }: Collector) =>
    parsePrometheusText(await (await fetch(metricsUrl)).text())

  // Each protocol, temporality and attachment occurs. They do not depend on each other.
  it.each([
    ['gRPC', GrpcExporter, 'grpcUrl', DELTA, 'ReplicationLagInstrumentation'],
    ['JSON', JsonExporter, 'httpUrl', CUMULATIVE, 'ReplicationLagInstrumentation'],
    ['protobuf', ProtobufExporter, 'httpUrl', CUMULATIVE, 'ReplicationLagMetricProducer'],
  ] as const)(
    'has names, labels and numbers from %s',
    async (_, Exporter, address, temporalityPreference, way) => {
      const server = await Collector.start()
      const exporter = new Exporter({ url: server[address], temporalityPreference })
      const reader = exportBy(way, twoFollowers(), exporter)
      await eventually(async () => {
        // Again, because an export to a Collector that is still starting fails.
        await reader.forceFlush()
        const { find, value } = await read(server)
        const labels = { shard: 'orders', replica: 'r1' }
        expect(value(METRIC, labels)).toBe(42)
        expect(value(METRIC, { ...labels, replica: 'r2' })).toBe(7)
        expect(value('replication_leader_seqno', { shard: 'orders' })).toBe(2 ** 64)
        expect(find(METRIC)).toHaveLength(2)
      })
    },
  )

  it('gets 65,536 shards of the producer whole', async () => {
    const options = { gauge: createGauge(65_536), lagSeconds: false }
    const server = await Collector.start()
    const exporter = new ProtobufExporter({ url: server.httpUrl })
    const reader = reportTo('ReplicationLagMetricProducer', options, (readerOptions) => {
      return new PeriodicExportingMetricReader({ exporter, ...readerOptions })
    })
    await reader.forceFlush()
    await eventually(async () => {
      const samples = (await read(server)).find(METRIC)
      expect(samples).toHaveLength(65_536)
      expect(samples.every(({ labels, value }) => Number(labels['shard']) === value)).toBe(true)
    })
  })

  it('does not disturb the service while it is away or hangs, and has the right numbers afterwards', async () => {
    const gauge = twoFollowers()
    const server = await Collector.start()
    const exporter = new ProtobufExporter({ url: server.httpUrl, timeoutMillis: 300 })
    const reader = exportBy('ReplicationLagMetricProducer', gauge, exporter)
    const exportOnce = () => reader.forceFlush().catch(() => undefined)
    const expectLag = (lag: number) =>
      eventually(async () => {
        await exportOnce()
        expect((await read(server)).value(METRIC, { shard: 'orders', replica: 'r1' })).toBe(lag)
      })
    await expectLag(42)

    await server.process.kill('SIGTERM')
    gauge.updateAppliedSeqno('orders', 2n ** 64n - 11n, 'r1')
    await exportOnce()
    await server.restart()
    await expectLag(10)

    server.process.freeze()
    gauge.updateAppliedSeqno('orders', 2n ** 64n - 2n, 'r1')
    await exportOnce()
    server.process.thaw()
    await expectLag(1)
  })
})
