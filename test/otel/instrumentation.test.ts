import { createRequire } from 'node:module'
import type * as api from '@opentelemetry/api'
import {
  metrics,
  type MeterProvider,
  type ObservableCallback,
  type ObservableResult,
} from '@opentelemetry/api'
import type * as instrumentationPackage from '@opentelemetry/instrumentation'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  type ReplicationLagInstrumentationConfig,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createForeignGauge, provide } from '../support/attachments.js'
import { recordDiag } from '../support/diag.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'
import { hasSdk3 } from '../support/repository.js'
import { TestReader } from '../support/test-reader.js'

const METRIC = 'replication_lag_seqno'
const POINT = { attributes: { shard: 'a' }, value: 100 }
/** How often an instrumentation looks for a global provider. */
const LOOK_MILLIS = 1000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  metrics.disable()
})

function createProvider() {
  const reader = new TestReader()
  return { reader, provider: provide(reader) }
}

/** An instrumentation with one shard, `a`, that lags by 100. */
function createInstrumentation(config: ReplicationLagInstrumentationConfig = {}) {
  const gauge = new ReplicationLagGauge()
  gauge.updateLeaderSeqno('a', 100)
  const instrumentation = new ReplicationLagInstrumentation({ gauge, lagSeconds: false, ...config })
  onTestFinished(() => instrumentation.disable())
  return instrumentation
}

describe('the provider', () => {
  it('can be the global one', async () => {
    const { provider, reader } = createProvider()
    metrics.setGlobalMeterProvider(provider)
    createInstrumentation()
    expect(await reader.points(METRIC)).toEqual([POINT])
  })

  it('can become the global one later', async () => {
    const { provider, reader } = createProvider()
    createInstrumentation()
    await vi.advanceTimersByTimeAsync(10 * LOOK_MILLIS)
    metrics.setGlobalMeterProvider(provider)
    expect(await reader.points(METRIC)).toEqual([])
    await vi.advanceTimersByTimeAsync(LOOK_MILLIS)
    expect(await reader.points(METRIC)).toEqual([POINT])
  })

  it.each(['the global one', 'set', 'passed to registerInstrumentations'])(
    'that was %s is followed by the next global one after its shutdown',
    async (how) => {
      const [first, second] = [createProvider(), createProvider()]
      const instrumentation = createInstrumentation()
      metrics.setGlobalMeterProvider(first.provider)
      if (how === 'set') instrumentation.setMeterProvider(first.provider)
      else if (how !== 'the global one') {
        registerInstrumentations({ instrumentations: [instrumentation] })
      }
      await vi.advanceTimersByTimeAsync(LOOK_MILLIS)
      expect(await first.reader.points(METRIC)).toEqual([POINT])
      metrics.disable()
      await vi.advanceTimersByTimeAsync(LOOK_MILLIS)
      // Its last export still has what was reported.
      expect(await first.reader.points(METRIC)).toEqual([POINT])
      await first.provider.shutdown()
      metrics.setGlobalMeterProvider(second.provider)
      await vi.advanceTimersByTimeAsync(LOOK_MILLIS)
      expect(await second.reader.points(METRIC)).toEqual([POINT])
      instrumentation.disable()
      expect(vi.getTimerCount()).toBe(0)
    },
  )

  it.each(['first', 'later'])('that was set is used when a global one is set %s', async (when) => {
    const [own, global] = [createProvider(), createProvider()]
    if (when === 'first') metrics.setGlobalMeterProvider(global.provider)
    createInstrumentation().setMeterProvider(own.provider)
    if (when === 'later') metrics.setGlobalMeterProvider(global.provider)
    await vi.advanceTimersByTimeAsync(10 * LOOK_MILLIS)
    expect(await own.reader.points(METRIC)).toEqual([POINT])
    expect(await global.reader.points(METRIC)).toEqual([])
  })

  it('is left alone when another one is set', async () => {
    const [first, second] = [createProvider(), createProvider()]
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(first.provider)
    instrumentation.setMeterProvider(second.provider)
    expect(await first.reader.points(METRIC)).toEqual([])
    expect(await second.reader.points(METRIC)).toEqual([POINT])
  })

  it.each(['../..', ...(hasSdk3 ? ['../sdk/v3'] : [])])(
    'is the global one although registerInstrumentations of the API in %s came first',
    async (folder) => {
      const load = createRequire(new URL(`${folder}/package.json`, import.meta.url))
      const tree = load('@opentelemetry/instrumentation') as typeof instrumentationPackage
      const { metrics: treeMetrics } = load('@opentelemetry/api') as typeof api
      const { provider, reader } = createProvider()
      const instrumentation = createInstrumentation()
      const setMeterProvider = vi.spyOn(instrumentation, 'setMeterProvider')
      tree.registerInstrumentations({ instrumentations: [instrumentation] })
      expect(setMeterProvider).toHaveBeenCalledExactlyOnceWith(treeMetrics.getMeterProvider())
      metrics.setGlobalMeterProvider(provider)
      await vi.advanceTimersByTimeAsync(LOOK_MILLIS)
      expect(await reader.points(METRIC)).toEqual([POINT])
    },
  )

  it.each([undefined, null, 7, {}])('cannot be %s', async (invalid) => {
    const { provider, reader } = createProvider()
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(provider)
    expect(() => instrumentation.setMeterProvider(invalid as MeterProvider)).toThrow(
      /^meterProvider: expected a MeterProvider, got/,
    )
    expect(await reader.points(METRIC)).toEqual([POINT])
  })

  it('can have no batch callbacks', () => {
    const { provider, collect, callbackCount } = createPlainProvider()
    const source = new ScriptedSource('db')
    const instrumentation = createInstrumentation({ sources: [source] })
    instrumentation.setMeterProvider(provider)
    instrumentation.setMeterProvider(provider)
    instrumentation.gauge.updateAppliedSeqno('a', 60, 'r1')
    expect(collect()).toEqual({ [METRIC]: [[40, { shard: 'a', replica: 'r1' }]] })
    instrumentation.disable()
    expect(collect()).toEqual({})
    expect(callbackCount()).toBe(0)
    instrumentation.enable()
    expect(collect()).toEqual({ [METRIC]: [[40, { shard: 'a', replica: 'r1' }]] })
  })
})

