// runtimes.slow.test.ts runs this in Jest, as an ES module and, with `require`, as CommonJS.
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import { MessageChannel } from 'node:worker_threads'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'

const { expect, test } = /** @type {typeof import('vitest')} */ (
  /** @type {unknown} */ (globalThis)
)

class Reader extends MetricReader {
  onShutdown = () => Promise.resolve()
  onForceFlush = () => Promise.resolve()
}

/** The lags that a reader or a producer collects. */
async function lagsOf(/** @type {Pick<MetricReader, 'collect'>} */ collector) {
  const { resourceMetrics } = await collector.collect()
  const metrics = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
  const lag = metrics.find(({ descriptor }) => descriptor.name === 'replication_lag_seqno')
  return lag?.dataPoints.map(({ attributes, value }) => ({ ...attributes, value }))
}

test('the lag is reported by both attachments, and to another gauge', async () => {
  const gauge = new ReplicationLagGauge()
  gauge.leader('orders').store(42n)
  gauge.applied('orders', 'eu-1').store(40n)

  const reader = new Reader()
  const instrumentation = new ReplicationLagInstrumentation({ gauge })
  instrumentation.setMeterProvider(new MeterProvider({ readers: [reader] }))
  const expected = [{ shard: 'orders', replica: 'eu-1', value: 2 }]
  expect(await lagsOf(reader)).toEqual(expected)
  expect(await lagsOf(new ReplicationLagMetricProducer({ gauge }))).toEqual(expected)
  instrumentation.disable()

  const other = new ReplicationLagGauge()
  const { port1, port2 } = new MessageChannel()
  other.subscribe(port1)
  gauge.publish(port2)
  while (other.lagSeqno('orders', 'eu-1') !== 2) await new Promise(setImmediate)
})

test('a source gets its client', async () => {
  const client = { query: () => Promise.reject(new Error('down')) }
  const source = postgresSource({ client, shard: 'orders' })
  await expect(source.read(new AbortController().signal)).rejects.toThrow('down')
})
