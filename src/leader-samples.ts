import { ageSince, UNKNOWN_AGE, type SeqnoAge } from './seqno-age.js'
import { SeqnoHistory } from './seqno-history.js'

/** Room for so many leaders at first; it doubles when it is full. */
const FIRST_CAPACITY = 64

/**
 * When the leaders of a gauge had which seqno: of each the newest sample and, only while one of its followers is behind,
 * a history. A leader is an index here, given out by {@link add}.
 */
export class LeaderSamples {
  #seqnos = new BigUint64Array(FIRST_CAPACITY)
  /** In milliseconds; NaN where there is no sample yet. */
  #times = new Float64Array(FIRST_CAPACITY)
  readonly #histories: (SeqnoHistory | undefined)[] = []
  readonly #free: number[] = []

  /** @returns the index of a new leader. */
  add(): number {
    const index = this.#free.pop() ?? this.#histories.length
    if (index === this.#times.length) this.#grow()
    this.#times[index] = Number.NaN
    this.#histories[index] = undefined
    return index
  }

  remove(index: number): void {
    this.#histories[index] = undefined
    this.#free.push(index)
  }

  /**
   * Remembers where a leader is now.
   *
   * @param slowestAppliedSeqno what the slowest of its followers has applied.
   * @param now in ms of a monotonic clock.
   */
  sample(index: number, leaderSeqno: bigint, slowestAppliedSeqno: bigint, now: number): void {
    if (slowestAppliedSeqno < leaderSeqno) {
      const history = (this.#histories[index] ??= this.#begin(index, leaderSeqno, now))
      history.sample(leaderSeqno, slowestAppliedSeqno, now)
    } else if (this.#histories[index]) {
      this.#histories[index] = undefined
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
    const age = this.#age(index, leaderSeqno, appliedSeqno, now)
    return age === UNKNOWN_AGE ? undefined : age.seconds
  }

  #age(index: number, leaderSeqno: bigint, appliedSeqno: bigint, now: number): SeqnoAge {
    const history = this.#histories[index]
    if (history) return history.age(appliedSeqno, leaderSeqno, now)
    const time = this.#times[index] ?? Number.NaN
    if (Number.isNaN(time)) return UNKNOWN_AGE
    return ageSince(this.#seqnos[index] as bigint, time, appliedSeqno, leaderSeqno, now)
  }

  /** A history from the time on when last nobody was behind. */
  #begin(index: number, leaderSeqno: bigint, now: number): SeqnoHistory {
    const time = this.#times[index] as number
    if (Number.isNaN(time)) return new SeqnoHistory(leaderSeqno, now)
    return new SeqnoHistory(this.#seqnos[index] as bigint, time)
  }

  #grow(): void {
    const [seqnos, times] = [this.#seqnos, this.#times]
    this.#seqnos = new BigUint64Array(2 * seqnos.length)
    this.#times = new Float64Array(2 * times.length)
    this.#seqnos.set(seqnos)
    this.#times.set(times)
  }
}
