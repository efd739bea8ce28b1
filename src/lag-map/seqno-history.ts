import { distanceBetween } from './seqno.js'

/** One moment in which leaders were sampled. They share the object, which is smaller than a number for each. */
export interface Sampling {
  /** In milliseconds, as `performance.now()`. */
  readonly at: number
}

/** A sample is dropped when its neighbours are closer than this fraction of the newer one's age, which bounds the error. */
const MAX_GAP_PER_AGE = 0.05

/** Lag in seconds is not known before a leader has been sampled for this long. */
const MIN_SAMPLED_MILLIS = 1000

/** Minimum size of the array of newest samples. */
const NEWEST = 8
/** Histories that begin together must not all move their newest samples at once. */
let histories = 0

/**
 * When a leader had which seqno, in samples. It exists only while a follower is behind, and grows with the logarithm of the
 * time: gaps between samples widen with their age.
 */
export class SeqnoHistory {
  /** The first seqno. The others are kept relative to it, as numbers. */
  readonly base: bigint
  /** Seqno and time of each sample in turn. One array of an exact size is smaller and faster than two that V8 grows. */
  private older: number[] = []
  /** How many numbers of `older` are in use. */
  private olderEnd = 0
  /** The samples after them. Appending to a small fixed array halves the time of sampling (`npm run bench -- behind`). */
  private readonly newest: number[]
  /** How many numbers of both are in use. */
  private end = 2

  /** @param now in milliseconds, as for all methods. */
  constructor(seqno: bigint, now: number) {
    this.base = seqno
    this.newest = allocate(NEWEST + (histories++ % NEWEST))
    this.newest[0] = 0
    this.newest[1] = now
  }

  /**
   * Adds a sample. If the leader has come back lower than before, samples above its new position are dropped.
   * @param slowestSeqno what the slowest follower has applied. Older samples can be dropped.
   */
  add(seqno: bigint, now: number, slowestSeqno: bigint): void {
    const position = distanceBetween(seqno, this.base)
    while (this.end > 0 && this.at(this.end - 2) > position) this.end -= 2
    // While the leader is idle, the first and the last sample are enough. The one before the last is often not in the
    // processor's cache, so the last is compared first.
    const isUnchanged = this.end >= 4 && this.at(this.end - 2) === position
    if (isUnchanged && this.at(this.end - 4) === position) this.end -= 2
    this.olderEnd = Math.min(this.olderEnd, this.end)
    if (this.end - this.olderEnd === this.newest.length) this.moveNewest(now, slowestSeqno)
    this.newest[this.end - this.olderEnd] = position
    this.newest[this.end - this.olderEnd + 1] = now
    this.end += 2
  }

  /**
   * Returns when the leader wrote the entry after a seqno, interpolated between the two samples around it. It is never
   * extrapolated: for an entry that is older than the history, it is the time of the oldest sample.
   * @param leaderSeqno the leader's seqno now, higher than `seqno` and not below the newest sample.
   */
  timeOfEntryAfter(seqno: bigint, leaderSeqno: bigint, now: number): number {
    const applied = distanceBetween(seqno, this.base)
    const after = this.firstAbove(applied)
    if (after === 0) return this.at(1)
    let [position, time] = [distanceBetween(leaderSeqno, this.base), now]
    if (after < this.end) {
      position = this.at(after)
      time = this.at(after + 1)
    }
    const [positionBefore, timeBefore] = [this.at(after - 2), this.at(after - 1)]
    const part = (applied - positionBefore + 1) / (position - positionBefore)
    // Positions over 2^53 are rounded.
    return timeBefore + (time - timeBefore) * Math.min(1, part)
  }

  private at(index: number): number {
    const { older, olderEnd, newest } = this
    return (index < olderEnd ? older[index] : newest[index - olderEnd]) as number
  }

