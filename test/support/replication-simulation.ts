import { LeaderSamples } from '../../src/leader-samples.js'
import type { SeqnoAge } from '../../src/seqno-age.js'

/** An entry that the leader writes; or, with `restart`, the newest one that it still has when it comes back. */
export interface LeaderEvent {
  /** Milliseconds since the simulation began. */
  readonly at: number
  readonly seqno: bigint
  readonly restart?: true
}

/** How a follower applies the leader's log. */
export interface FollowerScript {
  /** How many entries it can apply in a second, at a time in ms; Infinity for as many as there are. */
  readonly pace: (at: number) => number
  /** How long an entry is on its way to the follower, in ms. */
  readonly delay?: number
  /** When the follower is replaced by an older copy, and what that has applied. */
  readonly reseed?: { readonly at: number; readonly appliedSeqno: bigint }
}

/** What happens to one shard, and when it is looked at. All times are in ms. */
export interface Scenario {
  readonly duration: number
  /** What the leader does, in order of time; endless ones are cut off. */
  readonly leader: (random: Random) => Iterable<LeaderEvent>
  readonly followers: readonly FollowerScript[]
  /** The time between two samples: 1000 by default. */
  readonly interval?: number
  /** By what part of it, at most, each is longer or shorter: 0.02 by default. */
  readonly jitter?: number
  /** The time between two collections: 1700 by default, so that they come at any time between two samples. */
  readonly collectInterval?: number
  /** When the event loop is blocked, and for how long: whatever is due then comes right after. */
  readonly blocked?: readonly { readonly at: number; readonly millis: number }[]
  readonly seed?: number
}

/** What one collection says of one follower, and what is true. */
export interface Observation {
  readonly at: number
  /** Which of the scenario's followers. */
  readonly follower: number
  readonly estimate: SeqnoAge
  /** Whether there is an entry that the follower has not applied. */
  readonly isBehind: boolean
  /** How old that is in truth, in seconds; 0 if there is none. */
  readonly truth: number
  /** Seconds between the two samples that the oldest unapplied entry was written between; this collection is one, too. */
  readonly gap: number
}

/** A number from 0 up to 1. */
export type Random = () => number

/** Mulberry32: the same numbers for the same seed, everywhere. */
export function randomNumbers(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The leader's log with the time of every entry: the oracle. */
class Log {
  #seqnos: bigint[] = []
  #times: number[] = []

  get leaderSeqno(): bigint {
    return this.#seqnos.at(-1) ?? 0n
  }

  apply({ at, seqno, restart }: LeaderEvent): void {
    if (restart) {
      const kept = this.indexAfter(seqno)
      this.#seqnos.length = kept
      this.#times.length = kept
    } else {
      this.#seqnos.push(seqno)
      this.#times.push(at)
    }
  }

  /** How many entries are not after a seqno, which is where the next one is. */
  indexAfter(seqno: bigint): number {
    return countWhile(this.#seqnos.length, (index) => (this.#seqnos[index] as bigint) <= seqno)
  }

  /** How many entries were written by a time. */
  countAt(time: number): number {
    return countWhile(this.#times.length, (index) => (this.#times[index] as number) <= time)
  }

  seqnoAt(index: number): bigint {
    return this.#seqnos[index] as bigint
  }

  /** When the oldest entry after a seqno was written; undefined if there is none. */
  writtenAfter(seqno: bigint): number | undefined {
    return this.#times[this.indexAfter(seqno)]
  }
}

class Follower {
  appliedSeqno = 0n
  readonly #script: FollowerScript
  #now = 0
  #carry = 0
  #isReseeded = false

  constructor(script: FollowerScript) {
    this.#script = script
  }

  advance(log: Log, now: number): void {
    const { pace, delay = 0, reseed } = this.#script
    const from = this.#now
    this.#now = now
    if (reseed && !this.#isReseeded && now >= reseed.at) {
      this.appliedSeqno = reseed.appliedSeqno
      this.#isReseeded = true
    }
    const applied = log.indexAfter(this.appliedSeqno)
    const waiting = log.countAt(now - delay) - applied
    const able = (pace(from) * (now - from)) / 1000 + this.#carry
    const count = Math.min(waiting, Math.floor(able))
    // What a follower does not use of its time while it has nothing to do is gone.
    this.#carry = able <= waiting ? able - count : 0
    if (count > 0) this.appliedSeqno = log.seqnoAt(applied + count - 1)
  }
}

/** The samples of one shard. */
class SampledShard {
  readonly #samples = new LeaderSamples()
  readonly #leader = this.#samples.add()

  sample(leaderSeqno: bigint, appliedSeqnos: readonly bigint[], now: number): void {
    const slowest = appliedSeqnos.reduce((a, b) => (b < a ? b : a), leaderSeqno)
    this.#samples.sample(this.#leader, leaderSeqno, slowest, now)
  }

  age(appliedSeqno: bigint, leaderSeqno: bigint, now: number): SeqnoAge {
    return this.#samples.age(this.#leader, leaderSeqno, appliedSeqno, now)
  }
}

/** Lets a scenario happen, and tells for every collection what it said and what was true. */
export function simulate(scenario: Scenario): Observation[] {
  const random = randomNumbers(scenario.seed ?? 1)
  const { interval = 1000, jitter = 0.02, collectInterval = 1700, blocked = [] } = scenario
  const events = scenario.leader(random)[Symbol.iterator]()
  const log = new Log()
  const followers = scenario.followers.map((script) => new Follower(script))
  const shard = new SampledShard()
  const samples: number[] = []
  const observations: Observation[] = []

  /** When a timer that is set at a time fires. */
  const due = (from: number, millis: number) => {
    const at = from + millis * (1 + jitter * (2 * random() - 1))
    const block = blocked.find((block) => at >= block.at && at < block.at + block.millis)
    return block ? block.at + block.millis : at
  }
  const sample = (now: number) => {
    const applied = followers.map(({ appliedSeqno }) => appliedSeqno)
    shard.sample(log.leaderSeqno, applied, now)
    samples.push(now)
  }
  const collect = (now: number) => {
    for (const [follower, { appliedSeqno }] of followers.entries()) {
      const writtenAt = log.writtenAfter(appliedSeqno)
      const next = countWhile(samples.length, (i) => (samples[i] as number) < (writtenAt ?? now))
      observations.push({
        at: now,
        follower,
        estimate: shard.age(appliedSeqno, log.leaderSeqno, now),
        isBehind: writtenAt !== undefined,
        truth: writtenAt === undefined ? 0 : (now - writtenAt) / 1000,
        gap: ((samples[next] ?? now) - (samples[next - 1] ?? 0)) / 1000,
      })
    }
  }

  let event = events.next()
  const advance = (now: number) => {
    for (; !event.done && event.value.at <= now; event = events.next()) log.apply(event.value)
    for (const follower of followers) follower.advance(log, now)
  }

  advance(0)
  sample(0)
  let nextSample = due(0, interval)
  let nextCollect = due(0, collectInterval)
  for (let now = 0; now < scenario.duration;) {
    now = Math.min(nextSample, nextCollect)
    advance(now)
    if (now === nextSample) {
      sample(now)
      nextSample = due(now, interval)
    } else {
      collect(now)
      nextCollect = due(now, collectInterval)
    }
  }
  return observations
}

/** By halving: for how many of so many indices, from 0 on, something is so that is not so again once it is not. */
function countWhile(length: number, holds: (index: number) => boolean): number {
  let from = 0
  let to = length
  while (from < to) {
    const middle = (from + to) >>> 1
    if (holds(middle)) from = middle + 1
    else to = middle
  }
  return from
}
