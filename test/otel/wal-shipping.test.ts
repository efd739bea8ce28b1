import { OTLPMetricExporter as JsonExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagInstrumentation,
  type ReplicationLagGauge,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createMachine, createTransport } from '../examples/wal-shipping-machine.js'
import { provide } from '../support/attachments.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'
import { serveMetrics } from '../support/prometheus.js'

const LAG = 'replication_lag_seqno'

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
    const { gauge, openLeader, openFollower } = await createMachine(shard)
    const { endpoint, exportOnce } = await observe(gauge, flavor)
    const { contentType, encoding } = flavor
    const [leader, follower] = [await openLeader(), await openFollower()]
    follower.connect(createTransport(leader))
    for (let n = 1; n <= 100; n++) await leader.append({ [`key-${n % 7}`]: `value-${n}` })

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
