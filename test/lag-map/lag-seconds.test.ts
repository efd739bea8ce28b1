import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { eventually } from '../support/eventually.js'
import { Link } from '../support/link.js'

let gauge: ReplicationLagGauge
beforeEach(() => {
  vi.useFakeTimers()
  gauge = new ReplicationLagGauge()
})
afterEach(() => {
  vi.useRealTimers()
})

function pass(seconds: number): void {
  vi.advanceTimersByTime(seconds * 1000)
}

/** Begins to measure, and lets a second pass, after which everything that is known now is measured. */
function startMeasuring(): void {
  gauge.lagSeconds('any')
  pass(1)
}

/** The same with a follower that has applied all that its leader has: seqno 0. */
function startCaughtUp(): void {
  gauge.updateLeaderSeqno('a', 0)
  gauge.updateAppliedSeqno('a', 0)
  startMeasuring()
}

/** The seconds of every follower that has any, as `shard/replica: seconds`. */
function seconds(): Record<string, number> {
  return Object.fromEntries(
    gauge
      .collectMetrics()
      .flatMap(({ shard, replica = '', lagSeconds }) =>
        lagSeconds === undefined ? [] : [[`${shard}/${replica}`, lagSeconds]],
      ),
  )
}

describe('lag in seconds is unknown', () => {
  it('for what was never seen', () => {
    gauge.updateLeaderSeqno('a', 5)
    gauge.updateAppliedSeqno('a', 5, 'r1')
    startMeasuring()
    expect(gauge.lagSeconds('unknown')).toBeUndefined()
    expect(gauge.lagSeconds('a', 'unknown')).toBeUndefined()
    expect(gauge.lagSeconds('a')).toBeUndefined()
  })

  it('until a second after the first sample, unless the follower has caught up', () => {
    gauge.updateLeaderSeqno('a', 5)
    gauge.updateAppliedSeqno('a', 4, 'r1')
    gauge.updateAppliedSeqno('a', 5, 'r2')
    expect(gauge.lagSeconds('a', 'r1')).toBeUndefined()
    expect(gauge.lagSeconds('a', 'r2')).toBe(0)
    pass(0.999)
    expect(gauge.lagSeconds('a', 'r1')).toBeUndefined()
    expect(seconds()).toEqual({ 'a/r2': 0 })
    pass(0.001)
    expect(gauge.lagSeconds('a', 'r1')).toBe(1)
  })

  it('for a shard that is new, until a second after its first sample', () => {
    startMeasuring()
    gauge.updateLeaderSeqno('a', 5)
    pass(0.5)
    expect(gauge.lagSeconds('a')).toBeUndefined()
    pass(1.4)
    expect(gauge.lagSeconds('a')).toBeUndefined()
    pass(0.1)
    expect(gauge.lagSeconds('a')).toBe(1)
  })

  it('while the leader is', () => {
    gauge.updateAppliedSeqno('a', 5)
    const leader = gauge.leader('a')
    startMeasuring()
    expect(gauge.lagSeconds('a')).toBeUndefined()
    leader.store(5)
    expect(gauge.lagSeconds('a')).toBe(0)
  })
})

