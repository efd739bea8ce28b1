import { SlotPages } from './slot-pages.js'

/** A sample is three words: its time, and the upper and the lower half of its seqno. */
export const SAMPLE_WORDS = 3

/** Blocks have room for a multiple of so many samples. */
const STEP = 16

const PAGE_BYTES = 16_384

/** Memory for samples: some of these words. */
export interface Block {
  readonly words: Uint32Array
  readonly start: number
  readonly end: number
  readonly slot: number
}

/** The memory of many histories, which grow and shrink: a typed array for each would cost more than what is in it. */
export class SampleBlocks {
  readonly #pages = new Map<number, SlotPages<Uint32Array>>()

  /** @returns a block with room for so many samples, or some more. */
  take(samples: number): Block {
    const length = Math.ceil(samples / STEP) * STEP * SAMPLE_WORDS
    const pages = this.#pagesOf(length)
    const slot = pages.take()
    const start = (slot % pages.slotsPerPage) * length
    return { words: pages.pageOf(slot), start, end: start + length, slot }
  }

  /** @param length of the block, in words. */
  giveBack(slot: number, length: number): void {
    this.#pagesOf(length).giveBack(slot)
  }

  #pagesOf(length: number): SlotPages<Uint32Array> {
    let pages = this.#pages.get(length)
    if (!pages) {
      const slots = Math.max(1, PAGE_BYTES / Uint32Array.BYTES_PER_ELEMENT / length)
      pages = new SlotPages(slots, (slots) => new Uint32Array(slots * length))
      this.#pages.set(length, pages)
    }
    return pages
  }
}
