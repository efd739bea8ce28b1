import { GAP_SAMPLE, OLDER, RecentSamples, STRIP_ROOM } from './recent-samples.js'
import { ageSince, CAUGHT_UP, UNKNOWN_AGE, type SeqnoAge } from './seqno-age.js'
import type { SeqnoHistory } from './seqno-history.js'

/** Room for so many leaders at first; it doubles when it is full. */
const FIRST_CAPACITY = 64

/** No strip. */
const NONE = -1
/** In place of a sample: it is none of a strip that tells. */
const OTHERWISE = -1

/** How many samples make a first history: not the same for all, else those that fall behind together are moved together. */
const firstRoom = (strip: number) => 3 + (strip % (STRIP_ROOM - 2))

/**
 * When the leaders of a gauge had which seqno: of each the newest sample and, only while one of its followers is behind,
 * a history. A leader is an index here, given out by {@link add}.
 */
export class LeaderSamples {
  #seqnos = new BigUint64Array(FIRST_CAPACITY)
  /** In milliseconds; NaN where there is no sample yet. */
  #times = new Float64Array(FIRST_CAPACITY)
  /** Which strip of the recent samples; {@link NONE} while none of its followers is behind. */
  #strips = new Int32Array(FIRST_CAPACITY)
  readonly #recent = new RecentSamples()
  /** What its strip has no room for. */
  readonly #histories: (SeqnoHistory | undefined)[] = []
  readonly #free: number[] = []

  /** @returns the index of a new leader. */
  add(): number {
    const index = this.#free.pop() ?? this.#histories.length
    if (index === this.#times.length) this.#grow()
    this.#times[index] = Number.NaN
    this.#strips[index] = NONE
    this.#histories[index] = undefined
    return index
  }

  remove(index: number): void {
    if (this.#strips[index] !== NONE) this.#forget(index)
    this.#free.push(index)
  }

  /** Whether this is where a leader was at its newest sample. */
  isNewest(index: number, leaderSeqno: bigint | undefined): boolean {
    return this.#seqnos[index] === leaderSeqno
  }

  /**
   * Remembers where a leader is now.
   *
   * @param slowestAppliedSeqno what the slowest of its followers has applied.
   * @param now in ms of a monotonic clock.
   */
  sample(index: number, leaderSeqno: bigint, slowestAppliedSeqno: bigint, now: number): void {
    const strip = this.#strips[index] as number
    if (slowestAppliedSeqno >= leaderSeqno) {
      if (strip !== NONE) this.#forget(index)
    } else if (strip === NONE) {
      this.#begin(index, leaderSeqno, now)
    } else if (leaderSeqno < (this.#seqnos[index] as bigint)) {
      this.#keep(index, slowestAppliedSeqno).sample(leaderSeqno, slowestAppliedSeqno, now)
      this.#recent.restart(strip, leaderSeqno, now)
    } else {
      const length = this.#recent.push(strip, leaderSeqno, now)
      if (length >= (this.#histories[index] ? STRIP_ROOM : firstRoom(strip))) {
        this.#keep(index, slowestAppliedSeqno)
      }
    }
    this.#seqnos[index] = leaderSeqno
    this.#times[index] = now
  }

  /**
   * For how many seconds a leader has had the oldest entry that a follower has not applied; `undefined` while nothing tells,
   * before the first sample of the leader or after it came back at a lower seqno.
   *
   * @param index -1 for a leader that was never sampled.
   */
  seconds(
    index: number,
    leaderSeqno: bigint,
    appliedSeqno: bigint,
    now: number,
  ): number | undefined {
    const sample = this.#find(index, leaderSeqno, appliedSeqno)
    if (sample !== OTHERWISE) {
      return this.#recent.seconds(this.#strips[index] as number, sample, appliedSeqno, now)
    }
    const age = this.#ageOtherwise(index, leaderSeqno, appliedSeqno, now)
    return age === UNKNOWN_AGE ? undefined : age.seconds
  }

  /** The same, with whether it is at least that; `UNKNOWN_AGE` itself while nothing tells. */
  age(index: number, leaderSeqno: bigint, appliedSeqno: bigint, now: number): SeqnoAge {
    const sample = this.#find(index, leaderSeqno, appliedSeqno)
    if (sample === OTHERWISE) {
      return this.#ageOtherwise(index, leaderSeqno, appliedSeqno, now)
    }
    const strip = this.#strips[index] as number
    return {
      seconds: this.#recent.seconds(strip, sample, appliedSeqno, now),
      atLeast: this.#recent.isAtLeast(strip, sample),
    }
  }

  /** After which sample of its strip the oldest entry came that a follower has not applied. */
  #find(index: number, leaderSeqno: bigint, appliedSeqno: bigint): number {
    const strip = this.#strips[index] ?? NONE
    const newest = this.#seqnos[index]
    if (strip === NONE || newest === undefined) return OTHERWISE
    if (appliedSeqno >= newest || leaderSeqno < newest) return OTHERWISE
    const sample = this.#recent.find(strip, appliedSeqno)
    if (sample !== OLDER) return sample
    const history = this.#histories[index] ?? this.#keep(index, 0n)
    this.#recent.remember(strip, history, appliedSeqno)
    return GAP_SAMPLE
  }

  /** The age where it came after the newest sample, or the leader has come back since at a lower seqno. */
  #ageOtherwise(index: number, leaderSeqno: bigint, appliedSeqno: bigint, now: number): SeqnoAge {
    if (appliedSeqno >= leaderSeqno) return CAUGHT_UP
    const time = this.#times[index] ?? Number.NaN
    if (Number.isNaN(time)) return UNKNOWN_AGE
    const newest = this.#seqnos[index] as bigint
    if (leaderSeqno < newest && this.#strips[index] !== NONE) {
      return this.#keep(index, 0n).age(appliedSeqno, leaderSeqno, now)
    }
    return ageSince(newest, time, appliedSeqno, leaderSeqno, now)
  }

  /** Takes a strip, from the time on when last nobody was behind. */
  #begin(index: number, leaderSeqno: bigint, now: number): void {
    const [seqno, time] = [this.#seqnos[index] as bigint, this.#times[index] as number]
    if (Number.isNaN(time) || seqno > leaderSeqno) {
      this.#strips[index] = this.#recent.add(leaderSeqno, now)
    } else {
      const strip = this.#recent.add(seqno, time)
      this.#recent.push(strip, leaderSeqno, now)
      this.#strips[index] = strip
    }
  }

  #forget(index: number): void {
    this.#recent.remove(this.#strips[index] as number)
    this.#strips[index] = NONE
    this.#histories[index]?.end()
    this.#histories[index] = undefined
  }

  /** Puts the recent samples into the history. */
  #keep(index: number, slowestAppliedSeqno: bigint): SeqnoHistory {
    const strip = this.#strips[index] as number
    const history = this.#recent.moveTo(this.#histories[index], strip, slowestAppliedSeqno)
    this.#histories[index] = history
    return history
  }

  #grow(): void {
    const [seqnos, times, strips] = [this.#seqnos, this.#times, this.#strips]
    this.#seqnos = new BigUint64Array(2 * seqnos.length)
    this.#times = new Float64Array(2 * times.length)
    this.#seqnos.set(seqnos)
    this.#times.set(times)
    this.#strips = new Int32Array(2 * strips.length)
    this.#strips.set(strips)
  }
}
