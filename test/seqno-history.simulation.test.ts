import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HOUR, MINUTE, SCENARIOS, SECOND, steady } from './support/replication-scenarios.js'
import {
  simulate,
  type LeaderEvent,
  type Observation,
  type Scenario,
} from './support/replication-simulation.js'

/** Times are kept in sixteenths of a millisecond. */
const RESOLUTION = 0.001

/** How far an estimate may be from the truth, in seconds: one gap, half of what is promised. */
const allowed = ({ truth, gap }: Observation) => Math.max(gap, 0.05 * truth) + RESOLUTION

/** What is wrong with an observation, in words; undefined if nothing is. */
function fault(observation: Observation): string | undefined {
  const { estimate, isBehind, truth } = observation
  const { seconds, atLeast } = estimate
  const told = () => JSON.stringify(observation)
  if (!(seconds >= 0 && seconds < Infinity)) return `not a time: ${told()}`
  if (!isBehind && (seconds > 0 || atLeast)) return `behind, though it is not: ${told()}`
  if (atLeast && seconds > truth + RESOLUTION) return `not even that old: ${told()}`
  if (!atLeast && Math.abs(seconds - truth) > allowed(observation)) return `off: ${told()}`
  return undefined
}

const faults = (observations: readonly Observation[]) =>
  observations.flatMap((observation) => fault(observation) ?? [])

const cases = Object.entries<Scenario>(SCENARIOS)

describe('at every collection, the age is within a gap between samples or 5 % of the truth', () => {
  it.each(cases)('%s', (_, scenario) => {
    const observations = simulate(scenario)
    expect(faults(observations)).toEqual([])
    // A case in which nobody is behind, or that nobody looks at, would show nothing.
    expect(observations.filter(({ isBehind }) => isBehind).length).toBeGreaterThan(300)
  })
})

describe('"at least" is said', () => {
  const sayingSo = (scenario: Scenario) =>
    simulate(scenario).filter(({ estimate }) => estimate.atLeast)

  const broken = ['restarted', 'restored', 're-seeded']
  it.each(cases.filter(([name]) => !broken.some((word) => name.includes(word))))(
    'never: %s',
    (_, scenario) => {
      expect(sayingSo(scenario)).toEqual([])
    },
  )

  it('of a re-seeded follower until it is where it was', () => {
    const scenario = SCENARIOS['a follower re-seeded']
    const said = sayingSo(scenario)
    expect(said.length).toBeGreaterThan(10)
    // At twice the leader's pace, from where the leader was 500 s before.
    for (const { at } of said) {
      expect(at).toBeGreaterThan(15 * MINUTE)
      expect(at).toBeLessThan(15 * MINUTE + 500 * SECOND)
    }
  })

  it('after a leader lost 6 s of its log, only of followers that were within two minutes or so', () => {
    const said = sayingSo(SCENARIOS['a leader restarted at a lower seqno'])
    expect(said.length).toBeGreaterThan(0)
    for (const { follower, truth } of said) {
      if (follower > 0) expect(truth).toBeLessThan(180)
      // The slow one passes that stretch of the log much later.
      else expect(truth).toBeGreaterThan(5 * 60)
    }
  })
})

