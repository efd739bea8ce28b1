import { afterEach, describe, expect, it, vi } from 'vitest'
import { LeaderSamples } from '../src/leader-samples.js'
import { SampleBlocks } from '../src/sample-blocks.js'

afterEach(() => {
  vi.restoreAllMocks()
})

/** A leader that writes a hundred entries a second, and a follower that stands still from the beginning on. */
function behind(samples: LeaderSamples, seconds: number): number {
  const leader = samples.add()
  for (let second = 0; second <= seconds; second++) {
    samples.sample(leader, BigInt(second * 100), 0n, second * 1000)
  }
  return leader
}

describe('the age of an entry', () => {
  it.each([1, 5, 13, 14, 15, 16, 17, 30, 100, 1000])('is known %s seconds back', (seconds) => {
    const samples = new LeaderSamples()
    const leader = behind(samples, seconds)
    const [leaderSeqno, now] = [BigInt(seconds * 100 + 50), seconds * 1000 + 500]
    for (let written = 0.5; written < seconds; written++) {
      const age = samples.age(leader, leaderSeqno, BigInt(written * 100 - 1), now)
      expect(age.atLeast).toBe(false)
      expect(Math.abs(age.seconds - (now / 1000 - written))).toBeLessThan(0.05 * age.seconds)
    }
    expect(samples.age(leader, leaderSeqno, leaderSeqno - 1n, now)).toEqual({
      seconds: 0,
      atLeast: false,
    })
  })

  it('is the same whichever follower was asked for before', () => {
    const samples = new LeaderSamples()
    const leader = behind(samples, 100)
    const applied = [49n, 149n, 2049n, 5049n, 9849n, 9999n]
    const ages = (applied: readonly bigint[]) =>
      applied.map((applied) => samples.seconds(leader, 10_000n, applied, 100_000))
    const first = ages(applied)
    expect(first[0]).toBeCloseTo(99.5)
    expect(first[5]).toBe(0)
    expect(ages(applied.toReversed()).reverse()).toEqual(first)
    for (const [i, age] of first.entries()) {
      expect(ages(applied.slice(i, i + 1).concat(applied.slice(i)))).toEqual([
        age,
        ...first.slice(i),
      ])
    }
  })

  it('is at least that of the first sample for what was there before it', () => {
    const samples = new LeaderSamples()
    const leader = samples.add()
    for (let second = 0; second < 100; second++) {
      samples.sample(leader, BigInt(500 + second), 3n, second * 1000)
      const age = samples.age(leader, BigInt(500 + second), 3n, second * 1000 + 500)
      expect(age).toEqual({ seconds: second + 0.5, atLeast: true })
    }
  })

  it('does not jump when samples are moved to the history', () => {
    const samples = new LeaderSamples()
    const leader = samples.add()
    let before = 0
    for (let tenth = 0; tenth < 1000; tenth++) {
      // Uneven: most entries of a second come in its second half.
      if (tenth % 10 === 0) {
        samples.sample(leader, BigInt(tenth * 10 + (tenth % 3)), 149n, tenth * 100)
      }
      const seconds = samples.seconds(leader, BigInt(tenth * 10 + 2), 149n, tenth * 100) ?? 0
      if (tenth > 30) expect(seconds - before).toBeCloseTo(0.1)
      before = seconds
    }
  })

  it('is never negative, also at the very moment of a sample', () => {
    const samples = new LeaderSamples()
    const leader = samples.add()
    for (let second = 0; second < 100; second++) {
      // Not a multiple of the sixteenth of a millisecond that a history counts.
      const now = second * 1000 + 0.01
      samples.sample(leader, BigInt(second * 100), 0n, now)
      const newest = samples.seconds(leader, BigInt(second * 100), BigInt(second * 100 - 1), now)
      expect(newest).toBeGreaterThanOrEqual(0)
      expect(newest).toBeLessThan(0.1)
    }
  })

  it('is unknown before the first sample, and 0 where there is nothing to apply', () => {
    const samples = new LeaderSamples()
    const leader = samples.add()
    expect(samples.seconds(-1, 5n, 3n, 0)).toBeUndefined()
    expect(samples.seconds(leader, 5n, 3n, 0)).toBeUndefined()
    expect(samples.seconds(leader, 5n, 5n, 0)).toBe(0)
    samples.sample(leader, 5n, 3n, 0)
    expect(samples.seconds(leader, 5n, 6n, 1000)).toBe(0)
  })

  it('is unknown for what the leader may have written anew, until it is sampled', () => {
    const samples = new LeaderSamples()
    for (const seconds of [3, 100]) {
      const leader = behind(samples, seconds)
      const [lower, now] = [BigInt(seconds * 100 - 150), seconds * 1000 + 1000]
      expect(samples.seconds(leader, lower, lower - 1n, now)).toBeUndefined()
      samples.sample(leader, lower, 0n, now)
      expect(samples.age(leader, lower, lower - 1n, now + 2000)).toEqual({
        seconds: 2,
        atLeast: true,
      })
      expect(samples.seconds(leader, lower + 100n, lower + 49n, now + 1000)).toBeCloseTo(0.5)
    }
  })

  it('of what a lower leader has written since is told, where nobody was behind before', () => {
    const samples = new LeaderSamples()
    const leader = samples.add()
    samples.sample(leader, 1000n, 1000n, 0)
    samples.sample(leader, 500n, 400n, 1000)
    expect(samples.age(leader, 600n, 400n, 3000)).toEqual({ seconds: 2, atLeast: true })
    expect(samples.age(leader, 600n, 549n, 3000)).toEqual({ seconds: 1, atLeast: false })
  })
})

