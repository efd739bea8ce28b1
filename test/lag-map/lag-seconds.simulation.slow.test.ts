import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  anyCatchUp,
  anyScenario,
  catchingUp,
  faults,
  largestGrowth,
} from '../support/lag-seconds-oracle.js'
import { HOUR, SECOND, steady } from '../support/replication-scenarios.js'
import { simulate } from '../support/replication-simulation.js'

it('is right at every collection for any leader, any followers, any timers', () => {
  fc.assert(
    fc.property(anyScenario(1500 * SECOND), (scenario) => {
      expect(faults(simulate(scenario)).slice(0, 3)).toEqual([])
    }),
    { numRuns: 300 },
  )
})

it('never grows while a follower catches up, whatever the paces', () => {
  fc.assert(
    fc.property(anyCatchUp(2000), ({ scenario, resumed, perSecond }) => {
      expect(largestGrowth(catchingUp(scenario, resumed))).toBeLessThan(1 / perSecond)
    }),
    { numRuns: 50 },
  )
})

it('is right for followers that are stalled for a day and catch up in the next one', () => {
  const observations = simulate({
    duration: 36 * HOUR,
    collectInterval: 7 * SECOND,
    leader: () => steady(10),
    followers: [
      { pace: (at) => (at > HOUR && at < 25 * HOUR ? 0 : 40) },
      { pace: () => Infinity, delay: 300 },
    ],
  })
  expect(faults(observations)).toEqual([])
  expect(Math.max(...observations.map(({ seconds }) => seconds ?? 0))).toBeCloseTo(24 * 3600, -2)
})

it('is right over a hundred years of daily samples', () => {
  const day = 24 * HOUR
  const observations = simulate({
    duration: 36_500 * day,
    interval: day,
    collectInterval: 1.7 * day,
    leader: () => steady(1 / 3600),
    followers: [{ pace: () => 0 }, { pace: () => Infinity, delay: 3 * day }],
  })
  expect(faults(observations)).toEqual([])
})
