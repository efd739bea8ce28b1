import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createForeignGauge, provide } from '../support/attachments.js'
import { recordDiag } from '../support/diag.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'
import { TestReader } from '../support/test-reader.js'

const METRIC = 'replication_lag_seqno'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A lag map with three followers of two shards. */
function createGauge(): ReplicationLagGauge {
  const gauge = new ReplicationLagGauge()
  gauge.updateLeaderSeqno('orders', 100)
  gauge.updateAppliedSeqno('orders', 40, 'r1')
  gauge.updateAppliedSeqno('orders', 90, 'r2')
  gauge.updateLeaderSeqno('users', 7)
  return gauge
}

function createReader(producer: ReplicationLagMetricProducer): TestReader {
  const reader = new TestReader({ metricProducers: [producer] })
  provide(reader)
  return reader
}

describe('the producer', () => {
  it('drops a removed follower at the next collection, from every reader', async () => {
    const gauge = createGauge()
    const readers = [1, 2].map(() => createReader(new ReplicationLagMetricProducer({ gauge })))
    for (const reader of readers) expect(await reader.points(METRIC)).toHaveLength(3)
    gauge.remove('orders', 'r1')
    gauge.remove('users')
    for (const reader of readers) {
      expect(await reader.points(METRIC)).toEqual([
        { attributes: { shard: 'orders', replica: 'r2' }, value: 10 },
      ])
    }
  })

  it('reports no scope while there is nothing to report', async () => {
    const { resourceMetrics, errors } = await new ReplicationLagMetricProducer().collect()
    expect(resourceMetrics.scopeMetrics).toEqual([])
    expect(errors).toEqual([])
  })

  it('has a resource without attributes, which gives way to any other', async () => {
    const { resourceMetrics } = await new ReplicationLagMetricProducer().collect()
    const { resource } = resourceMetrics
    const other = { attributes: { 'service.name': 'app' } }
    expect(resource.merge(other)).toBe(other)
    expect(resource.merge(null)).toBe(resource)
    expect(resource.attributes).toEqual({})
    expect(resource.getRawAttributes()).toEqual([])
  })

  it('stamps the points with the time of the collection', async () => {
    vi.setSystemTime(1_700_000_000_123)
    const producer = new ReplicationLagMetricProducer({ gauge: createGauge() })
    const { resourceMetrics } = await producer.collect()
    const time = [1_700_000_000, 123_000_000]
    expect(resourceMetrics.scopeMetrics[0]?.metrics[0]?.dataPoints[0]).toMatchObject({
      startTime: time,
      endTime: time,
    })
  })

  it('logs a collection that fails once and returns its error, and the rest is reported', async () => {
    const logged = recordDiag()
    onTestFinished(() => logged.stop())
    const gauge = createForeignGauge()
    const producer = new ReplicationLagMetricProducer({ gauge, lagSeconds: false })
    const reader = new TestReader({ metricProducers: [producer] })
    provide(reader).getMeter('app').createCounter('requests').add(7)
    for (let round = 0; round < 2; round++) {
      const { resourceMetrics, errors } = await reader.collect()
      expect(errors).toEqual([expect.any(TypeError)])
      expect(resourceMetrics.scopeMetrics).toMatchObject([{ scope: { name: 'app' } }])
    }
    expect(logged.matching('warn', 'cannot collect: ', '(logged once)')).toHaveLength(1)
    expect(logged.messages).toHaveLength(1)
  })

  it('polls from its construction until shutdown', async () => {
    const source = new ScriptedSource('db')
    const producer = new ReplicationLagMetricProducer({ sources: [source], lagSeconds: false })
    const reader = createReader(producer)
    await vi.advanceTimersByTimeAsync(0)
    source.last.answer(reading('a', 10, { r1: 4 }))
    await vi.advanceTimersByTimeAsync(5000)
    expect(source.reads).toHaveLength(2)
    expect(await reader.points(METRIC)).toHaveLength(1)
    await producer.shutdown()
    expect(source.last.signal.aborted).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
    expect(await reader.values()).toEqual({})
  })
})
