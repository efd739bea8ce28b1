import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  type ReplicationLagOptions,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { provide } from '../support/attachments.js'
import { recordDiag } from '../support/diag.js'
import { ScriptedSource } from '../support/scripted-source.js'
import { TestReader } from '../support/test-reader.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const source = { name: 's', read: () => Promise.resolve({ shards: [] }) }

/** What this package logs during the test. */
function recordLog() {
  const logged = recordDiag()
  onTestFinished(() => logged.stop())
  return logged
}

const classes = [
  {
    name: 'ReplicationLagInstrumentation',
    create: (options?: ReplicationLagOptions) => {
      const instrumentation = new ReplicationLagInstrumentation(options)
      onTestFinished(() => instrumentation.disable())
      return instrumentation
    },
  },
  {
    name: 'ReplicationLagMetricProducer',
    create: (options?: ReplicationLagOptions) => {
      const producer = new ReplicationLagMetricProducer(options)
      onTestFinished(() => producer.shutdown())
      return producer
    },
  },
]

describe.each(classes)('the options of $name', ({ name, create }) => {
  it('may all be undefined', () => {
    const logged = recordLog()
    const options = {
      gauge: undefined,
      sources: undefined,
      pollIntervalMillis: undefined,
      pollTimeoutMillis: undefined,
      retentionMillis: undefined,
      lagSeconds: undefined,
      positions: undefined,
    }
    expect(create(options).gauge).toBeInstanceOf(ReplicationLagGauge)
    expect(logged.messages).toEqual([])
  })

  it('may all be given', () => {
    const logged = recordLog()
    const gauge = new ReplicationLagGauge()
    const { gauge: reported } = create({
      gauge,
      sources: [source],
      pollIntervalMillis: 1,
      pollTimeoutMillis: 2 ** 31 - 1,
      retentionMillis: Infinity,
      lagSeconds: false,
      positions: true,
    })
    expect(reported).toBe(gauge)
    expect(logged.messages).toEqual([])
  })

  it.each<[unknown, RegExp]>([
    [null, /^options: expected an object, got null/],
    ['options', /^options: expected an object, got "options"/],
    [{ lagSeconds: 'yes' }, /^lagSeconds: expected a boolean, got "yes"/],
    [{ positions: 1 }, /^positions: expected a boolean, got 1/],
    [{ gauge: null }, /^gauge: expected a ReplicationLagGauge, got null/],
    [{ gauge: {} }, /^gauge: expected a ReplicationLagGauge, got an object/],
    // replication-poller.test.ts has all mistakes in these.
    [{ sources: [null] }, /^sources\[0\]: expected a source with a method read\(signal\), got/],
    [{ sources: [source, source] }, /^sources\[1\].name: expected a name that is not yet in use/],
    [{ pollIntervalMillis: 0 }, /^pollIntervalMillis: expected a number of milliseconds from 1 to/],
    [{ pollTimeoutMillis: NaN }, /^pollTimeoutMillis: expected a number .* got NaN/],
    [{ retentionMillis: null }, /^retentionMillis: expected a number .* got null/],
  ])('throw a TypeError that says what was expected: %j', (options, message) => {
    const construct = () => create(options as ReplicationLagOptions)
    expect(construct).toThrow(TypeError)
    expect(construct).toThrow(message)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('name the class that was given a lag map in their place', () => {
    const gauge = new ReplicationLagGauge()
    expect(() => create(gauge as object)).toThrow(
      `${name}: expected options such as { gauge }, got a ReplicationLagGauge`,
    )
  })

  it('that do not exist are logged, and the rest works', async () => {
    const logged = recordLog()
    const options = { guage: new ReplicationLagGauge(), sources: [new ScriptedSource()] }
    create(options)
    expect(logged.messages).toHaveLength(1)
    expect(logged.matching('warn', 'unknown option "guage"')).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(0)
    expect(options.sources[0]?.reads).toHaveLength(1)
  })

  it('that do not exist are logged as soon as a logger is set', async () => {
    create({ source: [source] } as ReplicationLagOptions)
    await vi.advanceTimersByTimeAsync(10_000)
    const logged = recordLog()
    await vi.advanceTimersByTimeAsync(1000)
    expect(logged.messages).toEqual([expect.stringMatching(/^warn: .*unknown option "source"/)])
    await vi.advanceTimersByTimeAsync(10_000)
    expect(logged.messages).toHaveLength(1)
  })

  it.each(['true', ' TRUE '])('poll nothing with OTEL_SDK_DISABLED=%j', async (disabled) => {
    vi.stubEnv('OTEL_SDK_DISABLED', disabled)
    onTestFinished(() => void vi.unstubAllEnvs())
    const logged = recordLog()
    const scripted = new ScriptedSource()
    const { gauge } = create({ sources: [scripted] })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(scripted.reads).toHaveLength(0)
    expect(logged.matching('info', 'OTEL_SDK_DISABLED')).toHaveLength(1)
    gauge.updateLeaderSeqno('a', 3)
    expect(gauge.lagSeqno('a')).toBe(3)
  })

  it.each(['false', '', '1'])('poll as usual with OTEL_SDK_DISABLED=%j', async (disabled) => {
    vi.stubEnv('OTEL_SDK_DISABLED', disabled)
    onTestFinished(() => void vi.unstubAllEnvs())
    const scripted = new ScriptedSource()
    create({ sources: [scripted] })
    await vi.advanceTimersByTimeAsync(0)
    expect(scripted.reads).toHaveLength(1)
  })

  it('work where timers are numbers, as in jsdom', async () => {
    vi.useRealTimers()
    const { setTimeout, setInterval } = globalThis
    const asNumber =
      (set: typeof setTimeout) =>
      (...parameters: Parameters<typeof setTimeout>) =>
        Number(set(...parameters).unref())
    vi.stubGlobal('setTimeout', asNumber(setTimeout))
    vi.stubGlobal('setInterval', asNumber(setInterval as typeof setTimeout))
    onTestFinished(() => void vi.unstubAllGlobals())
    const scripted = new ScriptedSource()
    const { gauge } = create({ sources: [scripted] })
    await vi.waitFor(() => expect(scripted.reads).toHaveLength(1))
    scripted.last.answer({
      shards: [{ shard: 'a', leaderSeqno: 3, followers: [{ appliedSeqno: 1 }] }],
    })
    await vi.waitFor(() => expect(gauge.lagSeqno('a')).toBe(2))
  })
})

describe.each(classes)('the sources of $name', ({ create }) => {
  it('can be added and removed', async () => {
    const attachment = create()
    const first = new ScriptedSource('first')
    attachment.addSource(first)
    await vi.advanceTimersByTimeAsync(0)
    first.last.answer({
      shards: [{ shard: 'a', leaderSeqno: 3, followers: [{ appliedSeqno: 1 }] }],
    })
    const second = new ScriptedSource('second')
    attachment.addSource(second)
    await vi.advanceTimersByTimeAsync(0)
    expect(second.reads).toHaveLength(1)
    expect(attachment.gauge.lagSeqno('a')).toBe(2)

    expect(attachment.removeSource('first')).toBe(true)
    expect(attachment.removeSource('first')).toBe(false)
    expect(attachment.gauge.lagSeqno('a')).toBe(0)
    attachment.addSource(first)
    expect(() => attachment.addSource(new ScriptedSource('first'))).toThrow(
      /^source.name: expected a name that is not yet in use/,
    )
    expect(() => attachment.addSource({ name: 'third' } as never)).toThrow(
      /^source: expected a source/,
    )
  })
})

describe('the options of ReplicationLagInstrumentation', () => {
  it('enabled must be a boolean', () => {
    const options = { gauge: new ReplicationLagGauge(), sources: [source] }
    const enabled = 'yes' as unknown as boolean
    expect(() => new ReplicationLagInstrumentation({ ...options, enabled })).toThrow(
      /^enabled: expected a boolean, got "yes"/,
    )
    expect(vi.getTimerCount()).toBe(0)
    // The gauge is as before: a second attempt can have a source of the same name.
    new ReplicationLagInstrumentation({ ...options, enabled: false })
  })

  it('are returned by getConfig', () => {
    const options = { sources: [source], pollIntervalMillis: 100, positions: true }
    const instrumentation = new ReplicationLagInstrumentation({ ...options, enabled: false })
    const { gauge } = instrumentation
    const config = { ...options, gauge, lagSeconds: true, enabled: false }
    expect(instrumentation.getConfig()).toEqual(config)
    instrumentation.enable()
    expect(instrumentation.getConfig()).toEqual({ ...config, enabled: true })
    instrumentation.disable()
    expect(instrumentation.getConfig()).toEqual(config)
  })
})

describe('setConfig', () => {
  /** An instrumentation with one follower that lags by 6. */
  function createInstrumentation(options: ReplicationLagOptions = {}) {
    const instrumentation = new ReplicationLagInstrumentation({ lagSeconds: false, ...options })
    onTestFinished(() => instrumentation.disable())
    const reader = new TestReader()
    instrumentation.setMeterProvider(provide(reader))
    instrumentation.gauge.updateLeaderSeqno('a', 10)
    instrumentation.gauge.updateAppliedSeqno('a', 4)
    return { instrumentation, reader }
  }
  const LAG = { 'replication_lag_seqno{a}': 6 }
  const POSITIONS = { 'replication_leader_seqno{a}': 10, 'replication_applied_seqno{a}': 4 }

  it('changes what is reported, with the defaults for what is left out', async () => {
    const { instrumentation, reader } = createInstrumentation()
    const logged = recordLog()
    expect(await reader.values()).toEqual(LAG)
    instrumentation.setConfig({ positions: true, lagSeconds: false })
    expect(await reader.values()).toEqual({ ...LAG, ...POSITIONS })
    expect(instrumentation.getConfig()).toMatchObject({ positions: true, lagSeconds: false })
    instrumentation.setConfig({})
    expect(instrumentation.getConfig()).toMatchObject({ positions: false, lagSeconds: true })
    await vi.advanceTimersByTimeAsync(2000)
    const points = await reader.points('replication_lag_seconds')
    expect(points).toEqual([{ attributes: { shard: 'a' }, value: expect.any(Number) as number }])
    expect(logged.messages).toEqual([])
  })

  it('neither enables nor disables', async () => {
    const { instrumentation, reader } = createInstrumentation()
    instrumentation.setConfig({ lagSeconds: false, enabled: false })
    expect(await reader.values()).toEqual(LAG)
    instrumentation.disable()
    instrumentation.setConfig({ positions: true, enabled: true })
    instrumentation.gauge.updateAppliedSeqno('a', 9)
    // The reader reports what was observed last.
    expect(await reader.values()).toEqual(LAG)
    instrumentation.enable()
    expect(await reader.values()).toMatchObject({
      'replication_lag_seqno{a}': 1,
      'replication_applied_seqno{a}': 9,
    })
  })

  it('warns about each option that it cannot change', async () => {
    const options = { sources: [source], retentionMillis: 1000 }
    const { instrumentation, reader } = createInstrumentation(options)
    const { gauge } = instrumentation
    const logged = recordLog()
    const changed = {
      gauge: new ReplicationLagGauge(),
      sources: [],
      pollIntervalMillis: 1,
      pollTimeoutMillis: 2,
      retentionMillis: 3,
      lagSecond: false,
    }
    instrumentation.setConfig(changed)
    instrumentation.setConfig(changed)
    expect(logged.messages).toHaveLength(2 * Object.keys(changed).length)
    for (const option of Object.keys(changed)) {
      expect(logged.matching('warn', `setConfig cannot change ${option}: `)).toHaveLength(2)
    }
    expect(instrumentation.gauge).toBe(gauge)
    expect(instrumentation.getConfig()).toMatchObject({ gauge, ...options })
    expect(await reader.values()).toMatchObject(LAG)
  })

  it('does not warn about options that stay as they are', () => {
    const { instrumentation } = createInstrumentation({ sources: [source], retentionMillis: 1000 })
    const logged = recordLog()
    instrumentation.setConfig({ ...instrumentation.getConfig(), pollIntervalMillis: undefined })
    expect(logged.messages).toEqual([])
  })

  it.each<[unknown, RegExp]>([
    [null, /^config: expected an object, got null/],
    [{ positions: true, lagSeconds: 1 }, /^lagSeconds: expected a boolean, got 1/],
    [{ positions: 1 }, /^positions: expected a boolean, got 1/],
  ])('throws and changes nothing with %j', async (config, message) => {
    const { instrumentation, reader } = createInstrumentation()
    expect(() => instrumentation.setConfig(config as ReplicationLagOptions)).toThrow(message)
    expect(await reader.values()).toEqual(LAG)
  })
})