describe('leaders', () => {
  it('do not mix, nor with what one that was removed has left behind', () => {
    const samples = new LeaderSamples()
    const leaders = Array.from({ length: 200 }, (_, i) => behind(samples, i))
    for (const [i, leader] of leaders.entries()) {
      if (i % 2 === 0) samples.remove(leader)
    }
    for (let i = 0; i < 100; i++) {
      expect(samples.seconds(samples.add(), 100n, 1n, 1000)).toBeUndefined()
    }
    const again = behind(samples, 50)
    expect(samples.seconds(again, 5000n, 49n, 50_000)).toBeCloseTo(49.5)
    for (const [i, leader] of leaders.entries()) {
      if (i % 2 === 0) continue
      const seconds = samples.seconds(leader, BigInt(i * 100), 49n, i * 1000) ?? NaN
      expect(seconds).toBeCloseTo(i - 0.5)
    }
  })

  it('that catch up or are removed give their memory back', () => {
    const take = vi.spyOn(SampleBlocks.prototype, 'take')
    const giveBack = vi.spyOn(SampleBlocks.prototype, 'giveBack')
    const samples = new LeaderSamples()
    const leaders = Array.from({ length: 100 }, () => behind(samples, 100))
    expect(take.mock.calls.length - giveBack.mock.calls.length).toBe(100)
    for (const [i, leader] of leaders.entries()) {
      if (i % 2 === 0) samples.remove(leader)
      else samples.sample(leader, 10_000n, 10_000n, 101_000)
    }
    expect(giveBack).toHaveBeenCalledTimes(take.mock.calls.length)
  })

  it('that catch up begin anew', () => {
    const samples = new LeaderSamples()
    const leader = behind(samples, 100)
    samples.sample(leader, 10_000n, 10_000n, 101_000)
    expect(samples.age(leader, 10_000n, 49n, 102_000)).toEqual({ seconds: 1, atLeast: true })
    samples.sample(leader, 10_100n, 10_000n, 102_000)
    expect(samples.seconds(leader, 10_100n, 10_049n, 103_000)).toBeCloseTo(1.5)
  })
})
