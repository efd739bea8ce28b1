import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ageSince, type SeqnoAge } from '../src/seqno-age.js'
import { SampleBlocks } from '../src/sample-blocks.js'
import { SeqnoHistory } from '../src/seqno-history.js'

const MAX_SEQNO = 2n ** 64n - 1n

/** A history of samples in seconds; the first is from when last nobody was behind. */
function historyOf(...[first, ...others]: [seconds: number, leaderSeqno: bigint][]): SeqnoHistory {
  const [seconds, leaderSeqno] = first ?? [0, 0n]
  const history = new SeqnoHistory(leaderSeqno, seconds * 1000, new SampleBlocks())
  for (const [seconds, leaderSeqno] of others) history.sample(leaderSeqno, 0n, seconds * 1000)
  return history
}

/** One sample a second of a leader that writes a hundred entries in it. */
function hundredASecond(seconds: number, slowestAppliedSeqno = 0n): SeqnoHistory {
  const history = new SeqnoHistory(0n, 0, new SampleBlocks())
  for (let second = 1; second <= seconds; second++) {
    history.sample(BigInt(second * 100), slowestAppliedSeqno, second * 1000)
  }
  return history
}

const exactly = (seconds: number): SeqnoAge => ({ seconds, atLeast: false })
const atLeast = (seconds: number): SeqnoAge => ({ seconds, atLeast: true })

describe('the age of the oldest entry that a follower has not applied', () => {
  const history = historyOf([0, 100n], [1, 200n], [2, 300n])

  it('is 0 for a follower that has applied all, or is ahead', () => {
    expect(history.age(300n, 300n, 3000)).toEqual(exactly(0))
    expect(history.age(301n, 300n, 3000)).toEqual(exactly(0))
    expect(history.age(300n, 300n, 86_400_000)).toEqual(exactly(0))
  })

  it('is interpolated between two samples', () => {
    // The next entry is number 50 of the 100 that were written in the second second.
    expect(history.age(249n, 400n, 3000)).toEqual(exactly(1.5))
    expect(history.age(199n, 400n, 3000)).toEqual(exactly(2))
  })

  it('is interpolated between the newest sample and now', () => {
    expect(history.age(349n, 400n, 3000)).toEqual(exactly(0.5))
    expect(history.age(399n, 400n, 3000)).toEqual(exactly(0))
  })

  it('is at least that of the oldest sample for an entry that was there then', () => {
    expect(history.age(99n, 400n, 3000)).toEqual(atLeast(3))
    expect(history.age(0n, 400n, 3000)).toEqual(atLeast(3))
    expect(history.age(100n, 400n, 3000)).toEqual(exactly(2.99))
  })

  it('grows with time while the follower stands still', () => {
    expect(history.age(249n, 400n, 63_000)).toEqual(exactly(61.5))
  })

  it('is what is known without a history, where there is only one sample', () => {
    const seqno = fc.bigInt({ min: 0n, max: MAX_SEQNO })
    const time = fc.oneof(
      fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
      fc.constantFrom(NaN, Infinity),
    )
    fc.assert(
      fc.property(seqno, seqno, seqno, time, fc.nat(1e9), (sampled, applied, leader, at, later) => {
        const now = at + later
        const told = ageSince(sampled, at, applied, leader, now)
        const { seconds, atLeast } = new SeqnoHistory(sampled, at, new SampleBlocks()).age(
          applied,
          leader,
          now,
        )
        expect(told.atLeast).toBe(atLeast)
        expect(told.seconds).toBeCloseTo(seconds, 6)
      }),
    )
  })

  it('is exact for entries that are one apart at any height of u64', () => {
    const top = historyOf([0, MAX_SEQNO - 200n], [1, MAX_SEQNO - 100n], [2, MAX_SEQNO - 50n])
    expect(top.age(MAX_SEQNO - 151n, MAX_SEQNO, 3000)).toEqual(exactly(2.5))
    expect(top.age(MAX_SEQNO - 101n, MAX_SEQNO, 3000)).toEqual(exactly(2))
    expect(top.age(MAX_SEQNO - 1n, MAX_SEQNO, 3000)).toEqual(exactly(0))
    expect(top.age(MAX_SEQNO, MAX_SEQNO, 3000)).toEqual(exactly(0))
  })

  it('lies within the two samples also where u64 is crossed from end to end between them', () => {
    const whole = historyOf([0, 0n], [1, MAX_SEQNO - 1n])
    expect(whole.age(0n, MAX_SEQNO, 2000).seconds).toBeCloseTo(2)
    expect(whole.age(2n ** 63n, MAX_SEQNO, 2000).seconds).toBeCloseTo(1.5)
    expect(whole.age(MAX_SEQNO - 2n, MAX_SEQNO, 2000)).toEqual(exactly(1))
  })
})