describe('a follower that catches up at a steady pace', () => {
  /** The estimates of one that is stalled for a while, from when it goes on. */
  function catchingUp(scenario: Scenario, from: number): number[] {
    return simulate(scenario)
      .filter(({ at }) => at > from)
      .map(({ estimate }) => estimate.seconds)
  }

  function growth(seconds: readonly number[]): number {
    const behind = seconds.slice(0, seconds.indexOf(0))
    return Math.max(
      ...behind.slice(1).map((estimate, index) => estimate - (behind[index] as number)),
    )
  }

  it('has an age that never grows', () => {
    const seconds = catchingUp(SCENARIOS['a follower stalled and resumed'], 25 * MINUTE)
    // At three times the leader's pace, 20 minutes take 10; then it follows, 40 ms behind.
    const behind = seconds.filter((estimate) => estimate > 1)
    expect(behind.length).toBeGreaterThan(300)
    for (const [index, estimate] of behind.slice(1).entries()) {
      expect(estimate).toBeLessThan(behind[index] as number)
    }
    expect(Math.max(...seconds.slice(behind.length))).toBeLessThan(1)
  })

  it('has one that never grows, whatever the paces, and also when the leader has stopped', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.nat(),
          perSecond: fc.integer({ min: 20, max: 200 }),
          stalled: fc.integer({ min: 10, max: 2000 }),
          faster: fc.double({ min: 1.3, max: 20, noNaN: true }),
          jitter: fc.double({ min: 0, max: 0.5, noNaN: true }),
          hasStopped: fc.boolean(),
        }),
        ({ seed, perSecond, stalled, faster, jitter, hasStopped }) => {
          const resumed = stalled * SECOND
          const scenario: Scenario = {
            seed,
            jitter,
            duration: 3 * resumed,
            leader: () => steady(perSecond, hasStopped ? { to: resumed } : {}),
            followers: [{ pace: (at) => (at < resumed ? 0 : perSecond * faster) }],
          }
          const seconds = catchingUp(scenario, resumed)
          // One entry more or less is as much as a collection can be off by.
          expect(growth([...seconds, 0])).toBeLessThan(1 / perSecond)
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('an idle leader', () => {
  it('is no lag, for a day', () => {
    const observations = simulate({
      duration: 24 * HOUR,
      interval: MINUTE,
      collectInterval: MINUTE,
      leader: () => steady(100, { to: MINUTE }),
      followers: [{ pace: () => Infinity, delay: 100 }],
    })
    expect(faults(observations)).toEqual([])
    expect(observations.filter(({ at }) => at > 2 * MINUTE)).toHaveLength(1438)
    for (const { at, estimate } of observations) {
      if (at > 2 * MINUTE) expect(estimate).toEqual({ seconds: 0, atLeast: false })
    }
  })
})

/** Stretches of time in which a leader writes so many entries, each so much higher than the one before, then waits. */
interface Stretch {
  readonly entries: number
  readonly millis: number
  readonly step: bigint
  readonly idle: number
  /** For how many of the newest entries the leader comes back without them; it is silent while it is gone. */
  readonly lost: number
}

/** Longer than any time between two samples, so that one of them sees where the leader came back. */
const SILENCE = 40 * SECOND

function* writing(stretches: readonly Stretch[]): Generator<LeaderEvent> {
  const written: bigint[] = [0n]
  let at = 0
  for (const { entries, millis, step, idle, lost } of stretches) {
    for (let entry = 1; entry <= entries; entry++) {
      const seqno = (written.at(-1) as bigint) + step
      if (seqno >= 2n ** 64n) return
      written.push(seqno)
      yield { at: (at += millis / entries), seqno }
    }
    at += idle
    if (lost > 0) {
      written.length = Math.max(1, written.length - lost)
      yield { at, seqno: written.at(-1) as bigint, restart: true }
      at += SILENCE
    }
  }
}

const often = <T>(usual: T, arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary })

const stretch: fc.Arbitrary<Stretch> = fc.record({
  entries: fc.oneof(fc.nat(3), fc.nat(400)),
  millis: fc.oneof(fc.nat(500), fc.nat(300_000)),
  step: fc.oneof(
    fc.constant(1n),
    fc.bigInt(1n, 10_000n),
    fc.constant(10n ** 12n),
    fc.constant(2n ** 55n),
  ),
  idle: fc.oneof(fc.constant(0), fc.nat(10_000), fc.nat(600_000)),
  lost: often(
    0,
    fc.oneof(fc.integer({ min: 1, max: 5 }), fc.nat(300), fc.constant(Number.MAX_SAFE_INTEGER)),
  ),
})

/** A follower whose pace is another one every 100 s, in entries a second; 0 where it is stalled. */
const follower = fc
  .record({
    paces: fc.array(fc.constantFrom(0, 0, 0.5, 3, 20, 100, Infinity), { minLength: 1 }),
    delay: fc.oneof(fc.nat(100), fc.nat(20_000)),
    reseed: fc.option(
      fc.record({
        at: fc.nat(1_000_000),
        appliedSeqno: fc.oneof(fc.constant(0n), fc.bigInt(0n, 2000n)),
      }),
      { nil: undefined },
    ),
  })
  .map(({ paces, delay, reseed }) => ({
    pace: (at: number) => paces[Math.floor(at / 100_000) % paces.length] as number,
    delay,
    ...(reseed && { reseed }),
    [fc.toStringMethod]: () => JSON.stringify({ paces, delay, reseed: reseed?.at }),
  }))

const scenario = fc
  .record({
    seed: fc.nat(),
    stretches: fc.array(stretch, { minLength: 1, maxLength: 12 }),
    followers: fc.array(follower, { minLength: 1, maxLength: 3 }),
    interval: fc.constantFrom(100, 1000, 5000, 15_000),
    jitter: fc.constantFrom(0, 0.02, 0.5),
    blocked: fc.array(fc.record({ at: fc.nat(1_500_000), millis: fc.constant(10 * SECOND) }), {
      maxLength: 5,
    }),
  })
  .map(({ stretches, ...rest }) => ({
    ...rest,
    stretches,
    duration: 1_500_000,
    collectInterval: 1900,
    leader: () => writing(stretches),
  }))

describe('any leader, any followers, any timers', () => {
  it('give ages that are within the bounds, and "at least" only where they are', () => {
    fc.assert(
      fc.property(scenario, (scenario) => {
        expect(faults(simulate(scenario)).slice(0, 3)).toEqual([])
      }),
      { numRuns: 150 },
    )
  })
})