describe('measuring', () => {
  it('begins with the first question, and once only', () => {
    expect(vi.getTimerCount()).toBe(0)
    gauge.lagSeqno('a')
    expect(vi.getTimerCount()).toBe(0)
    gauge.lagSeconds('a')
    gauge.lagSeconds('a')
    gauge.collectMetrics()
    expect(vi.getTimerCount()).toBe(1)
  })

  it.each([
    ['a snapshot', () => gauge.collectMetrics()],
    ['a metric producer', () => new ReplicationLagMetricProducer({ gauge })],
    ['an instrumentation', () => new ReplicationLagInstrumentation({ gauge })],
  ])('begins with %s, so that the lag is known a second later', (_, begin) => {
    gauge.updateLeaderSeqno('a', 5)
    begin()
    pass(1)
    expect(gauge.lagSeconds('a')).toBe(1)
  })

  it('does not begin with metrics that leave the seconds out', async () => {
    const producer = new ReplicationLagMetricProducer({ gauge, lagSeconds: false })
    await producer.collect()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('does not keep the process alive', () => {
    vi.useRealTimers()
    const started = vi.spyOn(globalThis, 'setInterval')
    gauge.lagSeconds('a')
    const [timer] = started.mock.results.map(({ value }) => value as NodeJS.Timeout)
    expect(timer?.hasRef()).toBe(false)
    clearInterval(timer)
    started.mockRestore()
  })

  it('ends when the gauge is garbage', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const startMeasuring = () => {
      const gauge = new ReplicationLagGauge()
      gauge.updateLeaderSeqno('a', 5)
      gauge.updateAppliedSeqno('a', 4, 'r1')
      gauge.lagSeconds('a', 'r1')
    }
    startMeasuring()
    expect(vi.getTimerCount()).toBe(1)
    await eventually(() => {
      collectGarbage()
      vi.advanceTimersByTime(1000)
      expect(vi.getTimerCount()).toBe(0)
    })
  })
})

describe('lag in seconds', () => {
  it('is the age of the oldest entry that the follower has not applied', () => {
    gauge.updateLeaderSeqno('a', 100)
    gauge.updateAppliedSeqno('a', 100)
    startMeasuring()
    for (let second = 0; second < 10; second++) {
      gauge.updateLeaderSeqno('a', 101 + second)
      pass(1)
    }
    // Each entry was written in the second between two samples, and counts from its end.
    for (let applied = 0; applied < 10; applied++) {
      gauge.updateAppliedSeqno('a', 100 + applied)
      expect(gauge.lagSeconds('a')).toBe(9 - applied)
    }
    gauge.updateAppliedSeqno('a', 110)
    expect(gauge.lagSeconds('a')).toBe(0)
  })

  it('is 0 for a follower that has caught up with a leader that is idle for a day', () => {
    gauge.updateLeaderSeqno('a', 100)
    gauge.updateAppliedSeqno('a', 100)
    startMeasuring()
    for (let hour = 0; hour < 24; hour++) {
      pass(3600)
      expect(gauge.lagSeconds('a')).toBe(0)
    }
    gauge.updateLeaderSeqno('a', 101)
    pass(2)
    expect(gauge.lagSeconds('a')).toBe(1)
  })

  it('is interpolated between the two samples around the entry', () => {
    startCaughtUp()
    gauge.updateLeaderSeqno('a', 100)
    pass(1)
    gauge.updateLeaderSeqno('a', 300)
    pass(2)
    // Entry 50 of the 100 of a second, 3 seconds ago; then entry 100 of the 200 of the next one.
    gauge.updateAppliedSeqno('a', 49)
    expect(gauge.lagSeconds('a')).toBe(2.5)
    gauge.updateAppliedSeqno('a', 199)
    expect(gauge.lagSeconds('a')).toBe(1.5)
  })

  it('goes back to when an entry was written, however long the leader has been idle since', () => {
    startCaughtUp()
    gauge.updateLeaderSeqno('a', 100)
    pass(1)
    gauge.updateAppliedSeqno('a', 49)
    for (let second = 1; second <= 60; second++) {
      pass(1)
      expect(gauge.lagSeconds('a')).toBe(second + 0.5)
    }
  })

  it('is within 5 % for any entry of an hour in bursts, of which most samples are dropped', () => {
    gauge.updateAppliedSeqno('a', 0, 'stalled')
    gauge.updateLeaderSeqno('a', 0)
    startMeasuring()
    for (let minute = 1; minute <= 60; minute++) {
      gauge.updateLeaderSeqno('a', minute * 1000)
      pass(60)
    }
    for (let minute = 1; minute <= 60; minute++) {
      gauge.updateAppliedSeqno('a', minute * 1000 - 500, 'r1')
      const age = 3600 - 60 * (minute - 1)
      const error = Math.abs((gauge.lagSeconds('a', 'r1') ?? NaN) - age)
      expect(error).toBeLessThanOrEqual(Math.max(1, 0.05 * age))
    }
  })

  it('is interpolated between the last sample and now', () => {
    gauge.updateLeaderSeqno('a', 100)
    gauge.updateAppliedSeqno('a', 100, 'r1')
    gauge.updateAppliedSeqno('a', 100, 'r2')
    startMeasuring()
    gauge.updateLeaderSeqno('a', 200)
    pass(0.8)
    // No follower was behind at the last sample.
    expect(gauge.lagSeconds('a', 'r1')).toBeCloseTo(0.8 * 0.99)
    gauge.updateAppliedSeqno('a', 149, 'r1')
    expect(gauge.lagSeconds('a', 'r1')).toBeCloseTo(0.8 * 0.5)
    gauge.updateAppliedSeqno('a', 199, 'r1')
    expect(gauge.lagSeconds('a', 'r1')).toBe(0)
    // Now one was, so there is a history.
    pass(0.2)
    gauge.updateLeaderSeqno('a', 300)
    pass(0.6)
    gauge.updateAppliedSeqno('a', 249, 'r1')
    expect(gauge.lagSeconds('a', 'r1')).toBeCloseTo(0.6 * 0.5)
    expect(gauge.lagSeconds('a', 'r2')).toBeCloseTo(1.59)
  })

  it('is measured for each replica of a shard, whichever is asked for first', () => {
    for (const replica of ['r1', 'r2', 'r3']) gauge.updateAppliedSeqno('a', 0, replica)
    gauge.updateLeaderSeqno('a', 0)
    startMeasuring()
    for (let second = 1; second <= 100; second++) {
      gauge.updateLeaderSeqno('a', second)
      pass(1)
      gauge.updateAppliedSeqno('a', second, 'r1')
      gauge.updateAppliedSeqno('a', Math.max(0, second - 10), 'r2')
    }
    expect(gauge.lagSeconds('a', 'r3')).toBe(99)
    expect(gauge.lagSeconds('a', 'r2')).toBe(9)
    expect(gauge.lagSeconds('a', 'r1')).toBe(0)
    expect(gauge.lagSeconds('a', 'r3')).toBe(99)
    expect(seconds()).toEqual({ 'a/r1': 0, 'a/r2': 9, 'a/r3': 99 })
  })

  it('counts from its return for a lone leader that comes back lower', () => {
    gauge.updateLeaderSeqno('lone', 50)
    gauge.lagSeconds('lone')
    pass(20)
    expect(gauge.lagSeconds('lone')).toBe(20)
    gauge.updateLeaderSeqno('lone', 5)
    pass(3)
    // It can have come back right after the sample before.
    expect(gauge.lagSeconds('lone')).toBe(3)
    gauge.updateLeaderSeqno('lone', 6)
    pass(10)
    expect(gauge.lagSeconds('lone')).toBe(13)
  })

  it('counts from the first sample for a follower that has applied nothing, and for a lone leader', () => {
    gauge.updateLeaderSeqno('declared', 5)
    gauge.applied('declared', 'r1')
    gauge.updateLeaderSeqno('unnamed', 5)
    gauge.applied('unnamed')
    gauge.updateLeaderSeqno('lone', 5)
    gauge.updateLeaderSeqno('both', 5)
    gauge.applied('both', 'declared')
    gauge.updateAppliedSeqno('both', 5, 'caught up')
    gauge.collectMetrics()
    pass(30)
    gauge.updateLeaderSeqno('lone', 50)
    const ofBoth = { 'both/declared': 30, 'both/caught up': 0 }
    expect(seconds()).toEqual({ 'declared/r1': 30, 'unnamed/': 30, 'lone/': 30, ...ofBoth })
    expect(gauge.lagSeconds('lone')).toBe(30)
  })

  it('has no spike when the first follower of a leader appears', () => {
    gauge.updateLeaderSeqno('a', 10)
    startMeasuring()
    pass(3600)
    gauge.updateLeaderSeqno('a', 1000)
    pass(1)
    gauge.updateAppliedSeqno('a', 500, 'r1')
    gauge.updateAppliedSeqno('a', 5, 'r2')
    for (let second = 1; second <= 10; second++) {
      pass(1)
      // What was written while no follower was behind counts from the last sample of that time.
      expect(gauge.lagSeconds('a', 'r1')).toBeCloseTo(second - 0.5, 1)
      expect(gauge.lagSeconds('a', 'r2')).toBe(3602 + second)
    }
  })

  it('is at least the time since a follower was replaced by an older copy', () => {
    gauge.updateLeaderSeqno('a', 1000)
    gauge.updateAppliedSeqno('a', 1000)
    startMeasuring()
    pass(3600)
    gauge.updateAppliedSeqno('a', 300)
    expect(gauge.lagSeconds('a')).toBe(0)
    pass(0.5)
    expect(gauge.lagSeconds('a')).toBe(0.5)
    pass(10)
    expect(gauge.lagSeconds('a')).toBe(10.5)
  })

  it('starts again for a shard that was removed', () => {
    gauge.updateLeaderSeqno('a', 5)
    startMeasuring()
    pass(99)
    expect(gauge.lagSeconds('a')).toBe(100)
    gauge.remove('a')
    gauge.updateLeaderSeqno('a', 5)
    expect(gauge.lagSeconds('a')).toBeUndefined()
    pass(3)
    expect(gauge.lagSeconds('a')).toBe(2)
  })

  it('starts again when a follower that was behind is removed', () => {
    gauge.updateLeaderSeqno('a', 5)
    gauge.updateAppliedSeqno('a', 1, 'r1')
    startMeasuring()
    pass(100)
    gauge.remove('a', 'r1')
    pass(100)
    gauge.updateAppliedSeqno('a', 1, 'r1')
    pass(10)
    expect(gauge.lagSeconds('a', 'r1')).toBe(10)
  })

  it('is measured for many shards, and begins at different times', () => {
    for (let shard = 0; shard < 1000; shard++) {
      gauge.updateLeaderSeqno(shard, 1)
      if (shard === 499) gauge.collectMetrics()
    }
    pass(7)
    const values = Object.values(seconds())
    expect(values).toHaveLength(1000)
    expect(new Set(values)).toEqual(new Set([6, 7]))
  })

  it('is within 5 % of the age for hours of a log that was written in bursts', () => {
    startCaughtUp()
    const minutes = 240
    const bursts: { before: number; age: number }[] = []
    let seqno = 0
    for (let second = 0; second < minutes * 60; second++) {
      const isBurst = [1, 80, 81, 200, 230].includes(second / 60)
      if (isBurst) bursts.push({ before: seqno, age: minutes * 60 - second })
      gauge.updateLeaderSeqno('a', (seqno += isBurst ? 100_000 : 1))
      pass(1)
    }
    for (const { before, age } of bursts) {
      gauge.updateAppliedSeqno('a', before)
      expect(Math.abs((gauge.lagSeconds('a') ?? NaN) - age)).toBeLessThan(1 + 0.05 * age)
    }
  })

  it('is right at the top of the range of seqnos, and for jumps of more than 2^53', () => {
    const top = 2n ** 64n - 1n
    for (const shard of ['top', 'jump']) gauge.updateAppliedSeqno(shard, 0)
    gauge.updateLeaderSeqno('top', top - 200n)
    gauge.updateAppliedSeqno('top', top - 200n)
    gauge.updateLeaderSeqno('jump', 0)
    startMeasuring()
    gauge.updateLeaderSeqno('top', top - 100n)
    gauge.updateLeaderSeqno('jump', 2n ** 60n)
    pass(1)
    gauge.updateLeaderSeqno('top', top)
    gauge.updateLeaderSeqno('jump', top)
    pass(10)
    gauge.updateAppliedSeqno('top', top - 151n)
    expect(gauge.lagSeconds('top')).toBe(10.5)
    gauge.updateAppliedSeqno('top', top - 1n)
    expect(gauge.lagSeconds('top')).toBe(9)
    expect(gauge.lagSeconds('jump')).toBe(11)
    gauge.updateAppliedSeqno('jump', 2n ** 59n)
    expect(gauge.lagSeconds('jump')).toBe(10.5)
    gauge.updateAppliedSeqno('jump', 2n ** 60n)
    expect(gauge.lagSeconds('jump')).toBe(10)
    // After such a jump, single entries are too close to each other to tell their ages.
    gauge.updateAppliedSeqno('jump', top - 1n)
    expect(gauge.lagSeconds('jump')).toBeGreaterThanOrEqual(0)
  })
})

it.each([0, 1])(
  'followers in two threads share the samples of their leader (stalled is %s)',
  async (stalled) => {
    vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] })
    const [main, worker] = [new ReplicationLagGauge(), new ReplicationLagGauge()]
    const followers = [main.applied('a', 'r0'), worker.applied('a', 'r1')]
    for (const follower of followers) follower.store(0)
    const link = new Link(worker, main)
    await link.delivered()
    main.updateLeaderSeqno('a', 0)
    main.collectMetrics()
    for (let second = 1; second <= 100; second++) {
      main.updateLeaderSeqno('a', second)
      followers[1 - stalled]?.store(second)
      pass(1)
    }
    expect(main.lagSeconds('a', `r${stalled}`)).toBe(99)
    expect(main.lagSeconds('a', `r${1 - stalled}`)).toBe(0)
    await link.close()
  },
)