/** A meter provider as the first versions of the metrics API had it: a callback for each instrument, none for several. */
function createPlainProvider() {
  const callbacks = new Map<string, Set<ObservableCallback>>()
  const meter = {
    createObservableGauge(name: string) {
      const ofInstrument = callbacks.get(name) ?? new Set()
      callbacks.set(name, ofInstrument)
      return {
        addCallback: (callback: ObservableCallback) => ofInstrument.add(callback),
        removeCallback: (callback: ObservableCallback) => ofInstrument.delete(callback),
      }
    },
  }
  const collect = () => {
    const points: Record<string, unknown[]> = {}
    for (const [name, ofInstrument] of callbacks) {
      const observe: ObservableResult['observe'] = (...point) => {
        points[name] = [...(points[name] ?? []), point]
      }
      for (const callback of ofInstrument) void callback({ observe })
    }
    return points
  }
  return {
    provider: { getMeter: () => meter } as unknown as MeterProvider,
    collect,
    callbackCount: () => [...callbacks.values()].reduce((count, { size }) => count + size, 0),
  }
}

describe('registerInstrumentations', () => {
  it.each([{}, { enabled: true }, { enabled: false }])(
    'can be called twice, undone and called again: %j',
    async (config) => {
      const { provider, reader } = createProvider()
      const source = new ScriptedSource('db')
      const instrumentation = createInstrumentation({ sources: [source], ...config })
      const register = () =>
        registerInstrumentations({
          instrumentations: [instrumentation],
          meterProvider: provider,
        })
      const unregister = register()
      register()
      expect(await reader.points(METRIC)).toEqual([POINT])
      await vi.advanceTimersByTimeAsync(0)
      expect(source.reads).toHaveLength(1)

      unregister()
      expect(vi.getTimerCount()).toBe(0)
      expect(source.last.signal.aborted).toBe(true)
      instrumentation.gauge.updateLeaderSeqno('b', 1)
      expect(await reader.points(METRIC)).not.toContainEqual({
        attributes: { shard: 'b' },
        value: 1,
      })

      register()
      expect(await reader.points(METRIC)).toContainEqual({ attributes: { shard: 'b' }, value: 1 })
    },
  )
})

