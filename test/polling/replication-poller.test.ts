import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationPoller,
  type ReplicationPollerOptions,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'
import { answer, INTERVAL, lagsOf, pass, setUpPolling } from '../support/polling.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'

const test = setUpPolling()

const EMPTY = { shards: [] }

/** How often each source was read. */
const counts = (sources: readonly ScriptedSource[]) => sources.map(({ reads }) => reads.length)

describe('a poller', () => {
  it('reads once when it is started twice', async () => {
    const poller = await test.start()
    poller.start()
    await pass(0)
    expect(test.source.reads).toHaveLength(1)
    await answer(test.source, EMPTY)
    poller.start()
    await pass(0)
    await pass(INTERVAL - 1)
    expect(test.source.reads).toHaveLength(1)
  })

  it('reads no more when it is stopped, and again at once when it is started', async () => {
    const poller = await test.start()
    await answer(test.source, EMPTY)
    poller.stop()
    await pass(10 * INTERVAL)
    expect(test.source.reads).toHaveLength(1)
    poller.start()
    await pass(0)
    expect(test.source.reads).toHaveLength(2)
  })

  it('may be stopped before it was started, and twice', async () => {
    const poller = test.poll()
    poller.stop()
    poller.start()
    await pass(0)
    poller.stop()
    poller.stop()
    expect(test.source.reads).toHaveLength(1)
  })

  it.each([
    ['50 ms', INTERVAL, 50],
    ['a part of a short interval', 60, 20],
  ])('starts its sources %s apart, the first at once', async (_, pollIntervalMillis, stagger) => {
    const sources = ['1', '2', '3'].map((name) => new ScriptedSource(name))
    await test.start({ sources, pollIntervalMillis })
    expect(counts(sources)).toEqual([1, 0, 0])
    await pass(stagger - 1)
    expect(counts(sources)).toEqual([1, 0, 0])
    await pass(1)
    expect(counts(sources)).toEqual([1, 1, 0])
    await pass(stagger)
    expect(counts(sources)).toEqual([1, 1, 1])
  })

  it('does not read a source whose turn comes after the stop', async () => {
    const sources = ['1', '2'].map((name) => new ScriptedSource(name))
    const poller = await test.start({ sources })
    poller.stop()
    await pass(10 * INTERVAL)
    expect(counts(sources)).toEqual([1, 0])
  })

  it('polls with intervals of 5 seconds and deadlines of 5 seconds by default', async () => {
    const poller = new ReplicationPoller({ gauge: test.gauge, sources: [test.source] })
    poller.start()
    await pass(0)
    await answer(test.source, EMPTY)
    await pass(4999)
    expect(test.source.reads).toHaveLength(1)
    await pass(1)
    expect(test.source.reads).toHaveLength(2)
    await pass(5000)
    expect(test.source.last.signal.aborted).toBe(false)
    await pass(1)
    expect(test.source.last.signal.aborted).toBe(true)
    poller.stop()
  })

  it('keeps disconnected followers for an hour by default', async () => {
    const poller = new ReplicationPoller({ gauge: test.gauge, sources: [test.source] })
    poller.start()
    await pass(0)
    await answer(test.source, reading('a', 9, { r1: 4 }))
    test.source.read = () => Promise.resolve(reading('a', 10, {}))
    await pass(3_600_000)
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 6 })
    await pass(5000)
    expect(lagsOf(test.gauge)).toEqual({})
    poller.stop()
  })
})

describe('adding a source', () => {
  it('reads it at once while the poller is running', async () => {
    const poller = await test.start({ sources: [] })
    poller.add(test.source)
    await pass(0)
    expect(test.source.reads).toHaveLength(1)
  })
})

describe('removing a source', () => {
  it('ends its polling and removes what it reported, and nothing else', async () => {
    const other = new ScriptedSource('other')
    const poller = await test.start({ sources: [test.source, other] })
    await answer(test.source, reading('a', 9, { r1: 4 }))
    await pass(50)
    await answer(other, reading('b', 9, { r1: 3 }))
    expect(poller.remove('scripted')).toBe(true)
    expect(lagsOf(test.gauge)).toEqual({ 'b/r1': 6 })
    await pass(INTERVAL)
    expect(counts([test.source, other])).toEqual([1, 2])
    // Nothing comes back with a restart.
    poller.stop()
    poller.start()
    await pass(0)
    await pass(INTERVAL)
    expect(test.source.reads).toHaveLength(1)
  })

  it('aborts its read, and ignores what that still brings', async () => {
    const poller = await test.start()
    poller.remove('scripted')
    expect(test.source.last.signal.aborted).toBe(true)
    await answer(test.source, reading('a', 9, { r1: 4 }))
    await pass(10 * INTERVAL)
    expect(lagsOf(test.gauge)).toEqual({})
    expect(test.logged.messages).toEqual([])
    expect(test.source.reads).toHaveLength(1)
  })

  it('returns false for a name that the poller does not have', () => {
    const poller = test.poll()
    test.poll({ sources: [new ScriptedSource('of another poller')] })
    expect(poller.remove('unknown')).toBe(false)
    expect(poller.remove('of another poller')).toBe(false)
    expect(poller.remove(7 as unknown as string)).toBe(false)
    expect(poller.remove('scripted')).toBe(true)
    expect(poller.remove('scripted')).toBe(false)
  })

  it('frees its name', async () => {
    const poller = await test.start()
    await answer(test.source, reading('a', 9, { r1: 4 }))
    poller.remove('scripted')
    const next = new ScriptedSource()
    poller.add(next)
    await answer(next, reading('a', 20, { r1: 18 }))
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 2 })
  })
})

