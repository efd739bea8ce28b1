import type { HrTime } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import {
  MeterProvider,
  PeriodicExportingMetricReader,
  type CollectionResult,
  type IMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  type ReplicationLagMetricProducerOptions,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { recordDiag, type DiagRecorder } from '../support/diag.js'
import { ODD_NAMES } from '../support/bad-input.js'
import { startOtlpReceiver, type OtlpPoint } from '../support/otlp-receiver.js'
import { serveMetrics } from '../support/prometheus.js'
import { TestReader } from '../support/test-reader.js'

const METRIC = 'replication_lag_seqno'
const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** A gauge with followers of every kind. */
function createGauge(): ReplicationLagGauge {
  // A clock that stands still: both paths are to see the same seconds.
  const gauge = new ReplicationLagGauge(undefined, { clock: () => 0 })
  gauge.updateLeaderSeqno('leader only', 5)
  gauge.updateLeaderSeqno('orders', 100)
  gauge.updateAppliedSeqno('orders', 40)
  gauge.updateLeaderSeqno('users', 2n ** 64n - 1n)
  gauge.updateAppliedSeqno('users', 0, 'r1')
  gauge.updateAppliedSeqno('users', 2n ** 64n - 1n, 'r2')
  for (const [, name] of ODD_NAMES) gauge.updateAppliedSeqno('orders', 101, name)
  return gauge
}

function provide(reader: IMetricReader): MeterProvider {
  const provider = new MeterProvider({ readers: [reader] })
  cleanUps.push(() => provider.shutdown())
  return provider
}

/** Through the ObservableGauge. */
function instrument(reader: IMetricReader, gauge: ReplicationLagGauge): void {
  const instrumentation = new ReplicationLagInstrumentation({ gauge })
  instrumentation.setMeterProvider(provide(reader))
  cleanUps.push(() => instrumentation.disable())
}

/** The collection without its times, which differ from one to the next. */
function timeless({ resourceMetrics, errors }: CollectionResult): unknown {
  const isTime = (value: unknown): value is HrTime => Array.isArray(value) && value.length === 2
  const scopeMetrics: unknown = JSON.parse(
    JSON.stringify(resourceMetrics.scopeMetrics, (key, value: unknown) =>
      (key === 'startTime' || key === 'endTime') && isTime(value) ? 'a time' : value,
    ),
  )
  return { scopeMetrics, errors }
}

function withoutTimes(point: OtlpPoint): unknown {
  return { ...point, startTimeUnixNano: 'a time', timeUnixNano: 'a time' }
}

describe('the producer and the ObservableGauge', () => {
  it.each([
    ['followers of every kind', createGauge],
    ['no followers', () => new ReplicationLagGauge()],
  ])('give a reader the same metrics, but for the times: %s', async (_, create) => {
    const gauge = create()
    const observed = new TestReader()
    instrument(observed, gauge)
    const produced = new TestReader({ metricProducers: [new ReplicationLagMetricProducer(gauge)] })
    provide(produced)
    expect(timeless(await produced.collect())).toEqual(timeless(await observed.collect()))
  })

  it.each([
    ['followers of every kind', createGauge],
    ['no followers', () => new ReplicationLagGauge()],
  ])('give Prometheus the same text, byte for byte: %s', async (_, create) => {
    const gauge = create()
    const observed = new PrometheusExporter({ preventServerStart: true })
    instrument(observed, gauge)
    const produced = new PrometheusExporter({
      preventServerStart: true,
      metricProducers: [new ReplicationLagMetricProducer(gauge)],
    })
    provide(produced)
    const endpoints = await Promise.all([serveMetrics(observed), serveMetrics(produced)])
    for (const endpoint of endpoints) cleanUps.push(() => endpoint.close())
    const [one, other] = await Promise.all(endpoints.map((endpoint) => endpoint.scrape()))
    expect(other).toBe(one)
  })

  it('send the same over OTLP, but for the times', async () => {
    const gauge = createGauge()
    const readers = await Promise.all(
      [[], [new ReplicationLagMetricProducer(gauge)]].map(async (metricProducers) => {
        const receiver = await startOtlpReceiver()
        cleanUps.push(() => receiver.close())
        const exporter = new OTLPMetricExporter({ url: receiver.url })
        return {
          receiver,
          reader: new PeriodicExportingMetricReader({ exporter, metricProducers }),
        }
      }),
    )
    const [observed, produced] = readers
    if (!observed || !produced) throw new Error('two readers were made')
    instrument(observed.reader, gauge)
    provide(produced.reader)
    await Promise.all(readers.map(({ reader }) => reader.forceFlush()))
    const [one, other] = readers.map(({ receiver }) => receiver.points(METRIC).map(withoutTimes))
    expect(one?.length).toBeGreaterThan(10)
    expect(other).toEqual(one)
  })
})

describe('the producer', () => {
  it('drops a removed follower at the next collection, from every reader', async () => {
    const gauge = createGauge()
    const readers = [1, 2].map(() => {
      const reader = new TestReader({ metricProducers: [new ReplicationLagMetricProducer(gauge)] })
      provide(reader)
      return reader
    })
    for (const reader of readers) expect(await reader.points(METRIC)).toHaveLength(14)
    gauge.remove('orders')
    for (const reader of readers) expect(await reader.points(METRIC)).toHaveLength(3)
  })

  it('has no limit of series', async () => {
    const gauge = new ReplicationLagGauge()
    for (let shard = 0; shard < 5000; shard++) gauge.updateLeaderSeqno(shard, shard)
    const reader = new TestReader({ metricProducers: [new ReplicationLagMetricProducer(gauge)] })
    provide(reader)
    const points = await reader.points(METRIC)
    expect(points).toHaveLength(5000)
    expect(points.at(-1)).toEqual({ attributes: { shard: '4999' }, value: 4999 })
  })

  it('gives each reader points of its own', async () => {
    const producer = new ReplicationLagMetricProducer(createGauge())
    const [one, other] = await Promise.all([producer.collect(), producer.collect()])
    one.resourceMetrics.scopeMetrics[0]?.metrics[0]?.dataPoints.splice(0)
    expect(other.resourceMetrics.scopeMetrics[0]?.metrics[0]?.dataPoints).toHaveLength(14)
  })

  it('has a resource without attributes, that gives way to any other', async () => {
    const { resourceMetrics } = await new ReplicationLagMetricProducer(createGauge()).collect()
    const { resource } = resourceMetrics
    const other = { attributes: { 'service.name': 'app' } }
    expect(resource.merge(other)).toBe(other)
    expect(resource.merge(null)).toBe(resource)
    expect(resource.attributes).toEqual({})
    expect(resource.getRawAttributes()).toEqual([])
  })

  it('stamps the points with the time of the collection', async () => {
    const before = Date.now()
    const { resourceMetrics } = await new ReplicationLagMetricProducer(createGauge()).collect()
    const after = Date.now()
    const point = resourceMetrics.scopeMetrics[0]?.metrics[0]?.dataPoints[0]
    const [seconds, nanos] = point?.endTime ?? [0, 0]
    expect(seconds * 1000 + nanos / 1e6).toBeGreaterThanOrEqual(before)
    expect(seconds * 1000 + nanos / 1e6).toBeLessThanOrEqual(after)
    expect(point?.startTime).toEqual(point?.endTime)
  })

  it('puts what a gauge throws among the errors, and the other metrics are served', async () => {
    const gauge = createGauge()
    const failure = new Error('a map of another kind')
    vi.spyOn(gauge, 'forEachFollower').mockImplementation(() => {
      throw failure
    })
    const reader = new TestReader({ metricProducers: [new ReplicationLagMetricProducer(gauge)] })
    provide(reader).getMeter('app').createCounter('requests').add(7)
    const { resourceMetrics, errors } = await reader.collect()
    expect(errors).toEqual([failure])
    expect(resourceMetrics.scopeMetrics).toHaveLength(1)
    expect(resourceMetrics.scopeMetrics[0]?.metrics[0]?.dataPoints[0]?.value).toBe(7)
  })

  const half = { forEachFollower: () => undefined }
  it.each([undefined, null, 7, {}, half])('throws a TypeError when the gauge is %s', (bad) => {
    expect(() => new ReplicationLagMetricProducer(bad as ReplicationLagGauge)).toThrow(
      /^gauge: expected a ReplicationLagGauge, got/,
    )
  })

  it.each<[unknown, RegExp]>([
    [null, /^options: expected an object, got null/],
    [{ positions: 1 }, /^positions: expected a boolean, got 1/],
    [{ lagSeconds: 'no' }, /^lagSeconds: expected a boolean, got "no"/],
    [
      { sampleIntervalMillis: 0 },
      /^sampleIntervalMillis: expected a number of milliseconds from 1/,
    ],
    [{ position: true }, /^position: there is no such option/],
  ])('throws a TypeError that names an option that cannot work: %j', (options, message) => {
    const create = () =>
      new ReplicationLagMetricProducer(
        new ReplicationLagGauge(),
        options as ReplicationLagMetricProducerOptions,
      )
    expect(create).toThrow(TypeError)
    expect(create).toThrow(message)
  })
})

describe('both attachments of one gauge', () => {
  /** A reader that has the producer, and one that may have the ObservableGauge as well. */
  function attachBoth(sameReader: boolean): { told: DiagRecorder; readers: TestReader[] } {
    const told = recordDiag()
    cleanUps.push(() => told.stop())
    const gauge = createGauge()
    const produced = new TestReader({ metricProducers: [new ReplicationLagMetricProducer(gauge)] })
    const observed = sameReader ? produced : new TestReader()
    instrument(observed, gauge)
    if (!sameReader) provide(produced)
    return { told, readers: sameReader ? [produced] : [produced, observed] }
  }

  it('at one reader are told, once', async () => {
    const { told, readers } = attachBoth(true)
    for (let round = 0; round < 10; round++) await readers[0]?.collect()
    expect(told.matching('warn', 'reports every follower twice')).toHaveLength(1)
  })

  it('at one reader are told, also when another reader has the ObservableGauge alone', async () => {
    const told = recordDiag()
    cleanUps.push(() => told.stop())
    const gauge = createGauge()
    const both = new TestReader({ metricProducers: [new ReplicationLagMetricProducer(gauge)] })
    const observed = new TestReader()
    const provider = new MeterProvider({ readers: [both, observed] })
    cleanUps.push(() => provider.shutdown())
    const instrumentation = new ReplicationLagInstrumentation({ gauge })
    cleanUps.push(() => instrumentation.disable())
    instrumentation.setMeterProvider(provider)
    for (let round = 0; round < 10; round++) {
      await both.collect()
      await observed.collect()
    }
    expect(told.matching('warn', 'reports every follower twice')).toHaveLength(1)
  })

  it('at two readers are fine, also when they happen to collect at once', async () => {
    const { told, readers } = attachBoth(false)
    for (let round = 0; round < 10; round++) {
      await Promise.all(readers.map((reader) => reader.collect()))
      for (const reader of readers) await reader.collect()
    }
    expect(told.messages).toEqual([])
  })
})
