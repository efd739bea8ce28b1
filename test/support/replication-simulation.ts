import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { vi } from 'vitest'

/** An entry that the leader writes. With `restart`, the newest one that it still has when it comes back. */
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
  /** When the follower appears, if it is not there from the beginning. */
  readonly joins?: number
}

/** What happens to one shard, and when its lag is sampled and collected. All times are in ms. */
export interface Scenario {
  readonly duration: number
  /** What the leader does, in order of time. It may be endless. */
  readonly leader: () => Iterable<LeaderEvent>
  readonly followers: readonly FollowerScript[]
  /** The time between two samples: 1000 by default. */
  readonly interval?: number
  /** The largest part by which that time is longer or shorter: 0.02 by default. */
  readonly jitter?: number
  /** The time between two collections: 1700 by default, so that they come at any time between two samples. */
  readonly collectInterval?: number
  /** When the event loop is blocked, and for how long. What is due then happens right after. */
  readonly blocked?: readonly { readonly at: number; readonly millis: number }[]
  readonly seed?: number
}

/** What one collection reports of one follower, and what is true. All ages are in seconds. */
export interface Observation {
  readonly at: number
  /** Which of the scenario's followers. */
  readonly follower: number
  /** The lag in seconds, as the gauge reports it. */
  readonly seconds: number | undefined
  /** Whether there is an entry that the follower has not applied. */
  readonly isBehind: boolean
  /** The age of the oldest one; 0 if there is none. */
  readonly truth: number
  /**
   * Its age since the leader first wrote it, if the leader lost it and wrote it again before the next sample. No sample
   * shows that, so this age is right, too. Otherwise the same as `truth`.
   */
  readonly firstTruth: number
  /** The time between the two samples around it. This collection counts as one. */
  readonly gap: number
  /** Whether all followers were past it at some sample. Then its age may be forgotten, and the lag is a lower bound. */
  readonly isForgotten: boolean
  /** Whether the lag may be unknown: in the first second, and until the next sample when the leader came back lower. */
  readonly mayBeUnknown: boolean
}

/** A number from 0 up to 1. */
type Random = () => number

