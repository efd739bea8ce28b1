/** A page, and which of its slots are free. */
interface Entry<Page> {
  readonly page: Page
  readonly free: number[]
}

/**
 * Many small pieces of memory of one size, slots, side by side in pages: to take one allocates nothing as a rule, and a
 * page of which every slot was given back is given up. A slot is a number; who has it knows what a page is.
 */
export class SlotPages<Page> {
  readonly slotsPerPage: number
  readonly #create: () => Page
  readonly #entries: (Entry<Page> | undefined)[] = []
  /** Which pages have a slot to give. */
  readonly #open = new Set<number>()
  /** Where a page was given up. */
  readonly #gone: number[] = []

  constructor(slotsPerPage: number, create: () => Page) {
    this.slotsPerPage = slotsPerPage
    this.#create = create
  }

  /** @returns a slot that nobody has; what is in it is left over from somebody. */
  take(): number {
    const [index = this.#addPage()] = this.#open
    const { free } = this.#entries[index] as Entry<Page>
    const slot = free.pop() as number
    if (free.length === 0) this.#open.delete(index)
    return slot
  }

  giveBack(slot: number): void {
    const index = this.#indexOf(slot)
    const { free } = this.#entries[index] as Entry<Page>
    free.push(slot)
    this.#open.add(index)
    if (free.length < this.slotsPerPage) return
    this.#entries[index] = undefined
    this.#open.delete(index)
    this.#gone.push(index)
    if (this.#gone.length === this.#entries.length) this.#gone.length = this.#entries.length = 0
  }

  /** The page that a slot is in, which somebody has. */
  pageOf(slot: number): Page {
    return (this.#entries[this.#indexOf(slot)] as Entry<Page>).page
  }

  #indexOf(slot: number): number {
    return Math.floor(slot / this.slotsPerPage)
  }

  #addPage(): number {
    const index = this.#gone.pop() ?? this.#entries.length
    const last = (index + 1) * this.slotsPerPage - 1
    // The first is taken first, so that those that are taken together are side by side.
    const free = Array.from({ length: this.slotsPerPage }, (_, i) => last - i)
    this.#entries[index] = { page: this.#create(), free }
    this.#open.add(index)
    return index
  }
}
