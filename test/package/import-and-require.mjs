import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'

// A program in which one part imports the package and another one requires it. package.slow.test.ts runs it, and CI on the oldest
// Node version that the package supports.

class Reader extends MetricReader {
  onShutdown = () => Promise.resolve()
  onForceFlush = () => Promise.resolve()
}

const require = createRequire(import.meta.url)
/** @type {unknown} */
const required = require('opentelemetry-instrumentation-replication-lag')
const { ReplicationLagGauge, ReplicationState } =
  /** @type {typeof import('opentelemetry-instrumentation-replication-lag')} */ (required)

const state = new ReplicationState()
const gauge = new ReplicationLagGauge(state)
gauge.updateLeaderSeqno(7, 130n)
state.setAppliedSeqno(7, 100n, 'berlin')

const instrumentation = new ReplicationLagInstrumentation({ gauge })
const producer = new ReplicationLagMetricProducer({ gauge })
const readers = [new Reader(), new Reader({ metricProducers: [producer] })]
// One reader must not have both.
instrumentation.setMeterProvider(new MeterProvider({ readers: readers.slice(0, 1) }))
new MeterProvider({ readers: readers.slice(1) })

for (const reader of readers) {
  const { resourceMetrics, errors } = await reader.collect()
  assert.deepEqual(errors, [])
  const points = resourceMetrics.scopeMetrics
    .flatMap(({ metrics }) => metrics)
    .filter(({ descriptor }) => descriptor.name === 'replication_lag_seqno')
    .flatMap(({ dataPoints }) => dataPoints.map(({ attributes, value }) => ({ attributes, value })))
  assert.deepEqual(points, [{ attributes: { shard: '7', replica: 'berlin' }, value: 30 }])
}