describe('without a history', () => {
  it('the oldest entry is taken to have come since the last sample, at a steady pace', () => {
    expect(ageSince(100n, 0, 150n, 200n, 1000)).toEqual(exactly(0.49))
    expect(ageSince(100n, 0, 199n, 200n, 1000)).toEqual(exactly(0))
    expect(ageSince(100n, 0, 200n, 200n, 1000)).toEqual(exactly(0))
  })

  it('an entry that was there at the last sample is at least that old', () => {
    expect(ageSince(100n, 0, 99n, 100n, 1000)).toEqual(atLeast(1))
  })

  it('nothing is known after the leader has come back at a lower seqno', () => {
    expect(ageSince(100n, 0, 50n, 60n, 1000)).toEqual(atLeast(0))
  })

  it.each([-1, NaN, Infinity])('no time has passed at %s ms', (now) => {
    expect(ageSince(100n, 0, 150n, 200n, now)).toEqual(exactly(0))
  })
})

describe('a clock', () => {
  it.each([-5000, NaN, -Infinity, Infinity])('that says %s stands still', (now) => {
    const history = historyOf([0, 0n], [1, 100n], [2, 200n])
    expect(history.age(49n, 200n, now)).toEqual(exactly(1.5))
    history.sample(300n, 0n, now)
    expect(history.age(149n, 300n, now).seconds).toBeLessThanOrEqual(2)
    history.sample(400n, 0n, 3000)
    expect(history.age(349n, 400n, 3000)).toEqual(exactly(0.5))
  })

  it('that stands still takes no room, and what came meanwhile is no older than before', () => {
    const history = new SeqnoHistory(0n, 1000, new SampleBlocks())
    for (let seqno = 1n; seqno <= 1000n; seqno++) history.sample(seqno, 0n, 1000)
    expect(history.length).toBe(2)
    // The time of an entry that was written in no time is not to be relied on.
    expect(history.age(500n, 1000n, 3000)).toEqual(atLeast(2))
  })

  it.each([NaN, Infinity, -Infinity])('that begins with %s makes no age', (start) => {
    const history = new SeqnoHistory(1n, start, new SampleBlocks())
    history.sample(5n, 0n, 1000)
    expect(history.age(0n, 7n, 2000).seconds).toBe(0)
    expect(history.age(3n, 7n, 2000).seconds).toBe(0)
  })

  it('may begin anywhere', () => {
    for (const start of [-1e6, 0, 0.3, 1.7e12, 1e14]) {
      const history = new SeqnoHistory(0n, start, new SampleBlocks())
      history.sample(100n, 0n, start + 1000)
      expect(history.age(49n, 100n, start + 2000).seconds).toBeCloseTo(1.5, 3)
    }
  })

  it('may go on for a hundred years: a stalled follower stays exact, a quick one nearly so', () => {
    const year = 365 * 86_400
    const history = new SeqnoHistory(0n, 0, new SampleBlocks())
    history.sample(100n, 0n, 1000)
    for (let day = 1; day < 36_500; day++) history.sample(BigInt(day * 1000), 0n, day * 86_400_000)
    const now = 100 * year * 1000
    history.sample(36_500_000n, 0n, now)
    history.sample(36_500_100n, 0n, now + 1000)
    expect(history.age(49n, 36_500_100n, now + 1000).seconds).toBeCloseTo(100 * year + 0.5, 0)
    expect(history.age(36_500_049n, 36_500_100n, now + 1000).seconds).toBeCloseTo(0.5, 0)
  })

  it('that jumps ahead by ages makes an age of ages', () => {
    const history = historyOf([0, 0n], [1, 100n])
    history.sample(200n, 0n, 1e300)
    const { seconds, atLeast } = history.age(49n, 200n, 1e300)
    expect(seconds / 1e297).toBeCloseTo(1, 8)
    expect(atLeast).toBe(false)
  })
})

