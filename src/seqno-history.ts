import { SAMPLE_WORDS, type SampleBlocks } from './sample-blocks.js'
import { UPPER_WORD } from './seqno.js'
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

const SAMPLE = SAMPLE_WORDS
const TIME = 0
const HIGH = 1
const LOW = 2
const WORD = 2 ** 32

/** At first there is room for so many samples; then for twice as many, but for no more than so many at once … */
const FIRST_ROOM = 16
const MAX_ROOM = 32
/** … or an eighth of those there are. Making room costs one pass over them, so it is not made for fewer than this. */
const MIN_ROOM = 8
const ROOM_PER_SAMPLE = 1 / 8

/** A time counts sixteenths of a millisecond, which lasts for three days; then the unit is doubled. */
const UNITS_PER_MS = 16

/** To take a u64 apart into two words. */
const u64 = new DataView(new ArrayBuffer(8))

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
  readonly #blocks: SampleBlocks
  // All numbers in here but the samples are small integers, which V8 keeps in the object itself: with one history for
  // each of 65,536 shards, what a sample costs is the cache lines that it touches.
  #samples: Uint32Array
  /** Its block in there, and within that where the samples are. */
  #block: number
  #blockStart: number
  #blockEnd: number
  #start: number
  #end: number
  #originSeconds: number
  #unit = 1

  /**
   * @param leaderSeqno 0 … 2^64 − 1: the leader seqno at the shard's last sample, when no follower was behind; where the
   * shard had none yet, its leader seqno now.
   * @param time when that was, in ms.
   * @param blocks where it has its samples, until {@link end}.
   */
  constructor(leaderSeqno: bigint, time: number, blocks: SampleBlocks) {
    this.#blocks = blocks
    const { words, slot, start, end } = blocks.take(FIRST_ROOM)
    this.#samples = words
    this.#block = slot
    this.#blockStart = this.#start = this.#end = start
    this.#blockEnd = end
    this.#originSeconds = Math.floor(time / 1000)
    u64.setBigUint64(0, leaderSeqno)
    this.#write(this.#end, Math.ceil(this.#elapsed(time)), u64.getUint32(0), u64.getUint32(4))
    this.#end += SAMPLE
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
    if (this.#distance(newest, high, low) < 0) {
      this.#end = this.#lastCertain(high, low, time) + SAMPLE
      const kept = this.#end - SAMPLE
      // What it may have written came all at once, now: see how `age` takes a gap without duration.
      if (kept >= this.#start) {
        this.#push(time, this.#word(kept + HIGH), this.#word(kept + LOW), slowestAppliedSeqno)
      }
      this.#push(time, high, low, slowestAppliedSeqno)
    } else {
      this.#add(time, high, low, slowestAppliedSeqno)
    }
  }

  /**
   * The same for some samples in a row, none of which is lower than the one before it.
   *
   * @param words the seqnos, in words as the machine has them.
   * @param from which is the first, and `to` the one after the last.
   */
  sampleAll(
    words: Uint32Array,
    times: Float64Array,
    from: number,
    to: number,
    slowestAppliedSeqno: bigint,
  ): void {
    for (let at = from; at < to; at++) {
      const time = this.#timeOf(times[at] as number, this.#end - SAMPLE)
      const high = words[2 * at + UPPER_WORD] as number
      const low = words[2 * at + 1 - UPPER_WORD] as number
      this.#add(time, high, low, slowestAppliedSeqno)
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

  /**
   * Writes down the two samples between which the entry after a seqno came, which is below that of the newest sample.
   * Where it was there at the oldest sample, both are of that one's time, the first at seqno 0.
   *
   * @param high the upper word of what a follower has applied, and `low` the lower one.
   * @param words where the seqnos go, in words as the machine has them.
   * @param at which is the first of the two.
   */
  copyGapAfter(
    high: number,
    low: number,
    words: Uint32Array,
    times: Float64Array,
    at: number,
  ): void {
    const before = this.#lastBelow(high, low + 1)
    const after = before + SAMPLE
    const isKnown = before >= this.#start
    words[2 * at + UPPER_WORD] = isKnown ? this.#word(before + HIGH) : 0
    words[2 * at + 1 - UPPER_WORD] = isKnown ? this.#word(before + LOW) : 0
    times[at] = this.#millisAt(isKnown ? before : after)
    words[2 * at + 2 + UPPER_WORD] = this.#word(after + HIGH)
    words[2 * at + 3 - UPPER_WORD] = this.#word(after + LOW)
    times[at + 1] = this.#millisAt(after)
  }

  /** How many samples there are: 1 or more. */
  get length(): number {
    return (this.#end - this.#start) / SAMPLE
  }

  /** How many bytes are set aside for samples. */
  get byteLength(): number {
    return (this.#blockEnd - this.#blockStart) * Uint32Array.BYTES_PER_ELEMENT
  }

  /** Gives its memory back; it is not to be used any more. */
  end(): void {
    this.#blocks.giveBack(this.#block, this.#blockEnd - this.#blockStart)
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

  /** Adds a sample that is not lower than the newest. */
  #add(time: number, high: number, low: number, slowestAppliedSeqno: bigint): void {
    const newest = this.#end - SAMPLE
    const grown = this.#distance(newest, high, low)
    if (newest > this.#start && this.#isNoNews(newest, time, grown)) {
      this.#write(newest, time, high, low)
    } else {
      this.#push(time, high, low, slowestAppliedSeqno)
    }
  }

  #push(time: number, high: number, low: number, slowestAppliedSeqno: bigint): void {
    if (this.#end === this.#blockEnd) this.#makeRoom(slowestAppliedSeqno, time)
    this.#write(this.#end, time, high, low)
    this.#end += SAMPLE
  }

  /** Forgets and thins; takes another block where that does not free enough, or far too much. */
  #makeRoom(slowestAppliedSeqno: bigint, now: number): void {
    // The slowest follower's next entry came after the last sample below it; what was before that is of no use.
    u64.setBigUint64(0, BigInt.asUintN(64, slowestAppliedSeqno + 1n))
    const needed = this.#lastBelow(u64.getUint32(0), u64.getUint32(4))
    this.#thin(Math.max(this.#start, needed), now)

    const used = (this.#end - this.#start) / SAMPLE
    const part = used * ROOM_PER_SAMPLE
    const room = Math.max(Math.min(used, MAX_ROOM), part)
    const free = (this.#blockEnd - this.#end) / SAMPLE
    if (free >= Math.max(MIN_ROOM, part) && free <= 2 * room + used) return
    const { words, slot, start, end } = this.#blocks.take(used + room)
    for (let i = 0; i < used * SAMPLE; i++) words[start + i] = this.#word(this.#start + i)
    this.end()
    this.#samples = words
    this.#block = slot
    this.#blockStart = this.#start = start
    this.#blockEnd = end
    this.#end = start + used * SAMPLE
  }

  /** Moves the samples from here on to the front, without those that their neighbours are near enough for. */
  #thin(from: number, now: number): void {
    const samples = this.#samples
    const newest = this.#end - SAMPLE
    let end = this.#blockStart
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
    this.#start = this.#blockStart
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

  #millisAt(at: number): number {
    return this.#originSeconds * 1000 + (this.#word(at + TIME) * this.#unit) / UNITS_PER_MS
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
