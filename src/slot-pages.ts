/**
 * Many small pieces of memory of one size, slots, side by side in pages: to take one allocates nothing as a rule, and a
 * page of which every slot was given back is given up. A slot is a number; who has it knows what a page is.
 */
export class SlotPages<Page> {
  /** A power of two, so that a slot's page is found by a shift. */
  readonly slotsPerPage: number
  readonly #shift: number
  readonly #create: () => Page
  readonly #pages: (Page | undefined)[] = []
  /** Which slots of each page are free. */
  readonly #free: number[][] = []
  /** Which pages have a slot to give. The one that has had for longest gives first: it has most. */
  readonly #open = new Set<number>()
  /** Where a page was given up. */
  readonly #gone: number[] = []

  /** @param slots how many a page has at most; it is the next lower power of two. */
  constructor(slots: number, create: (slots: number) => Page) {
    this.#shift = Math.floor(Math.log2(slots))
    this.slotsPerPage = 2 ** this.#shift
    this.#create = () => create(this.slotsPerPage)
  }

  /** @returns a slot that nobody has; what is in it is left over from somebody. */
  take(): number {
    const [index = this.#addPage()] = this.#open
    const free = this.#free[index] as number[]
    const slot = free.pop() as number
    if (free.length === 0) this.#open.delete(index)
    return slot
  }

  giveBack(slot: number): void {
    const index = slot >>> this.#shift
    const free = this.#free[index] as number[]
    free.push(slot)
    if (free.length === this.slotsPerPage) this.#giveUp(index)
    else if (free.length === 1) this.#open.add(index)
  }

  /** The page that a slot is in, which somebody has. */
  pageOf(slot: number): Page {
    return this.#pages[slot >>> this.#shift] as Page
  }

  #addPage(): number {
    const index = this.#gone.pop() ?? this.#pages.length
    const last = ((index + 1) << this.#shift) - 1
    // The first is taken first, so that those that are taken together are side by side.
    this.#free[index] = Array.from({ length: this.slotsPerPage }, (_, i) => last - i)
    this.#pages[index] = this.#create()
    this.#open.add(index)
    return index
  }

  #giveUp(index: number): void {
    this.#pages[index] = undefined
    this.#free[index] = []
    this.#open.delete(index)
    this.#gone.push(index)
    // Once nobody has any, it is as new.
    if (this.#gone.length === this.#pages.length) {
      for (const list of [this.#pages, this.#free, this.#gone]) list.length = 0
    }
  }
}