describe('a leader that comes back at a lower seqno', () => {
  it('has lost all that is known, where that is lower than all that is known', () => {
    const history = historyOf([0, 1000n], [1, 1100n], [2, 1200n])
    expect(history.age(500n, 700n, 3000)).toEqual(atLeast(0))
    history.sample(700n, 500n, 3000)
    expect(history.length).toBe(1)
    expect(history.age(500n, 700n, 5000)).toEqual(atLeast(2))
    expect(history.age(749n, 800n, 4000)).toEqual(exactly(0.5))
  })

  it('still has its entries of long before', () => {
    const history = hundredASecond(1000)
    // Three seconds of it are lost: 997 s to 1000 s; this is told at once, before it is sampled.
    for (let look = 0; look < 2; look++) {
      expect(history.age(49n, 99_700n, 1_000_500)).toEqual(exactly(1000))
      expect(history.age(90_000n, 99_700n, 1_000_500).seconds).toBeCloseTo(100.5, 0)
      if (look === 0) history.sample(99_700n, 0n, 1_000_500)
    }
  })

  it('may have written the newest of the rest just now, so these are at least as old as that', () => {
    const history = hundredASecond(1000)
    expect(history.age(99_650n, 99_700n, 1_001_000)).toEqual(atLeast(0))
    history.sample(99_700n, 0n, 1_001_000)
    expect(history.age(99_650n, 99_700n, 1_001_000)).toEqual(atLeast(0))
    expect(history.age(99_650n, 99_700n, 1_011_000)).toEqual(atLeast(10))
    expect(history.age(99_749n, 99_800n, 1_002_000)).toEqual(exactly(0.5))
  })

  it('makes no spike when it is a follower that was behind', () => {
    const history = hundredASecond(1000, 60_000n)
    // It took over at 60,000, and wrote as much in a second as the old one in thirty.
    const leaderSeqno = 63_000n
    expect(history.age(60_000n, leaderSeqno, 1_001_000)).toEqual(atLeast(0))
    history.sample(leaderSeqno, 60_000n, 1_001_000)
    expect(history.age(60_000n, leaderSeqno, 1_001_000)).toEqual(atLeast(0))
    expect(history.age(60_000n, leaderSeqno, 1_003_000)).toEqual(atLeast(2))
  })

  it('may be at 0', () => {
    const history = hundredASecond(10)
    history.sample(0n, 0n, 11_000)
    expect(history.age(0n, 0n, 11_000)).toEqual(exactly(0))
    expect(history.age(49n, 100n, 12_000)).toEqual(exactly(0.5))
  })

  it('may do so again and again, which takes no room', () => {
    const history = hundredASecond(1000)
    for (let second = 1001; second < 3000; second++) {
      history.sample(99_000n + BigInt(second % 7), 0n, second * 1000)
    }
    expect(history.age(49n, 99_000n, 3_000_000)).toEqual(exactly(2999.5))
    expect(history.length).toBeLessThan(300)
  })

  it('leaves what is doubtful "at least" until that makes less than 5 % of its age', () => {
    const history = hundredASecond(1000)
    history.sample(99_700n, 0n, 1_001_000)
    const ages: SeqnoAge[] = []
    for (let second = 1002; second < 6000; second++) {
      history.sample(99_700n + BigInt(second), 0n, second * 1000)
      ages.push(history.age(99_650n, 200_000n, second * 1000))
    }
    const sure = ages.findIndex(({ atLeast }) => !atLeast)
    expect(ages[0]).toEqual(atLeast(1))
    expect(sure).toBeGreaterThan(100)
    // Written at 996.51 s, or anew just before 1001 s: now that makes no difference.
    for (const [second, { seconds }] of ages.entries()) {
      if (second >= sure) expect(Math.abs(seconds / (second + 1) - 1)).toBeLessThan(0.05)
    }
  })
})

