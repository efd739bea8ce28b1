import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OTLPMetricExporter as OtlpJsonExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as OtlpProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Follower } from '../../docs/examples/wal-shipping/follower.mjs'
import { Leader } from '../../docs/examples/wal-shipping/leader.mjs'
import { ship } from '../../docs/examples/wal-shipping/shipper.mjs'
import { Transport } from '../../docs/examples/wal-shipping/transport.mjs'
import { startOtlpReceiver, type OtlpRequest } from '../support/otlp-receiver.js'
import { serveMetrics } from '../support/prometheus.js'

const LAG = 'replication_lag_seqno'
const SEGMENTS = 100

interface OtlpFlavour {
  readonly sent: string
  readonly createExporter: (url: string) => OtlpJsonExporter | OtlpProtobufExporter
  readonly contentType: OtlpRequest['contentType']
  readonly encoding: OtlpRequest['encoding']
}

const otlpFlavours: OtlpFlavour[] = [
  {
    sent: 'JSON',
    createExporter: (url) => new OtlpJsonExporter({ url }),
    contentType: 'application/json',
    encoding: 'identity',
  },
  {
    sent: 'protobuf',
    createExporter: (url) => new OtlpProtobufExporter({ url }),
    contentType: 'application/x-protobuf',
    encoding: 'identity',
  },
  {
    sent: 'gzipped protobuf',
    createExporter(url) {
      vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_COMPRESSION', 'gzip')
      onTestFinished(() => void vi.unstubAllEnvs())
      return new OtlpProtobufExporter({ url })
    },
    contentType: 'application/x-protobuf',
    encoding: 'gzip',
  },
]

/** A leader, whatever followers are started, and a gauge that all of them update. */
async function startReplication(shard: string) {
  const folder = await mkdtemp(join(tmpdir(), 'wal-shipping-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const gauge = new ReplicationLagGauge()
  const leader = await Leader.open(join(folder, 'leader'), gauge.leader(shard))
  const transport = new Transport((stream, after) => void ship(leader.log, stream, after))
  onTestFinished(() => transport.close())
  const startFollower = async (replica?: string) => {
    const applied = gauge.applied(shard, replica)
    const follower = await Follower.open(join(folder, `follower-${replica ?? ''}`), applied)
    follower.connect(transport)
    return follower
  }
  return { gauge, leader, startFollower }
}

async function writeSegments(leader: Leader) {
  for (let n = 1; n <= SEGMENTS; n++) await leader.append({ [`key-${n % 7}`]: `value-${n}` })
}

/** The gauge as a Prometheus server and an OTLP backend get it, over HTTP. */
async function observe(
  gauge: ReplicationLagGauge,
  createExporter: OtlpFlavour['createExporter'] = (url) => new OtlpProtobufExporter({ url }),
) {
  const receiver = await startOtlpReceiver()
  const prometheus = new PrometheusExporter({ preventServerStart: true })
  const endpoint = await serveMetrics(prometheus)
  const otlp = new PeriodicExportingMetricReader({
    exporter: createExporter(receiver.url),
    exportIntervalMillis: 3_600_000, // only when the test flushes
  })
  const provider = new MeterProvider({ readers: [prometheus, otlp] })
  const instrumentation = new ReplicationLagInstrumentation({ gauge })
  instrumentation.setMeterProvider(provider)
  onTestFinished(async () => {
    instrumentation.disable()
    await provider.shutdown()
    await endpoint.close()
    await receiver.close()
  })
  /** The next export, as far as it is about the lag. */
  const exportOnce = async () => {
    const before = receiver.requests.length
    await otlp.forceFlush()
    const { points, ...request } = await receiver.waitFor(
      (r) => receiver.requests.indexOf(r) >= before,
    )
    return { ...request, points: points.filter(({ metric }) => metric === LAG) }
  }
  return { endpoint, exportOnce }
}

test.for(otlpFlavours)(
  'Prometheus, and OTLP in $sent, say 100, 50 and 0 as a follower applies 100 segments',
  async ({ createExporter, contentType, encoding }) => {
    const shard = 'orders "eu"\\1'
    const { gauge, leader, startFollower } = await startReplication(shard)
    const { endpoint, exportOnce } = await observe(gauge, createExporter)
    const follower = await startFollower()
    await writeSegments(leader)

    for (const { apply, lag } of [
      { apply: 0, lag: 100 },
      { apply: 50, lag: 50 },
      { apply: 50, lag: 0 },
    ]) {
      await follower.apply(apply)

      const { families, find } = await endpoint.read()
      expect(families.get(LAG)).toMatchObject({ type: 'gauge' })
      expect(find(LAG)).toMatchObject([{ labels: { shard }, value: lag }])
      const exported = await exportOnce()
      expect(exported).toMatchObject({ contentType, encoding })
      expect(exported.points).toMatchObject([
        {
          kind: 'gauge',
          unit: '{seqno}',
          scope: { name: 'opentelemetry-instrumentation-replication-lag' },
          valueType: 'int',
          value: lag,
        },
      ])
      expect(exported.points[0]?.attributes).toEqual({ shard })
    }
    expect(follower.get('key-2')).toBe('value-100')
  },
)

test('a scrape tells the lag of a shard in one line', async () => {
  const { gauge, leader, startFollower } = await startReplication('orders')
  const { endpoint } = await observe(gauge)
  await startFollower()
  await writeSegments(leader)

  const text = await endpoint.scrape()

  expect(text.match(/^replication_lag_seqno\{.*$/gm)).toEqual([
    expect.stringMatching(/^replication_lag_seqno\{shard="orders"[^}]*\} 100$/),
  ])
})

test('every follower of a shard has a lag of its own', async () => {
  const { gauge, leader, startFollower } = await startReplication('orders')
  const { endpoint, exportOnce } = await observe(gauge)
  const first = await startFollower('first')
  const second = await startFollower('second')
  await writeSegments(leader)

  await Promise.all([first.apply(90), second.apply(10)])

  const { find, value } = await endpoint.read()
  expect(find(LAG)).toHaveLength(2)
  expect(value(LAG, { shard: 'orders', replica: 'first' })).toBe(10)
  expect(value(LAG, { shard: 'orders', replica: 'second' })).toBe(90)
  const { points } = await exportOnce()
  expect(points.map((point) => [point.attributes, point.value])).toEqual([
    [{ shard: 'orders', replica: 'first' }, 10],
    [{ shard: 'orders', replica: 'second' }, 90],
  ])
})
