import { context } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { isTracingSuppressed } from '@opentelemetry/core'
import {
  ReplicationLagGauge,
  type ReplicationReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { eventually } from '../support/eventually.js'
import {
  answer,
  fail,
  INTERVAL,
  lagsOf,
  pass,
  pointsOf,
  setUpPolling,
  DEADLINE,
  TIMEOUT,
} from '../support/polling.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'

const test = setUpPolling()

const EMPTY: ReplicationReading = { shards: [] }
const UP = 'replication_source_up'

/** Makes a source reject each read when it is aborted. */
function settleOnAbort(source: ScriptedSource): void {
  const read = source.read.bind(source)
  source.read = (signal) => {
    const pending = read(signal)
    const { last } = source
    signal.addEventListener('abort', () => last.fail(signal.reason))
    return pending
  }
}

describe('the interval', () => {
  it('counts from the start of a read to the start of the next', async () => {
    await test.start()
    await pass(200)
    await answer(test.source, EMPTY)
    await pass(INTERVAL - 201)
    expect(test.source.reads).toHaveLength(1)
    await pass(1)
    expect(test.source.reads).toHaveLength(2)
  })

  it('is skipped after a read that took longer', async () => {
    await test.start({ pollTimeoutMillis: 10 * INTERVAL })
    await pass(3 * INTERVAL)
    expect(test.source.reads).toHaveLength(1)
    await answer(test.source, EMPTY)
    expect(test.source.reads).toHaveLength(2)
    await answer(test.source, EMPTY)
    expect(test.source.reads).toHaveLength(2)
  })

  it('leaves the event loop time for others if reads take longer and settle at once', async () => {
    vi.useRealTimers()
    let reads = 0
    test.source.read = () => {
      for (const start = performance.now(); performance.now() - start < 2;);
      // Ends the test if nothing else can.
      return ++reads === 1000 ? new Promise(() => undefined) : Promise.resolve(EMPTY)
    }
    test.poll({ pollIntervalMillis: 1 }).start()
    await eventually(() => expect(reads).toBeGreaterThan(2))
    expect(reads).toBeLessThan(1000)
  })
})

describe('timers', () => {
  /** How many timers keep this process alive. */
  const refTimers = () =>
    process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length

  it('do not keep the process alive, neither between reads nor during one', async () => {
    vi.useRealTimers()
    const before = refTimers()
    const sources = [test.source, new ScriptedSource('started a little later')]
    test.poll({ sources }).start()
    await eventually(() => expect(test.source.reads).toHaveLength(1))
    expect(refTimers()).toBeLessThanOrEqual(before)
    test.source.last.answer(reading('a', 9, { r1: 4 }))
    await eventually(() => expect(test.gauge.lagSeqno('a', 'r1')).toBe(5))
    expect(refTimers()).toBeLessThanOrEqual(before)
  })

  it('end with the read and with the stop', async () => {
    const poller = await test.start()
    await answer(test.source, EMPTY)
    expect(vi.getTimerCount()).toBe(1)
    await pass(INTERVAL)
    poller.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a read that misses its deadline', () => {
  it('is aborted and logged, and the source is down', async () => {
    await test.start()
    await pass(DEADLINE - 1)
    expect(test.source.last.signal.aborted).toBe(false)
    await pass(1)
    expect(test.source.last.signal.aborted).toBe(true)
    expect(
      test.logged.matching('error', '"scripted" cannot be read', 'no answer within 300 ms'),
    ).toHaveLength(1)
    expect(await pointsOf(test.gauge, UP)).toEqual({ scripted: 0 })
  })

  it('is followed by the next one in time if the source settles on abort', async () => {
    settleOnAbort(test.source)
    await test.start()
    await pass(DEADLINE)
    expect(test.source.reads).toHaveLength(1)
    await pass(INTERVAL - DEADLINE)
    expect(test.source.reads).toHaveLength(2)
    await pass(10 * INTERVAL)
    expect(test.source.reads).toHaveLength(12)
    // The error with which a source settles is not another failure.
    expect(test.logged.matching('error')).toHaveLength(1)
  })

  it('is followed by no other until it has settled', async () => {
    await test.start()
    await pass(10 * INTERVAL)
    expect(test.source.reads).toHaveLength(1)
    await fail(test.source, new Error('aborted'))
    expect(test.source.reads).toHaveLength(2)
    expect(test.logged.matching('error')).toHaveLength(1)
  })

  it('has its late answer dropped', async () => {
    await test.start()
    await pass(DEADLINE)
    await answer(test.source, reading('a', 9, { r1: 4 }))
    expect(lagsOf(test.gauge)).toEqual({})
    expect(await pointsOf(test.gauge, UP)).toEqual({ scripted: 0 })
    await pass(INTERVAL - DEADLINE)
    await answer(test.source, reading('a', 9, { r1: 3 }))
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 6 })
    expect(await pointsOf(test.gauge, UP)).toEqual({ scripted: 1 })
  })

  it('that never settles leaves other sources alone', async () => {
    const other = new ScriptedSource('other')
    other.read = () => Promise.resolve(reading('a', 9, { r1: 4 }))
    await test.start({ sources: [test.source, other] })
    await pass(100 * INTERVAL)
    expect(await pointsOf(test.gauge, UP)).toEqual({ scripted: 0, other: 1 })
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 5 })
  })
})

