import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OTLPMetricExporter as JsonExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Follower } from '../../docs/examples/wal-shipping/follower.mjs'
import { Leader } from '../../docs/examples/wal-shipping/leader.mjs'
import { ship } from '../../docs/examples/wal-shipping/shipper.mjs'
import { Transport } from '../../docs/examples/wal-shipping/transport.mjs'
import { provide } from '../support/attachments.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'
import { serveMetrics } from '../support/prometheus.js'

const LAG = 'replication_lag_seqno'
const SEGMENTS = 100

const encodings = [
  { name: 'JSON', Exporter: JsonExporter, contentType: 'application/json', encoding: 'identity' },
  {
    name: 'protobuf',
    Exporter: ProtobufExporter,
    contentType: 'application/x-protobuf',
    encoding: 'identity',
  },
  {
    name: 'gzipped protobuf',
    Exporter: ProtobufExporter,
    contentType: 'application/x-protobuf',
    encoding: 'gzip',
  },
] as const

/** Starts a leader that ships its log, and a lag map that it and its followers update. */
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

/** Reports a lag map to a Prometheus endpoint and an OTLP backend, over HTTP. */
async function observe(
  gauge: ReplicationLagGauge,
  { Exporter, encoding }: (typeof encodings)[number] = encodings[1],
) {
  vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_COMPRESSION', encoding === 'gzip' ? 'gzip' : 'none')
  onTestFinished(() => void vi.unstubAllEnvs())
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const prometheus = new PrometheusExporter({ preventServerStart: true })
  const endpoint = await serveMetrics(prometheus)
  onTestFinished(() => endpoint.close())
  const otlp = new PeriodicExportingMetricReader({
    exporter: new Exporter({ url: receiver.url }),
    exportIntervalMillis: 3_600_000, // only when the test flushes
  })
  const instrumentation = new ReplicationLagInstrumentation({ gauge })
  instrumentation.setMeterProvider(provide(prometheus, otlp))
  onTestFinished(() => instrumentation.disable())
  /** Exports once, and returns what arrived of the lag. */
  const exportOnce = async () => {
    const before = receiver.requests.length
    await otlp.forceFlush()
    const { points, ...request } = await receiver.waitFor(
      (request) => receiver.requests.indexOf(request) >= before,
    )
    return { ...request, points: points.filter(({ metric }) => metric === LAG) }
  }
  return { endpoint, exportOnce }
}

test.for(encodings)(
  'a follower that applies 100 segments has lags of 100, 50 and 0 in Prometheus and in OTLP as $name',
  async (flavor) => {
    const shard = 'orders "eu"\\1'
    const { gauge, leader, startFollower } = await startReplication(shard)
    const { endpoint, exportOnce } = await observe(gauge, flavor)
    const { contentType, encoding } = flavor
    const follower = await startFollower()
    await writeSegments(leader)

    for (const { apply, lag } of [
      { apply: 0, lag: 100 },
      { apply: 50, lag: 50 },
      { apply: 50, lag: 0 },
    ]) {
      await follower.apply(apply)

      const { find } = await endpoint.read()
      expect(find(LAG)).toMatchObject([{ labels: { shard }, value: lag }])
      const exported = await exportOnce()
      expect(exported).toMatchObject({ contentType, encoding })
      expect(exported.points).toMatchObject([{ kind: 'gauge', valueType: 'int', value: lag }])
      expect(exported.points[0]?.attributes).toEqual({ shard })
    }
    expect(follower.get('key-2')).toBe('value-100')
  },
)