describe('enable and disable', () => {
  it('start and stop the reports, as often as they are called', async () => {
    const { provider, reader } = createProvider()
    const logged = recordDiag()
    onTestFinished(() => logged.stop())
    const instrumentation = createInstrumentation()
    instrumentation.setMeterProvider(provider)
    instrumentation.disable()
    instrumentation.disable()
    expect(await reader.points(METRIC)).toEqual([])
    instrumentation.enable()
    instrumentation.enable()
    expect(await reader.points(METRIC)).toEqual([POINT])
    expect(logged.messages).toEqual([])
  })

  it('use the provider that was set in between', async () => {
    const { provider, reader } = createProvider()
    const instrumentation = createInstrumentation({ enabled: false })
    instrumentation.setMeterProvider(provider)
    expect(await reader.points(METRIC)).toEqual([])
    instrumentation.enable()
    expect(await reader.points(METRIC)).toEqual([POINT])
  })

  it('start and stop polling', async () => {
    const source = new ScriptedSource('db')
    const instrumentation = createInstrumentation({ enabled: false, sources: [source] })
    expect(source.reads).toHaveLength(0)
    instrumentation.enable()
    await vi.advanceTimersByTimeAsync(0)
    source.last.answer(reading('pg', 10, { r1: 4 }))
    await vi.advanceTimersByTimeAsync(0)
    expect(instrumentation.lagSeqno('pg', 'r1')).toBe(6)
    instrumentation.disable()
    expect(vi.getTimerCount()).toBe(0)
    instrumentation.enable()
    await vi.advanceTimersByTimeAsync(0)
    expect(source.reads).toHaveLength(2)
    instrumentation.disable()
    expect(source.last.signal.aborted).toBe(true)
    instrumentation.enable()
    instrumentation.disable()
    await vi.advanceTimersByTimeAsync(0)
    expect(source.reads).toHaveLength(2)
  })
})

it('does not keep the process alive while it looks for a provider, polls and samples', async () => {
  vi.useRealTimers()
  /** The timers that keep the process alive. The test runner has some. */
  const timers = async () => {
    await new Promise(setImmediate)
    return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
  }
  const before = await timers()
  const source = new ScriptedSource('db')
  createInstrumentation({ lagSeconds: true, sources: [source] })
  while (source.reads.length === 0) await new Promise(setImmediate)
  expect(await timers()).toBeLessThanOrEqual(before)
})

it('two instrumentations report through one provider, and end independently', async () => {
  const { provider, reader } = createProvider()
  const [one, two] = [createInstrumentation(), createInstrumentation()]
  two.gauge.remove('a')
  two.gauge.updateLeaderSeqno('b', 7)
  one.setMeterProvider(provider)
  two.setMeterProvider(provider)
  expect(await reader.points(METRIC)).toEqual([POINT, { attributes: { shard: 'b' }, value: 7 }])
  one.disable()
  two.gauge.updateLeaderSeqno('b', 8)
  expect(await reader.points(METRIC)).toContainEqual({ attributes: { shard: 'b' }, value: 8 })
})

describe('a collection', () => {
  it('that fails is logged once, and the rest of the application is reported', async () => {
    const { provider, reader } = createProvider()
    provider.getMeter('app').createCounter('requests').add(7)
    const logged = recordDiag()
    onTestFinished(() => logged.stop())
    const instrumentation = createInstrumentation({ gauge: createForeignGauge() })
    instrumentation.setMeterProvider(provider)
    expect(await reader.values()).toEqual({ 'requests{}': 7 })
    expect(await reader.values()).toEqual({ 'requests{}': 7 })
    expect(logged.matching('warn', 'cannot collect: ', '(logged once)')).toHaveLength(1)
    expect(logged.messages).toHaveLength(1)
  })

  it('neither waits for a source that hangs nor fails with one that throws', async () => {
    const { provider, reader } = createProvider()
    const broken = {
      name: 'broken',
      read: () => {
        throw new Error('broken')
      },
    }
    const sources = [new ScriptedSource('hanging'), broken]
    createInstrumentation({ sources }).setMeterProvider(provider)
    await vi.advanceTimersByTimeAsync(100)
    expect(await reader.values()).toEqual({
      [`${METRIC}{a}`]: 100,
      'replication_source_up{broken}': 0,
    })
  })
})
