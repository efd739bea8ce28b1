import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  anyCatchUp,
  anyScenario,
  catchingUp,
  faults,
  largestGrowth,
  MINUTE,
  SECOND,
  steady,
} from '../support/lag-seconds-oracle.js'
import { simulate } from '../support/replication-simulation.js'

describe('at every collection, lag in seconds is within a gap between samples or 5 % of the truth', () => {
  it('for any leader, any followers, any timers', () => {
    fc.assert(
      fc.property(anyScenario(200 * SECOND), (scenario) => {
        expect(faults(simulate(scenario)).slice(0, 3)).toEqual([])
      }),
      { numRuns: 40 },
    )
  })

  it('for a leader that is idle for a day', () => {
    const observations = simulate({
      duration: 24 * 60 * MINUTE,
      interval: MINUTE,
      collectInterval: MINUTE,
      leader: () => steady(100, { to: MINUTE }),
      followers: [{ pace: () => Infinity, delay: 100 }],
    })
    expect(faults(observations)).toEqual([])
    const idle = observations.filter(({ at }) => at > 2 * MINUTE)
    expect(idle).toHaveLength(1438)
    expect(idle.every(({ seconds }) => seconds === 0)).toBe(true)
  })
})

it('counts from about when a follower was replaced by an older copy, until it is where it was', () => {
  const reseed = { at: 15 * MINUTE, appliedSeqno: 20_000n }
  const observations = simulate({
    duration: 40 * MINUTE,
    leader: () => steady(50),
    followers: [{ pace: () => 100, delay: 40, reseed }],
  })
  expect(faults(observations)).toEqual([])
  const forgotten = observations.filter(({ isForgotten }) => isForgotten)
  expect(forgotten.length).toBeGreaterThan(100)
  for (const { at, seconds = NaN } of forgotten) {
    // The history may begin a bit earlier.
    const since = at - seconds * SECOND
    expect(since).toBeGreaterThan(14 * MINUTE)
    expect(since).toBeLessThan(15 * MINUTE + SECOND)
    // It catches up at twice the leader's pace, from where the leader was 500 s before.
    expect(at).toBeLessThan(15 * MINUTE + 500 * SECOND)
  }
})

it('never grows while a follower catches up at a steady pace, even when the leader has stopped', () => {
  fc.assert(
    fc.property(anyCatchUp(300), ({ scenario, resumed, perSecond }) => {
      // One entry more or less is as much as a collection can be off by.
      expect(largestGrowth(catchingUp(scenario, resumed))).toBeLessThan(1 / perSecond)
    }),
    { numRuns: 20 },
  )
})