describe('a stop during a read', () => {
  it('aborts it, and does not call that a failure', async () => {
    const poller = await test.start()
    poller.stop()
    expect(test.source.last.signal.aborted).toBe(true)
    await fail(test.source, test.source.last.signal.reason)
    await pass(10 * INTERVAL)
    expect(test.logged.messages).toEqual([])
    expect(test.source.reads).toHaveLength(1)
  })

  it('drops its answer', async () => {
    const poller = await test.start()
    poller.stop()
    await answer(test.source, reading('a', 9, { r1: 4 }))
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(0)
  })

  it('may come from the read itself', async () => {
    const poller = test.poll()
    const read = vi.fn(() => {
      poller.stop()
      return Promise.resolve(reading('a', 9, { r1: 4 }))
    })
    test.source.read = read
    poller.start()
    await pass(0)
    await pass(10 * INTERVAL)
    expect(read).toHaveBeenCalledTimes(1)
    expect(lagsOf(test.gauge)).toEqual({})
  })

  it('and a start: the next read begins as soon as it has settled', async () => {
    const poller = await test.start()
    await answer(test.source, reading('a', 9, { r1: 4 }))
    await pass(INTERVAL)
    poller.stop()
    poller.start()
    await pass(0)
    expect(test.source.reads).toHaveLength(2)
    await pass(10)
    await fail(test.source, test.source.last.signal.reason)
    expect(test.source.reads).toHaveLength(3)
    expect(lagsOf(test.gauge)).toEqual({})
    await answer(test.source, reading('a', 9, { r1: 5 }))
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 4 })
    expect(test.logged.messages).toEqual([])
  })

  it('and a start: it is a failure once it hangs past a deadline', async () => {
    const poller = await test.start()
    await pass(TIMEOUT / 2)
    poller.stop()
    poller.start()
    await pass(0)
    await pass(DEADLINE - 1)
    expect(test.logged.messages).toEqual([])
    await pass(1)
    expect(test.logged.matching('error', 'no answer within 300 ms')).toHaveLength(1)
    await answer(test.source, EMPTY)
    expect(test.source.reads).toHaveLength(2)
  })

  it('and several starts and stops end as the last one says', async () => {
    const poller = await test.start()
    for (let round = 0; round < 3; round++) {
      poller.stop()
      poller.start()
      await pass(0)
    }
    poller.stop()
    await answer(test.source, EMPTY)
    await pass(10 * INTERVAL)
    expect(test.source.reads).toHaveLength(1)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a source object', () => {
  it('is read once at a time, even when it is removed and added again', async () => {
    const poller = await test.start()
    poller.remove('scripted')
    poller.add(test.source)
    await pass(10)
    expect(test.source.reads).toHaveLength(1)
    await answer(test.source, reading('a', 9, { r1: 1 }))
    expect(test.source.reads).toHaveLength(2)
    await answer(test.source, reading('a', 9, { r1: 4 }))
    expect(lagsOf(test.gauge)).toEqual({ 'a/r1': 5 })
  })

  it('is read once at a time by several pollers, and each gets a reading of its own', async () => {
    const gauges = [test.gauge, new ReplicationLagGauge(), new ReplicationLagGauge()]
    for (const gauge of gauges) test.poll({ gauge, pollTimeoutMillis: INTERVAL }).start()
    for (const [index, gauge] of gauges.entries()) {
      await pass(10)
      expect(test.source.reads).toHaveLength(index + 1)
      await answer(test.source, reading('a', 10, { r1: index }))
      expect(lagsOf(gauge)).toEqual({ 'a/r1': 10 - index })
    }
    expect(test.source.reads).toHaveLength(3)
  })

  it('is not read for a poller that no longer waits', async () => {
    const gauge = new ReplicationLagGauge()
    await test.start({ pollTimeoutMillis: 10 * INTERVAL })
    await test.start({ gauge })
    await pass(DEADLINE)
    expect(test.logged.matching('error', 'no answer within 300 ms')).toHaveLength(1)
    await answer(test.source, EMPTY)
    expect(test.source.reads).toHaveLength(1)
    // The interval continues.
    await pass(INTERVAL - DEADLINE)
    expect(test.source.reads).toHaveLength(2)
  })

  it('is not read for a poller that was stopped while it waited', async () => {
    await test.start()
    const waiting = await test.start({ gauge: new ReplicationLagGauge() })
    waiting.stop()
    await answer(test.source, EMPTY)
    await pass(INTERVAL - 1)
    expect(test.source.reads).toHaveLength(1)
  })

  it('is read for a poller that was stopped and started while it waited', async () => {
    const gauge = new ReplicationLagGauge()
    await test.start()
    const waiting = await test.start({ gauge })
    waiting.stop()
    waiting.start()
    await pass(0)
    expect(test.source.reads).toHaveLength(1)
    await answer(test.source, EMPTY)
    expect(test.source.reads).toHaveLength(2)
    await answer(test.source, reading('a', 9, { r1: 4 }))
    expect(lagsOf(gauge)).toEqual({ 'a/r1': 5 })
  })
})

describe('tracing', () => {
  it('is suppressed only during a read', async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    onTestFinished(() => context.disable())
    const isSuppressed = () => isTracingSuppressed(context.active())
    const seen: boolean[] = []
    test.source.read = async () => {
      seen.push(isSuppressed())
      await Promise.resolve()
      seen.push(isSuppressed())
      return EMPTY
    }
    await test.start()
    expect(isSuppressed()).toBe(false)
    await pass(INTERVAL)
    expect(isSuppressed()).toBe(false)
    expect(seen).toEqual([true, true, true, true])
  })
})
