import { metrics } from '@opentelemetry/api'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  type ReplicationLagInstrumentationConfig,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { recordDiag } from '../support/diag.js'
import { eventually } from '../support/eventually.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'
import { TestReader } from '../support/test-reader.js'

const METRIC = 'replication_lag_seqno'
const POINT = { attributes: { shard: 'a' }, value: 100 }

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  metrics.disable()
})

function createProvider(): { provider: MeterProvider; reader: TestReader } {
  const reader = new TestReader()
  const provider = new MeterProvider({ readers: [reader] })
  cleanUps.push(() => provider.shutdown())
  return { provider, reader }
}

/** An instrumentation with one shard, `a`, that lags by 100. */
function createInstrumentation(
  config: ReplicationLagInstrumentationConfig = {},
): ReplicationLagInstrumentation {
  const gauge = new ReplicationLagGauge()
  gauge.updateLeaderSeqno('a', 100)
  const instrumentation = new ReplicationLagInstrumentation({ gauge, lagSeconds: false, ...config })
  cleanUps.push(() => instrumentation.disable())
  return instrumentation
}

describe('the metric', () => {
  it('is an integer gauge of the unit {seqno}, in a scope of its own', async () => {
    const { provider, reader } = createProvider()
    createInstrumentation().setMeterProvider(provider)
    const { resourceMetrics } = await reader.collect()
    expect(resourceMetrics.scopeMetrics).toMatchObject([
      {
        scope: {
          name: 'opentelemetry-instrumentation-replication-lag',
          version: expect.stringMatching(/^\d+\.\d+\.\d+/) as string,
        },
        metrics: [
          {
            descriptor: {
              name: METRIC,
              unit: '{seqno}',
              valueType: 0,
              description:
                'How far a follower is behind its leader: leader seqno minus applied seqno.',
            },
            dataPoints: [POINT],
          },
        ],
      },
    ])
  })

  it('is read from the map at every collection', async () => {
    const { provider, reader } = createProvider()
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(provider)
    const { gauge } = instrumentation
    expect(await reader.points(METRIC)).toEqual([POINT])
    gauge.updateAppliedSeqno('a', 60)
    expect(await reader.points(METRIC)).toEqual([{ ...POINT, value: 40 }])
    gauge.updateLeaderSeqno('b', 5)
    gauge.updateAppliedSeqno('b', 7, 'r1')
    expect(await reader.points(METRIC)).toEqual([
      { ...POINT, value: 40 },
      { attributes: { shard: 'b', replica: 'r1' }, value: -2 },
    ])
  })
})

describe('a provider', () => {
  it('may be set alone', async () => {
    const { provider, reader } = createProvider()
    createInstrumentation().setMeterProvider(provider)
    expect(await reader.points(METRIC)).toEqual([POINT])
  })

  it('may come through registerInstrumentations, and its undoing ends the reports', async () => {
    const { provider, reader } = createProvider()
    const instrumentation = createInstrumentation()
    const unregister = registerInstrumentations({
      instrumentations: [instrumentation],
      meterProvider: provider,
    })
    expect(await reader.points(METRIC)).toEqual([POINT])
    unregister()
    instrumentation.gauge.updateLeaderSeqno('b', 1)
    expect(await reader.points(METRIC)).not.toContainEqual({ attributes: { shard: 'b' }, value: 1 })
  })

  it('may come through NodeSDK, which sets a no-op one first', async () => {
    const reader = new TestReader()
    const sdk = new NodeSDK({
      metricReaders: [reader],
      instrumentations: [createInstrumentation()],
      autoDetectResources: false,
      spanProcessors: [],
      logRecordProcessors: [],
    })
    sdk.start()
    cleanUps.push(() => sdk.shutdown())
    expect(await reader.points(METRIC)).toEqual([POINT])
  })

  it('may be the global one, set before', async () => {
    const { provider, reader } = createProvider()
    metrics.setGlobalMeterProvider(provider)
    createInstrumentation()
    expect(await reader.points(METRIC)).toEqual([POINT])
  })

  it('may be the global one, set after', async () => {
    const { provider, reader } = createProvider()
    createInstrumentation()
    metrics.setGlobalMeterProvider(provider)
    await eventually(async () => expect(await reader.points(METRIC)).toEqual([POINT]))
  })

  it('may be the global one, set after registerInstrumentations found none', async () => {
    const { provider, reader } = createProvider()
    registerInstrumentations({ instrumentations: [createInstrumentation()] })
    metrics.setGlobalMeterProvider(provider)
    await eventually(async () => expect(await reader.points(METRIC)).toEqual([POINT]))
  })

  it('that was set is kept when another becomes the global one', async () => {
    vi.useFakeTimers()
    cleanUps.push(() => vi.useRealTimers())
    const [own, global] = [createProvider(), createProvider()]
    createInstrumentation().setMeterProvider(own.provider)
    metrics.setGlobalMeterProvider(global.provider)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(await own.reader.points(METRIC)).toEqual([POINT])
    expect(await global.reader.points(METRIC)).toEqual([])
  })

  it('may be set twice without two callbacks', async () => {
    const { provider, reader } = createProvider()
    const instrumentation = createInstrumentation()
    const collect = vi.spyOn(instrumentation.gauge, 'forEachFollower')
    instrumentation.setMeterProvider(provider)
    instrumentation.setMeterProvider(provider)
    expect(await reader.points(METRIC)).toEqual([POINT])
    expect(collect).toHaveBeenCalledOnce()
  })

  it('is left alone once another is set', async () => {
    const [first, second] = [createProvider(), createProvider()]
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(first.provider)
    instrumentation.setMeterProvider(second.provider)
    expect(await first.reader.points(METRIC)).toEqual([])
    expect(await second.reader.points(METRIC)).toEqual([POINT])
  })

  it.each([undefined, null, 7, {}])('that is none (%s) is refused with a TypeError', (bad) => {
    const instrumentation = createInstrumentation()
    expect(() => instrumentation.setMeterProvider(bad as MeterProvider)).toThrow(
      /^meterProvider: expected a MeterProvider, got/,
    )
  })
})