  /** The index of the first sample whose seqno is above a position, by binary search. */
  private firstAbove(position: number): number {
    let [low, high] = [0, this.end / 2]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.at(2 * middle) <= position) low = middle + 1
      else high = middle
    }
    return 2 * low
  }

  private moveNewest(now: number, slowestSeqno: bigint): void {
    if (this.olderEnd + this.newest.length > this.older.length) this.makeRoom(now, slowestSeqno)
    for (const number of this.newest) this.older[this.olderEnd++] = number
    this.end = this.olderEnd
  }

  /** Drops older samples that are not needed, and makes room for the newest ones. */
  private makeRoom(now: number, slowestSeqno: bigint): void {
    // The sample before the slowest follower's next entry is still needed.
    const start = this.firstAbove(distanceBetween(slowestSeqno, this.base)) - 2
    let end = 0
    for (let index = Math.max(0, start); index < this.olderEnd; index += 2) {
      const nextTime = this.at(index + 3)
      const isNeeded =
        end === 0 || nextTime - (this.older[end - 1] as number) > MAX_GAP_PER_AGE * (now - nextTime)
      if (!isNeeded) continue
      this.older[end] = this.at(index)
      this.older[end + 1] = this.at(index + 1)
      end += 2
    }
    this.olderEnd = end
    const kept = end / 2
    if (this.older.length - end >= this.newest.length + kept / 4) return
    const grown = allocate(kept + this.newest.length / 2 + (kept >>> 3))
    for (let index = 0; index < end; index++) grown[index] = this.older[index] as number
    this.older = grown
  }
}

/** Allocates an array for exactly this many samples. */
function allocate(capacity: number): number[] {
  return new Array<number>(2 * capacity).fill(0.5)
}

/** Samples of where a leader was, to measure lag in seconds. */
export class LeaderSamples {
  /** Where the leader was while a follower is behind; `undefined` while none is. */
  private history: SeqnoHistory | undefined = undefined
  private seqno: bigint
  /** The newest sample. */
  last: Sampling

  constructor(
    seqno: bigint,
    private readonly first: Sampling,
  ) {
    this.seqno = seqno
    this.last = first
  }

  /**
   * Adds a sample.
   * @param slowest what the slowest of its followers has applied. `undefined`: it has none. `'lone'`: no feed knows a
   * follower. Then nothing of its log was applied, and the first and the last sample are enough.
   */
  add(seqno: bigint, slowest: bigint | 'lone' | undefined, sampling: Sampling): void {
    const { seqno: lastSeqno, last } = this
    if (slowest === 'lone') {
      // A leader that comes back lower begins its log again. It can have done so right after the last sample.
      const isRestarted = this.history !== undefined && seqno < this.history.base
      if (isRestarted) this.history = new SeqnoHistory(seqno, last.at)
      // For a follower that appears later, everything between the two samples dates from the second.
      this.history ??= new SeqnoHistory(seqno, sampling.at)
      this.history.add(this.history.base, sampling.at, 0n)
    } else if (slowest === undefined || slowest >= seqno) this.history = undefined
    else {
      // No follower was behind at the last sample, so what followers lack now was written after it.
      this.history ??= new SeqnoHistory(lastSeqno, last.at)
      this.history.add(seqno, sampling.at, slowest)
    }
    this.last = sampling
    this.seqno = seqno
  }

  /**
   * The age of the oldest entry that the leader has and a follower has not applied, in seconds. `undefined` until the leader
   * has been sampled for a second, and until the next sample after it came back lower.
   * @param leaderSeqno higher than `appliedSeqno`.
   * @param asOf the moment of the lag, in milliseconds, as `performance.now()`.
   */
  secondsBehind(leaderSeqno: bigint, appliedSeqno: bigint, asOf: number): number | undefined {
    const { first, last, seqno, history } = this
    if (asOf - first.at < MIN_SAMPLED_MILLIS) return undefined
    const seconds = (since: number) => Math.max(0, asOf - since) / 1000
    // The leader came back lower since the last sample. It may have written the entry again, at any time since then.
    if (leaderSeqno < seqno && asOf >= last.at) return undefined
    if (history) return seconds(history.timeOfEntryAfter(appliedSeqno, leaderSeqno, asOf))
    // No follower was behind at the last sample. One came back lower since then, or the entry is new.
    if (appliedSeqno < seqno) return seconds(last.at)
    const left = distanceBetween(leaderSeqno, appliedSeqno) - 1
    return (seconds(last.at) * left) / distanceBetween(leaderSeqno, seqno)
  }
}
