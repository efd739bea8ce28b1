import fc from 'fast-check'
import {
  simulate,
  type FollowerScript,
  type LeaderEvent,
  type Observation,
  type Scenario,
} from './replication-simulation.js'

export const SECOND = 1000
export const MINUTE = 60 * SECOND

/** Writes so many entries a second, until a time. */
export function* steady(perSecond: number, { to = Infinity } = {}): Generator<LeaderEvent> {
  for (let entry = 1, at = 0; at < to; entry++) {
    at = (entry * SECOND) / perSecond
    if (at < to) yield { at, seqno: BigInt(entry) }
  }
}

/** For rounding, in seconds. */
const TOLERANCE = 1e-6

/** How far a lag may be from an age: a gap between two samples, or 5 % of the age. */
const allowed = (age: number, gap: number) => Math.max(gap, 0.05 * age) + TOLERANCE

/** What is wrong with an observation; `undefined` if nothing is. */
function fault(observation: Observation): string | undefined {
  const { seconds, isBehind, truth, firstTruth, gap, isForgotten, mayBeUnknown } = observation
  const describe = (what: string) => `${what}: ${JSON.stringify(observation)}`
  if (!isBehind) return seconds === 0 ? undefined : describe('caught up, but not 0')
  if (seconds === undefined) return mayBeUnknown ? undefined : describe('unknown')
  if (!(seconds >= 0 && seconds < Infinity)) return describe('not a time')
  if (seconds > firstTruth + allowed(firstTruth, gap)) return describe('too old')
  if (seconds < truth - allowed(truth, gap) && !isForgotten) return describe('too young')
  return undefined
}

/** What is wrong with these observations. */
export function faults(observations: readonly Observation[]): string[] {
  return observations.flatMap((observation) => fault(observation) ?? [])
}

/** A stretch of time in which a leader writes so many entries, each so much higher than the one before, then waits. */
interface Stretch {
  readonly entries: number
  readonly millis: number
  readonly step: bigint
  readonly idle: number
  /** How many of its newest entries it loses then. */
  readonly lost: number
}

/** A leader that writes in stretches. */
function* inStretches(stretches: readonly Stretch[]): Generator<LeaderEvent> {
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
    }
  }
}

const mostly = <T>(usual: T, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other })

const stretch = fc.record({
  entries: fc.oneof(fc.nat(3), fc.nat(400)),
  millis: fc.oneof(fc.nat(500), fc.nat(300_000)),
  step: fc.oneof(fc.constant(1n), fc.bigInt(1n, 10_000n), fc.constant(10n ** 12n)),
  idle: fc.oneof(fc.constant(0), fc.nat(10_000), fc.nat(600_000)),
  lost: mostly(
    0,
    fc.oneof(fc.integer({ min: 1, max: 5 }), fc.nat(300), fc.constant(Number.MAX_SAFE_INTEGER)),
  ),
})

const stretches = fc
  .tuple(fc.array(stretch, { minLength: 1, maxLength: 12 }), mostly(false, fc.constant(true)))
  // Seqnos that are more than 2^53 apart are rounded. So all steps are huge, or none is.
  .map(([all, isHuge]) => all.map((one) => (isHuge ? { ...one, step: 2n ** 55n } : one)))

/** A follower whose pace changes every 100 s, in entries a second; 0 where it is stalled. */
const follower: fc.Arbitrary<FollowerScript> = fc
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
    joins: mostly(0, fc.nat(300_000)),
  })
  .map(({ paces, reseed, ...rest }) => ({
    ...rest,
    pace: (at: number) => paces[Math.floor(at / 100_000) % paces.length] as number,
    ...(reseed && { reseed }),
    [fc.toStringMethod]: () => fc.stringify({ ...rest, paces, reseed }),
  }))

/** Any leader, any followers, any timers. */
export function anyScenario(duration: number): fc.Arbitrary<Scenario> {
  return fc
    .record({
      seed: fc.nat(),
      stretches,
      followers: fc.array(follower, { minLength: 1, maxLength: 3 }),
      interval: fc.constantFrom(100, 1000, 5000, 15_000),
      jitter: fc.constantFrom(0, 0.02, 0.5),
      blocked: fc.array(fc.record({ at: fc.nat(duration), millis: fc.constant(10 * SECOND) }), {
        maxLength: 5,
      }),
    })
    .map((scenario) => ({
      ...scenario,
      duration,
      collectInterval: 1900,
      leader: () => inStretches(scenario.stretches),
    }))
}

/** The lags of a follower that catches up, from a time on. */
export function catchingUp(scenario: Scenario, from: number): number[] {
  return simulate(scenario)
    .filter(({ at }) => at > from)
    .map(({ seconds }) => seconds ?? NaN)
}

/** A follower that is stalled for a while and then faster than its leader. */
export function anyCatchUp(maxStalled: number) {
  return fc
    .record({
      seed: fc.nat(),
      perSecond: fc.integer({ min: 20, max: 200 }),
      stalled: fc.integer({ min: 10, max: maxStalled }),
      faster: fc.double({ min: 1.3, max: 20, noNaN: true }),
      jitter: fc.double({ min: 0, max: 0.5, noNaN: true }),
      hasStopped: fc.boolean(),
    })
    .map(({ seed, perSecond, stalled, faster, jitter, hasStopped }) => {
      const resumed = stalled * SECOND
      const scenario: Scenario = {
        seed,
        jitter,
        duration: 3 * resumed,
        leader: () => steady(perSecond, hasStopped ? { to: resumed } : {}),
        followers: [{ pace: (at) => (at < resumed ? 0 : perSecond * faster) }],
      }
      return { scenario, resumed, perSecond }
    })
}

/** The largest step up between two lags, until the follower has caught up. */
export function largestGrowth(seconds: readonly number[]): number {
  const behind = seconds.slice(0, seconds.indexOf(0) >>> 0)
  return Math.max(...behind.slice(1).map((lag, index) => lag - (behind[index] as number)))
}
