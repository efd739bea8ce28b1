import { CAUGHT_UP, UNKNOWN_AGE, type SeqnoAge } from './seqno-age.js'

/**
 * A sample is dropped when its neighbours are closer together than this part of the younger one's age, so that no gap
 * is wider than that, and no age wrong by more.
 */
const MAX_GAP_PER_AGE = 0.05

/**
 * A leader that comes back at a lower seqno may have written some of its entries anew since the last sample. Those that
 * are so many times as old as what it has lost are taken to be old ones: it cannot have written that much so soon.
 */
const CERTAIN_PER_LOST = 10

/** A sample is three words: its time, and the upper and the lower half of its seqno. */
const SAMPLE = 3
const TIME = 0
const HIGH = 1
const LOW = 2
const WORD = 2 ** 32

/** So many samples V8 keeps within the typed array, without a buffer: enough for who is behind for a moment. */
const FIRST_CAPACITY = 5
/** Room is made for so many samples at once, and for an eighth of those there are: each costs one pass over them. */
const MIN_ROOM = 16

/** A time counts sixteenths of a millisecond, which lasts for three days; then the unit is doubled. */
const UNITS_PER_MS = 16

/** To take a u64 apart into two words. */
const u64 = new DataView(new ArrayBuffer(8))
let spread = 0

/**
 * When a shard's leader had come to which seqno: samples of (leader seqno, time), which tell how old the entry is that a
 * follower has to apply next. Kept only while some follower of the shard is behind.
 *
 * The history is logarithmic: gaps between samples grow in proportion to their age, and what every follower has applied
 * is forgotten. A day with a sample a second comes to some 300 samples of 12 bytes.
 *
 * Times are in ms, of a clock that never goes back: what is before the newest sample, or NaN, counts as its time.
 */
export class SeqnoHistory {
  // All numbers in here but the samples are small integers, which V8 keeps in the object itself: with one history for
  // each of 65,536 shards, what a sample costs is the cache lines that it touches.
  #samples = new Uint32Array(FIRST_CAPACITY * SAMPLE)
  #start = 0
  #end = 0
  #originSeconds: number
  #unit = 1

  /**
   * @param leaderSeqno 0 … 2^64 − 1: the leader seqno at the shard's last sample, when no follower was behind; where the
   * shard had none yet, its leader seqno now.
   * @param time when that was, in ms.
   */
  constructor(leaderSeqno: bigint, time: number) {
    this.#originSeconds = Math.floor(time / 1000)
    u64.setBigUint64(0, leaderSeqno)
    this.#write(0, Math.ceil(this.#elapsed(time)), u64.getUint32(0), u64.getUint32(4))
    this.#end = SAMPLE
  }

  /**
   * Remembers the seqno that the leader has come to, and forgets in time what all followers have applied.
   * O(1), amortised. A sample that brings nothing new, neither a seqno nor a time, takes no room.
   *
   * A leader seqno that is lower than before tells that the leader has lost entries, or begun anew, but not which of the
   * rest are old: of those that it may have written since, all that is known then is that they are there now.
   *
   * @param leaderSeqno 0 … 2^64 − 1
   * @param slowestAppliedSeqno what the slowest follower has applied, 0 … 2^64 − 1.
   * @param now in ms.
   */
  sample(leaderSeqno: bigint, slowestAppliedSeqno: bigint, now: number): void {
    u64.setBigUint64(0, leaderSeqno)
    const high = u64.getUint32(0)
    const low = u64.getUint32(4)
    const newest = this.#end - SAMPLE
    const time = this.#timeOf(now, newest)
    const grown = this.#distance(newest, high, low)
    if (grown < 0) {
      this.#end = this.#lastCertain(high, low, time) + SAMPLE
      const kept = this.#end - SAMPLE
      // What it may have written came all at once, now: see how `age` takes a gap without duration.
      if (kept >= this.#start) {
        this.#push(time, this.#word(kept + HIGH), this.#word(kept + LOW), slowestAppliedSeqno)
      }
      this.#push(time, high, low, slowestAppliedSeqno)
    } else if (newest > this.#start && this.#isNoNews(newest, time, grown)) {
      this.#write(newest, time, high, low)
    } else {
      this.#push(time, high, low, slowestAppliedSeqno)
    }
  }

