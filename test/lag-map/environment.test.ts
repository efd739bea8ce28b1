import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { eventually } from '../support/eventually.js'
import { reading } from '../support/scripted-source.js'

/** Loads the package again, in the environment as it is now. */
async function load() {
  vi.resetModules()
  return import('opentelemetry-instrumentation-replication-lag')
}

afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

describe('where timers are numbers, as in jsdom', () => {
  let timers: number[]
  beforeEach(() => {
    timers = []
    const numbered = (start: typeof setTimeout | typeof setInterval) => {
      return (callback: () => void, millis: number) => {
        const timer = Number(start(callback, millis))
        timers.push(timer)
        return timer
      }
    }
    vi.stubGlobal('setTimeout', numbered(setTimeout))
    vi.stubGlobal('setInterval', numbered(setInterval))
  })
  afterEach(() => {
    for (const timer of timers) clearTimeout(timer)
  })

  it('lag in seconds is measured', async () => {
    const { ReplicationLagGauge } = await load()
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 5)
    await eventually(() => expect(gauge.lagSeconds('a')).toBeGreaterThanOrEqual(1))
  })

  it('sources are polled', async () => {
    const { ReplicationLagMetricProducer } = await load()
    const source = { name: 'db', read: vi.fn(() => Promise.resolve(reading('a', 9, { r1: 5 }))) }
    const producer = new ReplicationLagMetricProducer({ sources: [source], pollIntervalMillis: 10 })
    await eventually(() => expect(source.read.mock.calls.length).toBeGreaterThan(2))
    expect(producer.gauge.lagSeqno('a', 'r1')).toBe(4)
    await producer.shutdown()
  })
})

describe('where there is no SharedArrayBuffer', () => {
  it('everything works but publish, which says so', async () => {
    vi.stubGlobal('SharedArrayBuffer', undefined)
    const { ReplicationLagGauge } = await load()
    const gauge = new ReplicationLagGauge()
    for (let shard = 0; shard < 200; shard++) {
      gauge.updateLeaderSeqno(shard, 2n ** 64n - 1n)
      gauge.applied(shard, 'r1').store(2n ** 64n - 1n - BigInt(shard))
    }
    expect(gauge.collectMetrics().map(({ lagSeqno }) => lagSeqno)).toEqual(
      Array.from({ length: 200 }, (_, shard) => shard),
    )
    const port = { postMessage: vi.fn(), on: vi.fn(), unref: vi.fn() }
    expect(() => gauge.publish(port)).toThrow(/^publish: this environment has no SharedArrayBuffer/)
    expect(port.postMessage).not.toHaveBeenCalled()
  })
})