describe('what is remembered', () => {
  it('is a single sample at first', () => {
    expect(new SeqnoHistory(7n, 0, new SampleBlocks()).length).toBe(1)
  })

  it('takes no more room for an idle leader, and tells when it ends', () => {
    const history = historyOf([0, 0n], [1, 100n])
    for (let second = 2; second <= 3600; second++) history.sample(100n, 0n, second * 1000)
    expect(history.length).toBe(3)
    expect(history.age(149n, 200n, 3_601_000)).toEqual(exactly(0.5))
    expect(history.age(49n, 200n, 3_601_000)).toEqual(exactly(3600.5))
  })

  it('is within 5 % of the age, or a second, of when each entry was there', () => {
    // Twice as many entries in each second as in the one before it, up to a million, and again: as uneven as can be.
    const leaderSeqnos = [0n]
    const history = new SeqnoHistory(0n, 0, new SampleBlocks())
    for (let second = 1; second <= 50_000; second++) {
      const leaderSeqno = (leaderSeqnos.at(-1) as bigint) + (1n << BigInt(second % 20))
      leaderSeqnos.push(leaderSeqno)
      history.sample(leaderSeqno, 0n, second * 1000)
    }
    const leaderSeqno = (leaderSeqnos.at(-1) as bigint) + 1n
    for (const [second, appliedSeqno] of leaderSeqnos.entries()) {
      const { seconds, atLeast } = history.age(appliedSeqno, leaderSeqno, 50_001_000)
      const latest = 50_001 - second
      expect(atLeast).toBe(false)
      expect(seconds).toBeGreaterThanOrEqual(0.95 * latest - 1)
      expect(seconds).toBeLessThanOrEqual(1.05 * latest)
    }
    expect(history.length).toBeLessThan(320)
  })

  it('is not what all followers have applied', () => {
    const history = new SeqnoHistory(0n, 0, new SampleBlocks())
    for (let second = 1; second <= 10_000; second++) {
      const leaderSeqno = BigInt(second * 100)
      const slowest = leaderSeqno > 1000n ? leaderSeqno - 1000n : 0n
      history.sample(leaderSeqno, slowest, second * 1000)
      expect(history.age(slowest, leaderSeqno, second * 1000).atLeast).toBe(false)
    }
    // Ten seconds behind: what is between, and what is not yet forgotten.
    expect(history.length).toBeLessThan(10 + 20)
  })

  it('is still the sample before the entry that the slowest follower applies next', () => {
    const history = new SeqnoHistory(0n, 0, new SampleBlocks())
    for (let second = 1n; second <= 1000n; second++) {
      const slowest = second > 5n ? second - 5n : 0n
      history.sample(second, slowest, Number(second) * 1000)
      const { seconds, atLeast } = history.age(slowest, second, Number(second) * 1000)
      expect({ seconds: Math.ceil(seconds), atLeast }).toEqual(
        exactly(Number(second - slowest) - 1),
      )
    }
  })

  it('keeps the gap of the slowest follower as it was', () => {
    const history = new SeqnoHistory(0n, 0, new SampleBlocks())
    // All of the first second's entries came in its first half; those of the next in the second half.
    history.sample(100n, 0n, 500)
    history.sample(100n, 0n, 1500)
    for (let second = 2; second < 86_400; second++) {
      history.sample(BigInt(second * 100), 0n, second * 1000)
    }
    expect(history.age(0n, 9_000_000n, 86_400_000)).toEqual(exactly(86_399.995))
    expect(history.age(99n, 9_000_000n, 86_400_000)).toEqual(exactly(86_399.5))
  })

  it('knows nothing of a follower that goes back to before it, but that it is older', () => {
    const history = new SeqnoHistory(0n, 0, new SampleBlocks())
    for (let second = 1; second <= 1000; second++) {
      history.sample(BigInt(second * 100), BigInt(second * 100 - 50), second * 1000)
    }
    const age = history.age(0n, 100_000n, 1_000_000)
    expect(age.atLeast).toBe(true)
    expect(age.seconds).toBeGreaterThan(0)
    // From then on, nothing is forgotten that it needs.
    for (let second = 1001; second <= 2000; second++) {
      history.sample(BigInt(second * 100), 0n, second * 1000)
    }
    expect(history.age(0n, 200_000n, 2_000_000)).toEqual(atLeast(1000 + age.seconds))
  })

  it('may be asked for with a slowest follower at the end of u64', () => {
    const history = new SeqnoHistory(0n, 0, new SampleBlocks())
    for (let second = 1n; second <= 100n; second++) {
      history.sample(second, MAX_SEQNO, Number(second) * 1000)
    }
    expect(history.age(0n, 100n, 100_000)).toEqual(exactly(99))
  })
})

describe('memory', () => {
  // Of the object, and of the strip that holds the newest samples.
  const OVERHEAD = 112 + 16 * 16

  it('is at most 5 kB for a shard that is a day behind', () => {
    const history = new SeqnoHistory(0n, 0, new SampleBlocks())
    let [mostSamples, mostBytes] = [0, 0]
    for (let second = 1; second <= 86_400; second++) {
      history.sample(BigInt(second * 1009), 0n, second * 1000)
      mostSamples = Math.max(mostSamples, history.length)
      mostBytes = Math.max(mostBytes, history.byteLength)
    }
    expect(mostSamples).toBeGreaterThan(200)
    expect(mostSamples).toBeLessThan(350)
    expect(mostBytes + OVERHEAD).toBeLessThan(5000)
  })

  it('is at most 1.5 kB for one that is a minute behind', () => {
    expect(hundredASecond(60).byteLength + OVERHEAD).toBeLessThan(1500)
  })

  it('is given back while the follower catches up', () => {
    const history = hundredASecond(10_000)
    const most = history.byteLength
    for (let second = 10_001; second <= 10_100; second++) {
      history.sample(BigInt(second * 100), BigInt(second * 100 - 50), second * 1000)
    }
    expect(history.byteLength).toBeLessThan(most / 3)
  })
})