describe('a leader that comes back lower', () => {
  /** A leader that wrote a hundred entries a second for 100 s, with one follower that is stalled and one that is not. */
  function write(): void {
    gauge.updateLeaderSeqno('a', 0)
    gauge.updateAppliedSeqno('a', 0, 'stalled')
    startMeasuring()
    for (let second = 1; second <= 100; second++) {
      gauge.updateLeaderSeqno('a', second * 100)
      gauge.updateAppliedSeqno('a', second * 100, 'quick')
      pass(1)
    }
  }

  it('makes the lag unknown until the next sample, because it may have written anything again', () => {
    write()
    gauge.updateLeaderSeqno('a', 9950)
    gauge.updateAppliedSeqno('a', 9949, 'quick')
    pass(0.5)
    expect(gauge.lagSeconds('a', 'quick')).toBeUndefined()
    expect(gauge.lagSeconds('a', 'stalled')).toBeUndefined()
    gauge.updateAppliedSeqno('a', 9950, 'quick')
    expect(gauge.lagSeconds('a', 'quick')).toBe(0)
    pass(0.5)
    expect(gauge.lagSeconds('a', 'stalled')).toBeCloseTo(101, 1)
  })

  it.each([9700, 5000])(
    'still has its entries up to %d, and those that it writes from now on',
    (newest) => {
      write()
      gauge.updateLeaderSeqno('a', newest)
      gauge.updateAppliedSeqno('a', newest - 700, 'quick')
      pass(1)
      expect(gauge.lagSeconds('a', 'quick')).toBeCloseTo(101 - (newest - 700) / 100, 1)
      gauge.updateLeaderSeqno('a', newest + 100)
      pass(1)
      gauge.updateAppliedSeqno('a', newest + 49, 'quick')
      expect(gauge.lagSeconds('a', 'quick')).toBeCloseTo(0.5)
    },
  )

  it('makes no spike when it starts from nothing, also with a follower that was behind', () => {
    gauge.updateLeaderSeqno('a', 1000)
    gauge.updateAppliedSeqno('a', 1000)
    startMeasuring()
    gauge.updateLeaderSeqno('a', 1001)
    pass(3600)
    gauge.updateLeaderSeqno('a', 5)
    gauge.updateAppliedSeqno('a', 3)
    expect(gauge.lagSeconds('a')).toBeUndefined()
    pass(1)
    expect(gauge.lagSeconds('a')).toBe(0)
    pass(2)
    expect(gauge.lagSeconds('a')).toBe(2)
  })

  it('makes no spike when no follower was behind', () => {
    gauge.updateLeaderSeqno('a', 1000)
    gauge.updateAppliedSeqno('a', 1000)
    startMeasuring()
    pass(3600)
    gauge.updateLeaderSeqno('a', 500)
    gauge.updateAppliedSeqno('a', 400)
    expect(gauge.lagSeconds('a')).toBeUndefined()
    pass(1)
    expect(gauge.lagSeconds('a')).toBe(0)
    gauge.updateLeaderSeqno('a', 600)
    pass(2)
    expect(gauge.lagSeconds('a')).toBe(2)
    gauge.updateAppliedSeqno('a', 549)
    expect(gauge.lagSeconds('a')).toBe(1.5)
  })
})
