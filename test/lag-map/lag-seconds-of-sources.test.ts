import { beforeEach, describe, expect, it } from 'vitest'
import { answer, fail, lagsOf, pass, setUpPolling } from '../support/polling.js'
import { reading } from '../support/scripted-source.js'

const test = setUpPolling()
const INTERVAL = 5000

beforeEach(() => {
  test.poll({ pollIntervalMillis: INTERVAL, pollTimeoutMillis: INTERVAL }).start()
})

/** Answers the read in flight, then lets time pass until the next one is. */
async function read(leaderSeqno: number, applied: Record<string, number | undefined>) {
  await answer(test.source, reading('a', leaderSeqno, applied))
}

const seconds = (replica?: string) => test.gauge.lagSeconds('a', replica)

describe('lag in seconds of a follower from a source', () => {
  it('is unknown until the second reading, unless the follower has caught up', async () => {
    await read(100, { r1: 99, r2: 100 })
    expect([seconds('r1'), seconds('r2')]).toEqual([undefined, 0])
    await pass(INTERVAL - 1)
    expect(seconds('r1')).toBeUndefined()
    await pass(1)
    await read(100, { r1: 99, r2: 100 })
    expect([seconds('r1'), seconds('r2')]).toEqual([5, 0])
  })

  it('is as of the last reading: it does not grow until the next one', async () => {
    await read(100, { r1: 100 })
    await pass(INTERVAL)
    // Of 100 entries in 5 seconds, half were applied.
    await read(200, { r1: 150 })
    expect(seconds('r1')).toBeCloseTo(2.45)
    await pass(4000)
    expect(seconds('r1')).toBeCloseTo(2.45)
    expect(test.gauge.collectMetrics()[0]?.lagSeconds).toBeCloseTo(2.45)
    await pass(1000)
    await read(200, { r1: 150 })
    expect(seconds('r1')).toBeCloseTo(7.45)
  })

  it('is hundredths of a second for a busy follower that is healthy', async () => {
    // 16 MB of log a second, of which the follower always lacks 160 kB, a hundredth of a second.
    for (let poll = 1; poll <= 30; poll++) {
      const leaderSeqno = poll * 80_000_000
      await read(leaderSeqno, { r1: leaderSeqno - 160_000 })
      if (poll > 1) {
        expect(seconds('r1')).toBeCloseTo(0.01, 5)
        await pass(2500)
        expect(seconds('r1')).toBeCloseTo(0.01, 5)
        await pass(2500)
      } else await pass(INTERVAL)
    }
  })

  it('grows from reading to reading for a follower that has disconnected', async () => {
    await read(100, { r1: 100, r2: 100 })
    await pass(INTERVAL)
    for (let poll = 1; poll <= 12; poll++) {
      await read(100 + poll, { r2: 100 + poll })
      expect(seconds('r1')).toBe((poll - 1) * 5)
      expect(seconds('r2')).toBe(0)
      await pass(INTERVAL)
    }
  })

  it('counts from the first reading for a follower whose position became known later', async () => {
    for (let poll = 0; poll < 4; poll++) {
      await read(100 + poll, { r1: undefined, r2: 100 + poll })
      await pass(INTERVAL)
    }
    await read(104, { r1: 50, r2: 104 })
    expect([seconds('r1'), seconds('r2')]).toEqual([20, 0])
    await pass(INTERVAL)
    await read(104, { r1: 102, r2: 104 })
    // The entry after 102 was written between the third and the fourth reading.
    expect(seconds('r1')).toBe(10)
  })

  it('is unknown for a follower whose position is', async () => {
    for (let poll = 0; poll < 3; poll++) {
      await read(100, { r1: undefined })
      await pass(INTERVAL)
    }
    expect(seconds('r1')).toBeUndefined()
  })

  it('has no spike when the epoch changes', async () => {
    const inEpoch = (epoch: string, leaderSeqno: number, appliedSeqno: number) =>
      answer(test.source, {
        shards: [{ shard: 'a', leaderSeqno, followers: [{ replica: 'r1', appliedSeqno }], epoch }],
      })
    await inEpoch('1', 100, 50)
    for (let poll = 1; poll <= 100; poll++) {
      await pass(INTERVAL)
      await inEpoch('1', 100, 50)
    }
    expect(seconds('r1')).toBe(500)
    await pass(INTERVAL)
    await inEpoch('2', 90, 80)
    expect(seconds('r1')).toBeUndefined()
    await pass(INTERVAL)
    await inEpoch('2', 95, 80)
    expect(seconds('r1')).toBe(5)
  })

  it('has no spike when the leader comes back lower in the same epoch', async () => {
    await read(1000, { r1: 1000 })
    await pass(INTERVAL)
    await read(1001, { r1: 1000 })
    for (let poll = 1; poll <= 100; poll++) {
      await pass(INTERVAL)
      await read(1001, { r1: 1000 })
    }
    await pass(INTERVAL)
    await read(500, { r1: 490 })
    expect(seconds('r1')).toBe(0)
    await pass(INTERVAL)
    await read(500, { r1: 490 })
    expect(seconds('r1')).toBe(5)
  })

  it('is unknown once the source is stale, and known again when it answers', async () => {
    await read(100, { r1: 50, r2: 100 })
    await pass(INTERVAL)
    await read(100, { r1: 50, r2: 100 })
    for (let miss = 0; miss < 3; miss++) {
      await pass(INTERVAL)
      await fail(test.source, new Error('down'))
      expect([seconds('r1'), seconds('r2')]).toEqual([5, 0])
    }
    await pass(INTERVAL + 1)
    expect([seconds('r1'), seconds('r2')]).toEqual([undefined, undefined])
    expect(lagsOf(test.gauge)).toEqual({})
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(50)
    await answer(test.source, reading('a', 100, { r1: 50, r2: 100 }))
    expect(seconds('r1')).toBeCloseTo(25, 2)
    expect(seconds('r2')).toBe(0)
  })
})

