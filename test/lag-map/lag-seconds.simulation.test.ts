import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  anyCatchUp,
  anyScenario,
  catchingUp,
  faults,
  largestGrowth,
} from '../support/lag-seconds-oracle.js'
import { HOUR, MINUTE, SCENARIOS, SECOND, steady } from '../support/replication-scenarios.js'
import { simulate, type Scenario } from '../support/replication-simulation.js'

const cases = Object.entries<Scenario>(SCENARIOS)

describe('at every collection, lag in seconds is within a gap between samples or 5 % of the truth', () => {
  it.each(cases)('%s', (name, scenario) => {
    const observations = simulate(scenario)
    expect(faults(observations)).toEqual([])
    // A case in which no follower is behind would show nothing.
    expect(observations.filter(({ isBehind }) => isBehind).length).toBeGreaterThan(300)
    // Only a follower that went back, or joined, can lack entries whose age is forgotten.
    const forgotten = observations.filter(({ isForgotten }) => isForgotten)
    if (!/re-seeded|restored|restarted|joins/.test(name)) expect(forgotten).toEqual([])
  })

  it('any leader, any followers, any timers', () => {
    fc.assert(
      fc.property(anyScenario(200 * SECOND), (scenario) => {
        expect(faults(simulate(scenario)).slice(0, 3)).toEqual([])
      }),
      { numRuns: 40 },
    )
  })

  it('an idle leader for a day', () => {
    const observations = simulate({
      duration: 24 * HOUR,
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

it('counts from about when a follower was re-seeded, until it is where it was', () => {
  const observations = simulate(SCENARIOS['a follower re-seeded'])
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

describe('a follower that catches up at a steady pace', () => {
  it('has a lag that never grows', () => {
    const seconds = catchingUp(SCENARIOS['a follower stalled and resumed'], 25 * MINUTE)
    // At three times the leader's pace, 20 minutes take 10. Then it follows, 40 ms behind.
    const behind = seconds.filter((lag) => lag > 1)
    expect(behind.length).toBeGreaterThan(300)
    expect(largestGrowth(behind)).toBeLessThan(0)
    expect(Math.max(...seconds.slice(behind.length))).toBeLessThan(1)
  })

  it('has a lag that never grows, whatever the paces, even when the leader has stopped', () => {
    fc.assert(
      fc.property(anyCatchUp(300), ({ scenario, resumed, perSecond }) => {
        // One entry more or less is as much as a collection can be off by.
        expect(largestGrowth(catchingUp(scenario, resumed))).toBeLessThan(1 / perSecond)
      }),
      { numRuns: 20 },
    )
  })
})