describe('waiting for a global provider', () => {
  it('does not keep the process alive and ends with disable', () => {
    const timers = () =>
      process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
    const before = timers()
    const instrumentation = createInstrumentation()
    expect(timers()).toBeLessThanOrEqual(before)
    vi.useFakeTimers()
    cleanUps.push(() => vi.useRealTimers())
    instrumentation.disable()
    instrumentation.enable()
    expect(vi.getTimerCount()).toBe(1)
    instrumentation.disable()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('ends when there is one', async () => {
    vi.useFakeTimers()
    cleanUps.push(() => vi.useRealTimers())
    const { provider, reader } = createProvider()
    createInstrumentation()
    await vi.advanceTimersByTimeAsync(10_000)
    metrics.setGlobalMeterProvider(provider)
    await vi.advanceTimersByTimeAsync(1000)
    expect(vi.getTimerCount()).toBe(0)
    expect(await reader.points(METRIC)).toEqual([POINT])
  })
})

describe('enable and disable', () => {
  it('stop the callback, and bring it back once', async () => {
    const { provider, reader } = createProvider()
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(provider)
    const collect = vi.spyOn(instrumentation.gauge, 'forEachFollower')
    instrumentation.disable()
    instrumentation.disable()
    await reader.points(METRIC)
    expect(collect).not.toHaveBeenCalled()
    instrumentation.enable()
    instrumentation.enable()
    expect(await reader.points(METRIC)).toEqual([POINT])
    expect(collect).toHaveBeenCalledOnce()
  })

  it('remember a provider that was set in between', async () => {
    const { provider, reader } = createProvider()
    const instrumentation = createInstrumentation({ enabled: false })
    instrumentation.setMeterProvider(provider)
    expect(await reader.points(METRIC)).toEqual([])
    instrumentation.enable()
    expect(await reader.points(METRIC)).toEqual([POINT])
  })

  it('start and stop the polling of sources', async () => {
    const source = new ScriptedSource()
    const instrumentation = createInstrumentation({ enabled: false, sources: [source] })
    expect(source.reads).toHaveLength(0)
    instrumentation.enable()
    source.last.answer(reading('pg', 10, { r1: 4 }))
    await eventually(() => expect(instrumentation.lagSeqno('pg', 'r1')).toBe(6))
    instrumentation.disable()
    instrumentation.enable()
    expect(source.reads).toHaveLength(2)
    instrumentation.disable()
    expect(source.last.signal.aborted).toBe(true)
  })
})

describe('a source', () => {
  it('that hangs or throws neither delays nor breaks a collection', async () => {
    const { provider, reader } = createProvider()
    const broken = {
      name: 'broken',
      read: () => {
        throw new Error('broken')
      },
    }
    createInstrumentation({ sources: [new ScriptedSource(), broken] }).setMeterProvider(provider)
    expect(await reader.points(METRIC)).toEqual([POINT])
  })
})

describe('two instrumentations', () => {
  it('report side by side through one provider, and end independently', async () => {
    const { provider, reader } = createProvider()
    const [one, two] = [
      createInstrumentation(),
      new ReplicationLagInstrumentation({ lagSeconds: false }),
    ]
    cleanUps.push(() => two.disable())
    two.gauge.updateLeaderSeqno('b', 7)
    one.setMeterProvider(provider)
    two.setMeterProvider(provider)
    expect(await reader.points(METRIC)).toEqual([POINT, { attributes: { shard: 'b' }, value: 7 }])
    one.disable()
    two.gauge.updateLeaderSeqno('b', 8)
    expect(await reader.points(METRIC)).toContainEqual({ attributes: { shard: 'b' }, value: 8 })
  })
})

describe('lagSeqno', () => {
  it('answers for a readiness probe: 0 when no gauge was given', () => {
    const instrumentation = new ReplicationLagInstrumentation()
    cleanUps.push(() => instrumentation.disable())
    expect(instrumentation.lagSeqno('a')).toBe(0)
    expect(instrumentation.lagSeqno('a', 'r1')).toBe(0)
  })

  it('answers what the gauge says', () => {
    const instrumentation = createInstrumentation()
    instrumentation.gauge.updateAppliedSeqno('a', 30, 'r1')
    expect(instrumentation.lagSeqno('a', 'r1')).toBe(70)
  })
})

describe('setConfig', () => {
  it('puts other options into force and keeps the gauge and the provider', async () => {
    const { provider, reader } = createProvider()
    const source = new ScriptedSource()
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(provider)
    instrumentation.setConfig({ sources: [source] })
    expect(source.reads).toHaveLength(1)
    expect(await reader.points(METRIC)).toEqual([POINT])
    instrumentation.setConfig({})
    expect(source.last.signal.aborted).toBe(true)
  })

  it('keeps what a source has reported that is polled on, and forgets that of others', async () => {
    const [kept, dropped] = [new ScriptedSource('kept'), new ScriptedSource('dropped')]
    const instrumentation = createInstrumentation({ sources: [kept, dropped], retentionMillis: 0 })
    kept.last.answer(reading('b', 10, { r1: 4, r2: 4 }))
    dropped.last.answer(reading('c', 10, { r1: 4 }))
    await eventually(() => expect(instrumentation.gauge.lagSeqno('c', 'r1')).toBe(6))
    instrumentation.setConfig({ sources: [kept], retentionMillis: 0, pollIntervalMillis: 1 })
    expect(instrumentation.gauge.lagSeqno('c', 'r1')).toBe(0)
    expect(instrumentation.gauge.lagSeqno('b', 'r2')).toBe(6)
    // It is not in the reading any more: the record goes on.
    await eventually(() => {
      kept.last.answer(reading('b', 10, { r1: 4 }))
      expect(instrumentation.gauge.lagSeqno('b', 'r2')).toBe(0)
    })
    instrumentation.setConfig({ sources: [kept], gauge: new ReplicationLagGauge() })
    expect(instrumentation.gauge.lagSeqno('b', 'r1')).toBe(0)
  })

  it('keeps what is known of lag in seconds', async () => {
    const instrumentation = createInstrumentation()
    const { gauge } = instrumentation
    gauge.updateLeaderSeqno('a', 10)
    gauge.sample(true)
    gauge.updateLeaderSeqno('a', 11)
    expect(gauge.lagSeconds('a')).toBeGreaterThan(0)
    instrumentation.setConfig({ retentionMillis: 1 })
    await Promise.resolve()
    expect(gauge.lagSeconds('a')).toBeGreaterThan(0)
    instrumentation.setConfig({ lagSeconds: false })
    await Promise.resolve()
    expect(gauge.lagSeconds('a')).toBeUndefined()
  })

  it.each([null, 7, undefined])('throws on %s', (config) => {
    const instrumentation = createInstrumentation()
    expect(() => instrumentation.setConfig(config as unknown as object)).toThrow(
      /^config: expected an object/,
    )
  })

  it('does not enable what is disabled', () => {
    const source = new ScriptedSource()
    const instrumentation = createInstrumentation({ enabled: false })
    instrumentation.setConfig({ sources: [source] })
    expect(source.reads).toHaveLength(0)
  })

  it('throws on options that cannot work, and the old ones stay in force', async () => {
    const { provider, reader } = createProvider()
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(provider)
    expect(() => instrumentation.setConfig({ retentionMillis: -1 })).toThrow(/^retentionMillis: /)
    expect(await reader.points(METRIC)).toEqual([POINT])
  })
})

describe('a collection', () => {
  it('goes on without the points when the map throws, and tells it once', async () => {
    const { provider, reader } = createProvider()
    const told = recordDiag()
    cleanUps.push(() => told.stop())
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(provider)
    vi.spyOn(instrumentation.gauge, 'forEachFollower').mockImplementation(() => {
      throw new Error('a map of another kind')
    })
    expect(await reader.points(METRIC)).toEqual([])
    expect(await reader.points(METRIC)).toEqual([])
    expect(
      told.matching('error', 'cannot collect replication_lag_seqno: a map of another kind'),
    ).toHaveLength(1)
  })

  it('after shutdown of the provider harms nobody', async () => {
    const { provider, reader } = createProvider()
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(provider)
    await provider.shutdown()
    const late = reader.collect().catch(() => undefined)
    instrumentation.gauge.updateLeaderSeqno('a', 7)
    instrumentation.disable()
    await late
    instrumentation.enable()
  })

  it('by two readers at once gives both the same', async () => {
    const readers = [new TestReader(), new TestReader()]
    const provider = new MeterProvider({ readers })
    cleanUps.push(() => provider.shutdown())
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(provider)
    const both = readers.flatMap((reader) => [reader.points(METRIC), reader.points(METRIC)])
    expect(await Promise.all(both)).toEqual([[POINT], [POINT], [POINT], [POINT]])
  })
})