/** Mulberry32: the same numbers for the same seed, everywhere. */
function randomNumbers(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Entry {
  readonly seqno: bigint
  readonly writtenAt: number
  readonly firstWrittenAt: number
}

/** The leader's log with the time of every entry: the oracle. */
class Log {
  private readonly entries: Entry[] = []
  /** What the leader has lost since the last sample. */
  private lost: readonly Entry[] = []

  get leaderSeqno(): bigint {
    return this.entries.at(-1)?.seqno ?? 0n
  }

  apply({ at, seqno, restart }: LeaderEvent): void {
    if (restart) {
      const removed = this.entries.splice(this.countUpTo(seqno))
      const highest = removed.at(-1)?.seqno ?? 0n
      this.lost = [...removed, ...this.lost.filter((entry) => entry.seqno > highest)]
    } else {
      const newest = this.leaderSeqno
      const before = this.lost.find((entry) => entry.seqno > newest)
      this.entries.push({ seqno, writtenAt: at, firstWrittenAt: before?.firstWrittenAt ?? at })
    }
  }

  sampled(): void {
    this.lost = []
  }

  /** How many entries have at most this seqno. */
  countUpTo(seqno: bigint): number {
    return countWhile(this.entries, (entry) => entry.seqno <= seqno)
  }

  /** How many entries were written by a time. */
  countAt(time: number): number {
    return countWhile(this.entries, ({ writtenAt }) => writtenAt <= time)
  }

  seqnoAt(index: number): bigint {
    return (this.entries[index] as Entry).seqno
  }

  /** The oldest entry after a seqno. */
  entryAfter(seqno: bigint): Entry | undefined {
    return this.entries[this.countUpTo(seqno)]
  }
}

class Follower {
  appliedSeqno = 0n
  private readonly script: FollowerScript
  private now = 0
  private carry = 0
  private isReseeded = false

  constructor(script: FollowerScript) {
    this.script = script
  }

  advance(log: Log, now: number): void {
    const { pace, delay = 0, reseed } = this.script
    const from = this.now
    this.now = now
    if (reseed && !this.isReseeded && now >= reseed.at) {
      this.appliedSeqno = reseed.appliedSeqno
      this.isReseeded = true
    }
    const applied = log.countUpTo(this.appliedSeqno)
    const waiting = log.countAt(now - delay) - applied
    const able = (pace(from) * (now - from)) / 1000 + this.carry
    const count = Math.min(waiting, Math.floor(able))
    // A follower that has nothing to do cannot make up for it later.
    this.carry = able <= waiting ? able - count : 0
    if (count > 0) this.appliedSeqno = log.seqnoAt(applied + count - 1)
  }
}

interface Sample {
  readonly at: number
  readonly leaderSeqno: bigint
  /** When the leader was sampled before, if it has come back lower since then. */
  readonly keptUntil?: number
}

/** Samples are thinned out so that no gap is wider than this part of its age. */
const MAX_GAP_PER_AGE = 0.05

/** The samples of one leader. */
class Samples {
  /** Without those that are above a later one. */
  private readonly kept: Sample[] = []
  /** What the slowest follower had applied at each sample. */
  private readonly slowest: { readonly at: number; readonly appliedSeqno: bigint }[] = []

  get lastSeqno(): bigint {
    return this.kept.at(-1)?.leaderSeqno ?? 0n
  }

  add(at: number, leaderSeqno: bigint, appliedSeqnos: readonly bigint[]): void {
    const isLower = this.lastSeqno > leaderSeqno
    while (this.lastSeqno > leaderSeqno) this.kept.pop()
    this.kept.push({ at, leaderSeqno, ...(isLower && { keptUntil: this.kept.at(-1)?.at ?? 0 }) })
    const appliedSeqno = appliedSeqnos.reduce((a, b) => (b < a ? b : a), leaderSeqno)
    this.slowest.push({ at, appliedSeqno })
  }

  /** The time between the two samples around the entry after a seqno, in ms. */
  gapAfter(seqno: bigint, now: number): number {
    const next = countWhile(this.kept, ({ leaderSeqno }) => leaderSeqno <= seqno)
    const from = this.kept[next - 1]?.at ?? 0
    const lower = this.kept.find(({ keptUntil }, index) => keptUntil !== undefined && index >= next)
    // The sample at the end of a wider gap may have been above what the leader came back with.
    if (lower?.keptUntil !== undefined) {
      const { at, keptUntil } = lower
      if (from >= keptUntil - MAX_GAP_PER_AGE * (at - keptUntil)) return at - from
    }
    return (this.kept[next]?.at ?? now) - from
  }

  /** Whether all followers were past a seqno at some sample since a time. */
  wereAllPast(seqno: bigint, since: number): boolean {
    const first = countWhile(this.slowest, ({ at }) => at < since)
    for (let index = first; index < this.slowest.length; index++) {
      if ((this.slowest[index]?.appliedSeqno ?? 0n) > seqno) return true
    }
    return false
  }
}

/** Runs a scenario, and returns for every collection what a gauge reports and what is true. */
export function simulate(scenario: Scenario): Observation[] {
  // The gauge's timer fires when the simulation says so, late or early, and not each second of the simulated time.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  let now = 0
  const realNow = performance.now.bind(performance)
  performance.now = () => now
  try {
    return run(scenario, (at) => {
      now = at
    })
  } finally {
    performance.now = realNow
    vi.useRealTimers()
  }
}

const SHARD = 'log'

function run(scenario: Scenario, setClock: (now: number) => void): Observation[] {
  const random = randomNumbers(scenario.seed ?? 1)
  const { interval = 1000, jitter = 0.02, collectInterval = 1700, blocked = [] } = scenario
  const events = scenario.leader()[Symbol.iterator]()
  const log = new Log()
  const samples = new Samples()
  const observations: Observation[] = []
  const gauge = new ReplicationLagGauge()
  const leader = gauge.leader(SHARD)
  const followers = scenario.followers.map((script, index) => ({
    follower: new Follower(script),
    joins: script.joins ?? 0,
    replica: `r${index}`,
  }))
  const joined = (now: number) => followers.filter(({ joins }) => joins <= now)

  /** When a timer that is set at a time fires. */
  const due = (from: number, millis: number) => {
    const at = from + millis * (1 + jitter * (2 * random() - 1))
    const block = blocked.find((block) => at >= block.at && at < block.at + block.millis)
    return block ? block.at + block.millis : at
  }

  let event = events.next()
  const advance = (now: number) => {
    setClock(now)
    for (; !event.done && event.value.at <= now; event = events.next()) log.apply(event.value)
    leader.store(log.leaderSeqno)
    for (const { follower, replica, joins } of followers) {
      follower.advance(log, now)
      if (joins <= now) gauge.updateAppliedSeqno(SHARD, follower.appliedSeqno, replica)
    }
  }
  const noteSample = (now: number) => {
    const applied = joined(now).map(({ follower }) => follower.appliedSeqno)
    samples.add(now, log.leaderSeqno, applied)
    log.sampled()
  }
  const collect = (now: number) => {
    for (const [index, { follower, replica, joins }] of followers.entries()) {
      if (joins > now) continue
      const { appliedSeqno } = follower
      const entry = log.entryAfter(appliedSeqno)
      observations.push({
        at: now,
        follower: index,
        seconds: gauge.lagSeconds(SHARD, replica),
        isBehind: entry !== undefined,
        truth: entry ? (now - entry.writtenAt) / 1000 : 0,
        firstTruth: entry ? (now - entry.firstWrittenAt) / 1000 : 0,
        gap: samples.gapAfter(appliedSeqno, now) / 1000,
        isForgotten: entry !== undefined && samples.wereAllPast(appliedSeqno, entry.writtenAt),
        mayBeUnknown: now < 1000 || log.leaderSeqno < samples.lastSeqno,
      })
    }
  }

  advance(0)
  gauge.lagSeconds(SHARD)
  noteSample(0)
  let nextSample = due(0, interval)
  let nextCollect = due(0, collectInterval)
  for (let now = 0; now < scenario.duration;) {
    now = Math.min(nextSample, nextCollect)
    advance(now)
    if (now === nextSample) {
      vi.advanceTimersByTime(1000)
      noteSample(now)
      nextSample = due(now, interval)
    } else {
      collect(now)
      nextCollect = due(now, collectInterval)
    }
  }
  return observations
}

/** For how many items, from the first on, something holds that does not hold again after it once did not. Bisects. */
function countWhile<T>(items: readonly T[], holds: (item: T) => boolean): number {
  let [from, to] = [0, items.length]
  while (from < to) {
    const middle = (from + to) >>> 1
    if (holds(items[middle] as T)) from = middle + 1
    else to = middle
  }
  return from
}
