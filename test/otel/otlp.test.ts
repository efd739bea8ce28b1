import { OTLPMetricExporter as JsonExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ATTACHMENTS, reportTo } from '../support/attachments.js'
import { ODD_NAMES } from '../support/bad-input.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'

const encodings = [
  { encoding: 'JSON', Exporter: JsonExporter },
  { encoding: 'protobuf', Exporter: ProtobufExporter },
]

/** Exports a lag map once, and returns what arrived. */
async function exportOnce(
  gauge: ReplicationLagGauge,
  Exporter: (typeof encodings)[number]['Exporter'],
  way: (typeof ATTACHMENTS)[number]['name'],
) {
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const reader = reportTo(way, { gauge, positions: true }, (options) => {
    const exporter = new Exporter({ url: receiver.url })
    return new PeriodicExportingMetricReader({ exporter, ...options })
  })
  await reader.forceFlush()
  expect(receiver.refusals).toEqual([])
  return receiver
}

describe.each(encodings)('$encoding', ({ Exporter }) => {
  describe.each(ATTACHMENTS)('from $name', ({ name: way }) => {
    it.each([2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])(
      'has the position %s as a double',
      async (seqno) => {
        const gauge = new ReplicationLagGauge()
        gauge.updateLeaderSeqno('a', seqno)
        gauge.updateAppliedSeqno('a', seqno, 'r1')
        const { points } = await exportOnce(gauge, Exporter, way)
        const position = {
          kind: 'gauge',
          unit: '{seqno}',
          valueType: 'double',
          value: Number(seqno),
        }
        expect(points('replication_leader_seqno')).toMatchObject([
          { ...position, attributes: { shard: 'a' } },
        ])
        expect(points('replication_applied_seqno')).toMatchObject([
          { ...position, attributes: { shard: 'a', replica: 'r1' } },
        ])
      },
    )

    it('has lags as exact integers and seconds as doubles', async () => {
      const gauge = new ReplicationLagGauge()
      gauge.updateLeaderSeqno('far', 2n ** 64n - 1n)
      gauge.updateAppliedSeqno('far', 0)
      gauge.updateLeaderSeqno('ahead', 0)
      gauge.updateAppliedSeqno('ahead', 2n ** 64n - 1n)
      const { points } = await exportOnce(gauge, Exporter, way)
      const scope = { name: 'opentelemetry-instrumentation-replication-lag' }
      const lag = { kind: 'gauge', unit: '{seqno}', valueType: 'int', scope }
      expect(points('replication_lag_seqno')).toMatchObject([
        { ...lag, attributes: { shard: 'far' }, value: 2 ** 53 - 1 },
        { ...lag, attributes: { shard: 'ahead' }, value: -(2 ** 53 - 1) },
      ])
      expect(points('replication_lag_seconds')).toMatchObject([
        { kind: 'gauge', unit: 's', valueType: 'double', attributes: { shard: 'ahead' }, value: 0 },
      ])
    })

    it('has odd names as they are', async () => {
      const gauge = new ReplicationLagGauge()
      for (const [, name] of ODD_NAMES) {
        gauge.updateLeaderSeqno(name, 9)
        gauge.updateAppliedSeqno(name, 4, name)
      }
      const { points } = await exportOnce(gauge, Exporter, way)
      const names = points('replication_lag_seqno').map(({ attributes }) => attributes)
      expect(names).toEqual(ODD_NAMES.map(([, name]) => ({ shard: name, replica: name })))
    })
  })
})