  /**
   * How long the leader has had the oldest entry that a follower has not applied.
   *
   * Interpolated between the two samples that it was written between, so off by no more than the gap between them: the
   * time from one call of {@link sample} to the next, or 5 % of the age where samples were dropped. Never extrapolated:
   * an entry that was there at the oldest sample is at least as old as that.
   *
   * @param appliedSeqno what the follower has applied, 0 … 2^64 − 1.
   * @param leaderSeqno the leader seqno now, 0 … 2^64 − 1; lower than at the newest sample is what it is for {@link sample}.
   * @param now in ms.
   * @returns `UNKNOWN_AGE` itself where the leader has come back since the newest sample and may have written the entry anew.
   */
  age(appliedSeqno: bigint, leaderSeqno: bigint, now: number): SeqnoAge {
    if (appliedSeqno >= leaderSeqno) return CAUGHT_UP
    u64.setBigUint64(0, leaderSeqno)
    const leaderHigh = u64.getUint32(0)
    const leaderLow = u64.getUint32(4)
    u64.setBigUint64(0, appliedSeqno + 1n)
    const high = u64.getUint32(0)
    const low = u64.getUint32(4)

    const newest = this.#end - SAMPLE
    const time = Math.max(this.#elapsed(now), this.#word(newest + TIME))
    const before = this.#lastBelow(high, low)
    const grown = this.#distance(newest, leaderHigh, leaderLow)
    if (grown < 0 && before >= this.#lastCertain(leaderHigh, leaderLow, time)) return UNKNOWN_AGE
    if (before < this.#start) return this.#ageAt(this.#word(this.#start + TIME), time, true)

    const isNewest = before === newest
    const from = this.#word(before + TIME)
    const to = isNewest ? time : this.#word(before + SAMPLE + TIME)
    const written = isNewest ? grown : this.#growth(before)
    const part = this.#distance(before, high, low) / written
    // What came while no time passed came while the clock stood still, or was there when the leader came back.
    return this.#ageAt(from + (to - from) * part, time, to === from && !isNewest)
  }

  /** How many samples there are: 1 or more. */
  get length(): number {
    return (this.#end - this.#start) / SAMPLE
  }

  /** How many bytes are set aside for samples. */
  get byteLength(): number {
    return this.#samples.byteLength
  }

  /** Whether the newest sample can become this one: no time has passed since, or nothing was written since before it. */
  #isNoNews(newest: number, time: number, grown: number): boolean {
    if (time === this.#word(newest + TIME)) return true
    return grown === 0 && this.#growth(newest - SAMPLE) === 0
  }

  /** The last sample that holds for the leader also after it came back at this seqno; one before the first if none does. */
  #lastCertain(high: number, low: number, now: number): number {
    let at = this.#lastBelow(high, low)
    const lost = now - this.#word(Math.max(at, this.#start) + TIME)
    while (at >= this.#start && now - this.#word(at + TIME) < CERTAIN_PER_LOST * lost) at -= SAMPLE
    return at
  }

  #push(time: number, high: number, low: number, slowestAppliedSeqno: bigint): void {
    if (this.#end === this.#samples.length) this.#makeRoom(slowestAppliedSeqno, time)
    this.#write(this.#end, time, high, low)
    this.#end += SAMPLE
  }

  /** Forgets and thins; takes a new array where that does not free enough, or far too much. */
  #makeRoom(slowestAppliedSeqno: bigint, now: number): void {
    // The slowest follower's next entry came after the last sample below it; what was before that is of no use.
    u64.setBigUint64(0, BigInt.asUintN(64, slowestAppliedSeqno + 1n))
    const needed = this.#lastBelow(u64.getUint32(0), u64.getUint32(4))
    this.#thin(Math.max(this.#start, needed), now)

    const old = this.#samples
    const used = this.#end / SAMPLE
    const room = Math.max(MIN_ROOM, used >> 3)
    const free = old.length / SAMPLE - used
    if (free >= Math.min(room, used) && free <= 2 * room + used) return
    // Shards that fall behind at the same moment would all be thinned in the same tick ever after: spread them out.
    const more = old.length === FIRST_CAPACITY * SAMPLE ? spread++ % MIN_ROOM : 0
    this.#samples = new Uint32Array((used + room + more) * SAMPLE)
    for (let at = 0; at < this.#end; at++) this.#samples[at] = old[at] as number
  }

  /** Moves the samples from here on to the front, without those that their neighbours are near enough for. */
  #thin(from: number, now: number): void {
    const samples = this.#samples
    const newest = this.#end - SAMPLE
    let end = 0
    let older = 0
    for (let at = from; at <= newest; at += SAMPLE) {
      const time = this.#word(at + TIME)
      // The gap of the slowest follower stays as it is: its age does not jump while it catches up.
      if (at > from + SAMPLE && at < newest && time > older) {
        const younger = this.#word(at + SAMPLE + TIME)
        if (younger - older <= MAX_GAP_PER_AGE * (now - younger)) continue
      }
      samples[end + TIME] = older = time
      samples[end + HIGH] = this.#word(at + HIGH)
      samples[end + LOW] = this.#word(at + LOW)
      end += SAMPLE
    }
    this.#start = 0
    this.#end = end
  }

  /** The last sample with a seqno below this one; one before the first where there is none. */
  #lastBelow(high: number, low: number): number {
    let from = this.#start / SAMPLE
    let to = this.#end / SAMPLE
    while (from < to) {
      const middle = (from + to) >>> 1
      if (this.#distance(middle * SAMPLE, high, low) > 0) from = middle + 1
      else to = middle
    }
    return (from - 1) * SAMPLE
  }

  /** A moment in units of time, not before the newest sample. Rounded up: what is there now was there then. */
  #timeOf(now: number, newest: number): number {
    let time = Math.ceil(this.#elapsed(now))
    while (time >= WORD) {
      for (let at = this.#start + TIME; at < this.#end; at += SAMPLE) {
        this.#samples[at] = Math.ceil(this.#word(at) / 2)
      }
      this.#unit *= 2
      time = Math.ceil(time / 2)
    }
    return Math.max(time, this.#word(newest + TIME))
  }

  #elapsed(now: number): number {
    const elapsed = ((now - this.#originSeconds * 1000) * UNITS_PER_MS) / this.#unit
    return Number.isFinite(elapsed) ? elapsed : 0
  }

  #ageAt(time: number, now: number, atLeast: boolean): SeqnoAge {
    return { seconds: ((now - time) * this.#unit) / UNITS_PER_MS / 1000, atLeast }
  }

  /** By how much the seqno grew from a sample to the next. */
  #growth(at: number): number {
    return this.#distance(at, this.#word(at + SAMPLE + HIGH), this.#word(at + SAMPLE + LOW))
  }

  /** A seqno minus that of a sample: exact to 53 bits, and so is always the sign. */
  #distance(at: number, high: number, low: number): number {
    return (high - this.#word(at + HIGH)) * WORD + (low - this.#word(at + LOW))
  }

  #write(at: number, time: number, high: number, low: number): void {
    this.#samples[at + TIME] = time
    this.#samples[at + HIGH] = high
    this.#samples[at + LOW] = low
  }

  #word(at: number): number {
    return this.#samples[at] as number
  }
}
