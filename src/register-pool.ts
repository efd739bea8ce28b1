import type { Place } from './seqno-register.js'
import { SeqnoSlab } from './seqno-slab.js'

/** Registers a slab has. Slabs are of a fixed size because a growable SharedArrayBuffer is slower to store to. */
const SLAB_REGISTERS = 512

/**
 * How long a register that other threads may hold is kept back after it was freed, in milliseconds. A store that another
 * thread had begun by then must have ended before someone else has the register.
 */
const QUARANTINE_MILLIS = 1000

/**
 * Hands out registers from as many slabs as it takes, and hands a freed one out again: memory follows the number of
 * registers that are held at one time. A register goes by a number: of its slab times its slab's size, plus its index.
 */
export class RegisterPool {
  readonly #slabs: SeqnoSlab[] = []
  readonly #slabNumbers = new Map<SeqnoSlab, number>()
  #next = 0
  /** First in, first out, from `#firstFree` on. */
  #free: number[] = []
  /** From when on each of them may be handed out, on the clock of `performance.now`. */
  #reusableAt: number[] = []
  #firstFree = 0

  allocate(): Place {
    const register = this.#takeFree() ?? this.#next++
    const number = Math.floor(register / SLAB_REGISTERS)
    const slab = this.#slabs[number] ?? this.#addSlab(number)
    const index = register % SLAB_REGISTERS
    return { slab, index, generation: slab.claim(index) }
  }

  /**
   * Ends a register and takes it back, if it is of this pool.
   *
   * @returns the seqno stored last, as {@link SeqnoSlab.kill} does.
   */
  free({ slab, index, generation }: Place): bigint | undefined {
    const seqno = slab.kill(index, generation)
    const number = this.#slabNumbers.get(slab)
    if (number === undefined) return seqno
    this.#free.push(number * SLAB_REGISTERS + index)
    this.#reusableAt.push(slab.isShared ? performance.now() + QUARANTINE_MILLIS : 0)
    return seqno
  }

  /** Whether the registers of a slab are handed out here. */
  owns(slab: SeqnoSlab): boolean {
    return this.#slabNumbers.has(slab)
  }

  #takeFree(): number | undefined {
    const register = this.#free[this.#firstFree]
    const reusableAt = this.#reusableAt[this.#firstFree] ?? 0
    // The clock takes longer to read than all the rest, so it is left alone where nothing is shared.
    if (register === undefined || (reusableAt > 0 && reusableAt > performance.now()))
      return undefined
    this.#firstFree++
    // What was taken is cut off now and then, so that it costs the same however long the queue is.
    if (this.#firstFree * 2 > this.#free.length) {
      this.#free = this.#free.slice(this.#firstFree)
      this.#reusableAt = this.#reusableAt.slice(this.#firstFree)
      this.#firstFree = 0
    }
    return register
  }

  #addSlab(number: number): SeqnoSlab {
    const slab = new SeqnoSlab(SLAB_REGISTERS)
    this.#slabs.push(slab)
    this.#slabNumbers.set(slab, number)
    return slab
  }
}
