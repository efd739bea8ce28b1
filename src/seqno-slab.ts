import { GENERATION, REGISTER_BYTES, requireSharedMemory } from './shared-layout.js'

// The state of a register is its generation and three flags:
/** a seqno was stored; */
const WRITTEN = 1
/** it is not to be reported; */
const WITHHELD = 2
/** it has its seqnos from a source. */
const FROM_SOURCE = 4
const MARKS = WITHHELD | FROM_SOURCE
const FLAGS = WRITTEN | MARKS

/**
 * Registers for seqnos in shared memory, that any number of threads store to and load from.
 *
 * Each has a u64 value and a state. Killing a register moves its generation on, at once for all threads. Whoever holds a
 * register knows the generation it was handed out with; past that generation it loads nothing and its stores are dropped,
 * whoever has the register then.
 */
export class SeqnoSlab {
  readonly buffer: SharedArrayBuffer | ArrayBuffer
  /** Whether other threads may hold its registers. */
  isShared: boolean
  /** What the threads that share its registers call it, the same in all of them; `undefined` while none do. */
  id: string | undefined
  readonly #values: BigUint64Array
  readonly #states: Int32Array

  /** A new slab of so many registers, or a view of one in another thread's memory. */
  constructor(memory: number | SharedArrayBuffer) {
    this.isShared = typeof memory !== 'number'
    this.buffer = typeof memory === 'number' ? allocate(memory * REGISTER_BYTES) : memory
    const registers = this.buffer.byteLength / REGISTER_BYTES
    this.#values = new BigUint64Array(this.buffer, 0, registers)
    this.#states = new Int32Array(this.buffer, registers * 8, registers)
  }

  /** How many registers it has. */
  get size(): number {
    return this.#states.length
  }

  /**
   * The memory, to be given to another thread.
   *
   * @throws TypeError in a process that has no shared memory.
   */
  share(): SharedArrayBuffer {
    requireSharedMemory()
    this.isShared = true
    return this.buffer as SharedArrayBuffer
  }

  /** Makes a register that nobody holds ready for a new holder. Returns the generation to hold it with. */
  claim(index: number): number {
    Atomics.store(this.#values, index, 0n)
    return Atomics.load(this.#states, index)
  }

  /** The seqno stored last; `undefined` if none was or the generation is over. */
  load(index: number, generation: number): bigint | undefined {
    const written = generation | WRITTEN
    if ((this.#state(index) & ~MARKS) !== written) return undefined
    const seqno = Atomics.load(this.#values, index)
    return (this.#state(index) & ~MARKS) === written ? seqno : undefined
  }

  /** Returns whether the register holds the seqno: not if the generation is over. */
  store(index: number, generation: number, seqno: bigint): boolean {
    // Most stores are these: not the first, and nobody else may kill the register meanwhile.
    if (this.#state(index) !== (generation | WRITTEN) || this.isShared) {
      return this.#storeAndLook(index, generation, seqno)
    }
    Atomics.store(this.#values, index, seqno)
    return true
  }

  /** Stores a seqno unless a higher one is there, whichever thread stores that. */
  raise(index: number, generation: number, seqno: bigint): void {
    if (!this.isAlive(index, generation)) return
    for (let held; (held = Atomics.load(this.#values, index)) < seqno;) {
      Atomics.compareExchange(this.#values, index, held, seqno)
    }
    this.#setFlag(index, generation, WRITTEN, true)
  }

  /** Whether the generation is not over. */
  isAlive(index: number, generation: number): boolean {
    return (this.#state(index) & ~FLAGS) === generation
  }

  /** Whether the register is alive and not to be reported. */
  isWithheld(index: number, generation: number): boolean {
    return (this.#state(index) & ~(WRITTEN | FROM_SOURCE)) === (generation | WITHHELD)
  }

  setWithheld(index: number, generation: number, isWithheld: boolean): void {
    this.#setFlag(index, generation, WITHHELD, isWithheld)
  }

  /** Whether the register is alive and has its seqnos from a source. */
  isFromSource(index: number, generation: number): boolean {
    return (this.#state(index) & ~(WRITTEN | WITHHELD)) === (generation | FROM_SOURCE)
  }

  setFromSource(index: number, generation: number): void {
    this.#setFlag(index, generation, FROM_SOURCE, true)
  }

  /** Ends a generation, unless it is over. Returns the seqno stored last, if one was and no other thread ended it. */
  kill(index: number, generation: number): bigint | undefined {
    const next = (generation + GENERATION) | 0
    for (let state; ((state = Atomics.load(this.#states, index)) & ~FLAGS) === generation;) {
      if (Atomics.compareExchange(this.#states, index, state, next) === state) {
        return state & WRITTEN ? Atomics.load(this.#values, index) : undefined
      }
    }
    return undefined
  }

  #storeAndLook(index: number, generation: number, seqno: bigint): boolean {
    if (!this.isAlive(index, generation)) return false
    Atomics.store(this.#values, index, seqno)
    // Once more: what was stored when the generation was just over reached nobody, and the caller must know. The flag comes
    // after the value: whoever sees it sees a value.
    const written = generation | WRITTEN
    if ((this.#state(index) & ~MARKS) === written) return true
    return this.#setFlag(index, generation, WRITTEN, true)
  }

  /** Returns false if the generation is over. */
  #setFlag(index: number, generation: number, flag: number, isSet: boolean): boolean {
    for (let state; ((state = Atomics.load(this.#states, index)) & ~FLAGS) === generation;) {
      const next = isSet ? state | flag : state & ~flag
      if (Atomics.compareExchange(this.#states, index, state, next) === state) return true
    }
    return false
  }

  /** Read plainly: Atomics.load is a call out of optimised code, and every store would make two. */
  #state(index: number): number {
    return this.#states[index] as number
  }
}

/** Where a process has no shared memory, registers work all the same in its one thread. */
function allocate(bytes: number): SharedArrayBuffer | ArrayBuffer {
  const Memory = typeof SharedArrayBuffer === 'undefined' ? ArrayBuffer : SharedArrayBuffer
  return new Memory(bytes)
}
