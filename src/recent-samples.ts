import { SampleBlocks } from './sample-blocks.js'
import { UPPER_WORD } from './seqno.js'
import { SeqnoHistory } from './seqno-history.js'
import { SlotPages } from './slot-pages.js'

/** A strip has room for so many samples; the first two are those of a remembered gap. */
const STRIP = 16
const GAP = 2
/** How many recent samples a strip has room for. */
export const STRIP_ROOM = STRIP - GAP
/** Which sample of a strip begins the gap that is remembered. */
export const GAP_SAMPLE = 0
/** In place of a sample: none of the strip. */
export const OLDER = -1

const STRIPS_PER_PAGE = 64

/** Strips, side by side. */
class Page {
  readonly seqnos = new BigUint64Array(STRIPS_PER_PAGE * STRIP)
  /** The seqnos once more, in words: to compare bigints would make one of each. */
  readonly words = new Uint32Array(this.seqnos.buffer)
  readonly times = new Float64Array(STRIPS_PER_PAGE * STRIP)
  /** Where the next sample of each strip goes. */
  readonly ends = new Uint8Array(STRIPS_PER_PAGE)
}

/**
 * The newest samples of leaders that have a follower behind: for each a strip, and all strips side by side, so that a
 * tick that samples many thousands of leaders writes to memory in a row and touches no object of theirs. What a strip has
 * no more room for goes to the leader's {@link SeqnoHistory}.
 *
 * A strip also remembers the gap in that history which was asked for last: a follower that stands still stays in it.
 */
export class RecentSamples {
  readonly #pages = new SlotPages(STRIPS_PER_PAGE, () => new Page())
  /** For the histories. */
  readonly #blocks = new SampleBlocks()

  /** @returns a strip with one sample. */
  add(seqno: bigint, time: number): number {
    const strip = this.#pages.take()
    this.restart(strip, seqno, time)
    return strip
  }

  remove(strip: number): void {
    this.#pages.giveBack(strip)
  }

  /** Leaves a strip with this sample alone. */
  restart(strip: number, seqno: bigint, time: number): void {
    const { seqnos, ends } = this.#pages.pageOf(strip)
    const at = (strip % STRIPS_PER_PAGE) * STRIP
    // There is no seqno between.
    seqnos[at] = seqnos[at + 1] = 0n
    ends[strip % STRIPS_PER_PAGE] = GAP
    this.push(strip, seqno, time)
  }

  /**
   * Adds a sample; there must be room.
   *
   * @returns how many there are then.
   */
  push(strip: number, seqno: bigint, time: number): number {
    const { seqnos, times, ends } = this.#pages.pageOf(strip)
    const end = ends[strip % STRIPS_PER_PAGE] as number
    const at = (strip % STRIPS_PER_PAGE) * STRIP + end
    seqnos[at] = seqno
    times[at] = time
    ends[strip % STRIPS_PER_PAGE] = end + 1
    return end + 1 - GAP
  }

  /**
   * Moves all samples but the newest to a history, whose newest sample is the oldest here.
   *
   * @param history made anew where there is none yet.
   * @param slowestAppliedSeqno what the slowest follower has applied.
   */
  moveTo(
    history: SeqnoHistory | undefined,
    strip: number,
    slowestAppliedSeqno: bigint,
  ): SeqnoHistory {
    const { seqnos, words, times, ends } = this.#pages.pageOf(strip)
    const first = (strip % STRIPS_PER_PAGE) * STRIP + GAP
    const newest = first - GAP + (ends[strip % STRIPS_PER_PAGE] as number) - 1
    const [seqno, time] = [seqnos[first] as bigint, times[first] as number]
    const moved = history ?? new SeqnoHistory(seqno, time, this.#blocks)
    moved.sampleAll(words, times, first + 1, newest + 1, slowestAppliedSeqno)
    // The history has it, too: the next gap begins there.
    seqnos[first] = seqnos[newest] as bigint
    times[first] = times[newest] as number
    ends[strip % STRIPS_PER_PAGE] = GAP + 1
    return moved
  }

  /** Remembers the gap in the history that the entry after a seqno came in. */
  remember(strip: number, history: SeqnoHistory, appliedSeqno: bigint): void {
    const { words, times } = this.#pages.pageOf(strip)
    split(appliedSeqno)
    history.copyGapAfter(high, low, words, times, (strip % STRIPS_PER_PAGE) * STRIP)
  }

  /**
   * Where the entry after a seqno came, which is below the newest sample's: after which sample of the strip.
   *
   * @returns {@link OLDER} where neither the recent samples nor the gap tell.
   */
  find(strip: number, appliedSeqno: bigint): number {
    const { words, ends } = this.#pages.pageOf(strip)
    const start = (strip % STRIPS_PER_PAGE) * STRIP
    split(appliedSeqno)
    if (!isAbove(words, start) && isAbove(words, start + 1)) return GAP_SAMPLE
    if (isAbove(words, start + GAP)) return OLDER
    // By halving: the last that is not above.
    let from = GAP
    let to = (ends[strip % STRIPS_PER_PAGE] as number) - 1
    while (to - from > 1) {
      const middle = (from + to) >>> 1
      if (isAbove(words, start + middle)) to = middle
      else from = middle
    }
    return from
  }

  /** For how many seconds the leader has had the entry after a seqno, which came after this sample of the strip. */
  seconds(strip: number, sample: number, appliedSeqno: bigint, now: number): number {
    const { words, times } = this.#pages.pageOf(strip)
    const at = (strip % STRIPS_PER_PAGE) * STRIP + sample
    split(appliedSeqno)
    const passed = distance(words, at)
    const part = (passed + 1) / (passed - distance(words, at + 1))
    const from = times[at] as number
    return Math.max(0, now - from - ((times[at + 1] as number) - from) * part) / 1000
  }

  /** Whether it is at least that: it came while the clock stood still, or was there at the oldest sample. */
  isAtLeast(strip: number, sample: number): boolean {
    const { times } = this.#pages.pageOf(strip)
    const at = (strip % STRIPS_PER_PAGE) * STRIP + sample
    return times[at] === times[at + 1]
  }
}

const u64 = new BigUint64Array(1)
const u32 = new Uint32Array(u64.buffer)
let [high, low] = [0, 0]

/** Takes apart the seqno that samples are compared with next. */
function split(seqno: bigint): void {
  u64[0] = seqno
  high = u32[UPPER_WORD] as number
  low = u32[1 - UPPER_WORD] as number
}

/** That seqno minus a sample's: exact to 53 bits, and so is always the sign. */
function distance(words: Uint32Array, at: number): number {
  const upper = high - (words[2 * at + UPPER_WORD] as number)
  return upper * 2 ** 32 + (low - (words[2 * at + 1 - UPPER_WORD] as number))
}

function isAbove(words: Uint32Array, at: number): boolean {
  return distance(words, at) < 0
}
