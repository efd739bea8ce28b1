import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import * as esm from 'opentelemetry-instrumentation-replication-lag'

// Run by package.test.ts in a project of its own: one program that has loaded the package by import and by require.

class Reader extends MetricReader {
  onShutdown = () => Promise.resolve()
  onForceFlush = () => Promise.resolve()
}

/** @type {unknown} */
const required = createRequire(import.meta.url)('opentelemetry-instrumentation-replication-lag')
const cjs = /** @type {typeof esm} */ (required)
assert.notEqual(cjs.ReplicationLagGauge, esm.ReplicationLagGauge, 'expected two copies')

for (const { one, other } of [
  { one: esm, other: cjs },
  { one: cjs, other: esm },
]) {
  const state = new one.ReplicationState()
  const gauge = new other.ReplicationLagGauge(state)
  const instrumentation = new one.ReplicationLagInstrumentation({ gauge })
  const reader = new Reader()
  instrumentation.setMeterProvider(new MeterProvider({ readers: [reader] }))

  gauge.updateLeaderSeqno(7, 130n)
  state.setAppliedSeqno(7, 100n, 'berlin')

  const { resourceMetrics, errors } = await reader.collect()
  assert.deepEqual(errors, [])
  const points = resourceMetrics.scopeMetrics
    .flatMap(({ metrics }) => metrics)
    .filter(({ descriptor }) => descriptor.name === 'replication_lag_seqno')
    .flatMap(({ dataPoints }) => dataPoints.map(({ attributes, value }) => ({ attributes, value })))
  assert.deepEqual(points, [{ attributes: { shard: '7', replica: 'berlin' }, value: 30 }])

  const attached = one.ReplicationLagGauge.attach(gauge.share())
  attached.updateAppliedSeqno(7, 110n, 'berlin')
  attached.updateAppliedSeqno(7, 120n, 'paris')
  assert.equal(gauge.lagSeqno(7, 'berlin'), 20)
  assert.equal(gauge.lagSeqno(7, 'paris'), 10)
  assert.equal(gauge.remove(7), true)
  assert.deepEqual(attached.collectMetrics(), [])
  const register = other.AtomicSeqno.attach(new one.AtomicSeqno(5).share())
  assert.equal(register.load(), 5n)
}