describe('the name of a source', () => {
  const taken = 'expected a name that is not yet in use on this gauge, got "scripted"'

  it('is taken within its poller', () => {
    const poller = test.poll()
    expect(() => poller.add(new ScriptedSource())).toThrow(new TypeError(`source.name: ${taken}`))
    const sources = [new ScriptedSource('1'), new ScriptedSource('1')]
    expect(() => test.poll({ sources })).toThrow(/^sources\[1\]\.name: expected a name that/)
  })

  it('is taken on its gauge, even if another poller polls it', () => {
    test.poll()
    const { gauge } = test
    expect(() => test.poll({ sources: [new ScriptedSource()] })).toThrow(
      new TypeError(`sources[0].name: ${taken}`),
    )
    expect(() => {
      new ReplicationLagInstrumentation({ gauge, sources: [new ScriptedSource()] })
    }).toThrow(new TypeError(`sources[0].name: ${taken}`))
    const other = test.poll({ sources: [] })
    expect(() => {
      other.add(new ScriptedSource())
    }).toThrow(new TypeError(`source.name: ${taken}`))
  })

  it('is free on another gauge', async () => {
    const gauge = new ReplicationLagGauge()
    const sources = [new ScriptedSource()]
    await test.start({ gauge, sources })
    await test.start()
    await answer(test.source, reading('a', 9, { r1: 4 }))
    expect(lagsOf(gauge)).toEqual({})
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 5 })
  })

  it('stays free if another source of the same poller is invalid', async () => {
    const sources = [test.source, {} as ReplicationSource]
    expect(() => test.poll({ sources })).toThrow(/^sources\[1\]: expected/)
    await test.start()
    expect(test.source.reads).toHaveLength(1)
  })
})

describe('an invalid option', () => {
  const read = () => Promise.resolve(EMPTY)
  const MILLIS = 'expected a number of milliseconds from 1 to 2147483647, got'

  it.each<[string, object | null | undefined | number]>([
    ['options: expected an object, got undefined', undefined],
    ['options: expected an object, got null', null],
    ['options: expected an object, got 7', 7],
    ['gauge: expected a ReplicationLagGauge, got undefined', {}],
    ['gauge: expected a ReplicationLagGauge, got an object', { gauge: {} }],
    [`pollIntervalMillis: ${MILLIS} 0`, { pollIntervalMillis: 0 }],
    [`pollIntervalMillis: ${MILLIS} 2147483648`, { pollIntervalMillis: 2 ** 31 }],
    [`pollIntervalMillis: ${MILLIS} NaN`, { pollIntervalMillis: NaN }],
    [`pollIntervalMillis: ${MILLIS} null`, { pollIntervalMillis: null }],
    [`pollTimeoutMillis: ${MILLIS} "5000"`, { pollTimeoutMillis: '5000' }],
    [`pollTimeoutMillis: ${MILLIS} Infinity`, { pollTimeoutMillis: Infinity }],
    [`pollTimeoutMillis: ${MILLIS} 5n`, { pollTimeoutMillis: 5n }],
    [
      'retentionMillis: expected a number of milliseconds from 0 to Infinity, got -1',
      { retentionMillis: -1 },
    ],
    [
      'retentionMillis: expected a number of milliseconds from 0 to Infinity, got a symbol',
      { retentionMillis: Symbol('hour') },
    ],
    ['sources: expected an array of sources, got an object', { sources: new Set() }],
    ['sources: expected an array of sources, got null', { sources: null }],
    ['sources[0]: expected a source with a method read(signal), got null', { sources: [null] }],
    [
      'sources[1]: expected a source with a method read(signal), got an object',
      { sources: [{ name: 'a', read }, { name: 'b' }] },
    ],
    ['sources[0].name: expected a non-empty string, got undefined', { sources: [{ read }] }],
    ['sources[0].name: expected a non-empty string, got ""', { sources: [{ name: '', read }] }],
    ['sources[0].name: expected a non-empty string, got 7', { sources: [{ name: 7, read }] }],
  ])('throws at construction: %s', (message, options) => {
    const given =
      typeof options === 'object' && options !== null && !message.startsWith('gauge')
        ? { gauge: test.gauge, ...options }
        : options
    expect(() => new ReplicationPoller(given as ReplicationPollerOptions)).toThrow(
      new TypeError(message),
    )
  })

  it.each([
    ['source: expected a source with a method read(signal), got undefined', undefined],
    ['source.name: expected a non-empty string, got null', { name: null, read }],
  ])('of add() throws: %s', (message, source) => {
    const poller = test.poll()
    expect(() => poller.add(source as unknown as ReplicationSource)).toThrow(new TypeError(message))
  })

  it('that is at a limit is valid', async () => {
    test.poll({ pollIntervalMillis: 1, pollTimeoutMillis: 1, retentionMillis: 0 })
    const longest = 2 ** 31 - 1
    const sources = [new ScriptedSource('another')]
    const limits = { pollIntervalMillis: longest, pollTimeoutMillis: longest }
    await test.start({ sources, ...limits, retentionMillis: Infinity })
    expect(sources[0]?.reads).toHaveLength(1)
  })

  it('that does not exist is logged', () => {
    const options = { gauge: test.gauge, pollInterval: 5, lagSeconds: true }
    new ReplicationPoller(options)
    expect(test.logged.messages).toEqual(
      ['pollInterval', 'lagSeconds'].map(
        (option) =>
          expect.stringMatching(`^warn: .*unknown option "${option}" is ignored$`) as string,
      ),
    )
  })
})
