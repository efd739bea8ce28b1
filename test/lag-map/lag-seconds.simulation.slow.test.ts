import fc from 'fast-check'
import { expect, it } from 'vitest'
import { anyScenario, faults, MINUTE, SECOND, steady } from '../support/lag-seconds-oracle.js'
import { simulate } from '../support/replication-simulation.js'

const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

it('is right at every collection for any leader, any followers, any timers', () => {
  fc.assert(
    fc.property(anyScenario(1500 * SECOND), (scenario) => {
      expect(faults(simulate(scenario)).slice(0, 3)).toEqual([])
    }),
    { numRuns: 300 },
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
  const observations = simulate({
    duration: 36_500 * DAY,
    interval: DAY,
    collectInterval: 1.7 * DAY,
    leader: () => steady(1 / 3600),
    followers: [{ pace: () => 0 }, { pace: () => Infinity, delay: 3 * DAY }],
  })
  expect(faults(observations)).toEqual([])
})