describe("lag in seconds of the application's follower with a leader from a source", () => {
  it('is as of the last reading', async () => {
    const { gauge } = test
    gauge.updateAppliedSeqno('a', 100)
    gauge.lagSeconds('a')
    await read(100, {})
    await pass(INTERVAL)
    await read(200, {})
    // It was caught up when the leader was read before.
    gauge.updateAppliedSeqno('a', 149)
    expect(seconds()).toBeCloseTo(2.5)
    await pass(INTERVAL - 1)
    expect(seconds()).toBeCloseTo(2.5)
    await pass(1)
    await read(300, {})
    expect(seconds()).toBeCloseTo(7.5)
    gauge.updateAppliedSeqno('a', 249)
    expect(seconds()).toBeCloseTo(2.5)
    gauge.updateAppliedSeqno('a', 300)
    expect(seconds()).toBe(0)
  })

  it('goes back to before the source failed, after it has recovered', async () => {
    const { gauge } = test
    gauge.updateAppliedSeqno('a', 100)
    gauge.lagSeconds('a')
    await read(100, {})
    for (let poll = 1; poll <= 2; poll++) {
      await pass(INTERVAL)
      await read(100 + poll, {})
    }
    for (let miss = 0; miss < 5; miss++) {
      await pass(INTERVAL)
      await fail(test.source, new Error('down'))
    }
    expect(seconds()).toBeUndefined()
    await pass(INTERVAL)
    await read(110, {})
    expect(seconds()).toBe(35)
  })

  it('shares the samples with the followers of the source, which may have caught up', async () => {
    const { gauge } = test
    gauge.updateAppliedSeqno('a', 100, 'own')
    gauge.lagSeconds('a', 'own')
    await read(100, { r1: 100 })
    for (let poll = 1; poll <= 20; poll++) {
      await pass(INTERVAL)
      await read(100 + poll, { r1: 100 + poll })
    }
    expect(seconds('own')).toBe(95)
    expect(seconds('r1')).toBe(0)
  })
})
