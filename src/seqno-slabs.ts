/**
 * Registers for seqnos in shared memory: u64 values, each with a flag that says whether it was ever written.
 * Shared from the start, so that another thread can write one without the map being laid out anew.
 */
export class SeqnoSlab {
  readonly buffer: SharedArrayBuffer
  readonly #values: BigUint64Array
  readonly #written: Uint8Array

  /** A new slab of so many registers, or a view of one in another thread's buffer. */
  constructor(registers: number, buffer = new SharedArrayBuffer(registers * 9)) {
    this.buffer = buffer
    this.#values = new BigUint64Array(buffer, 0, registers)
    this.#written = new Uint8Array(buffer, registers * 8, registers)
  }

  load(register: number): bigint {
    return Atomics.load(this.#values, register)
  }

  store(register: number, seqno: bigint): void {
    // Read first, because what comes after an atomic store waits for it.
    const isFirst = this.#written[register] === 0
    Atomics.store(this.#values, register, seqno)
    // The value first, then the flag: whoever sees the flag sees a value.
    if (isFirst) Atomics.store(this.#written, register, 1)
  }

  isWritten(register: number): boolean {
    return Atomics.load(this.#written, register) === 1
  }

  clear(register: number): void {
    Atomics.store(this.#written, register, 0)
    Atomics.store(this.#values, register, 0n)
  }
}

const REGISTER_BITS = 9
const REGISTERS = 1 << REGISTER_BITS
const REGISTER_MASK = REGISTERS - 1

/**
 * Hands out registers from as many slabs as it takes. Slabs are of a fixed size because a growable SharedArrayBuffer is
 * slower to store to; a freed register is handed out again, so memory follows the number of followers at one time.
 */
export class SeqnoSlabs {
  readonly #slabs: SeqnoSlab[] = []
  readonly #free: number[] = []
  #next = 0

  allocate(): number {
    const register = this.#free.pop() ?? this.#next++
    if (register >> REGISTER_BITS === this.#slabs.length) this.#slabs.push(new SeqnoSlab(REGISTERS))
    return register
  }

  free(register: number): void {
    this.slab(register).clear(register & REGISTER_MASK)
    this.#free.push(register)
  }

  load(register: number): bigint {
    return this.slab(register).load(register & REGISTER_MASK)
  }

  store(register: number, seqno: bigint): void {
    this.slab(register).store(register & REGISTER_MASK, seqno)
  }

  isWritten(register: number): boolean {
    return this.slab(register).isWritten(register & REGISTER_MASK)
  }

  slab(register: number): SeqnoSlab {
    return this.#slabs[register >> REGISTER_BITS] as SeqnoSlab
  }

  /** Where a register is in its own slab. */
  indexInSlab(register: number): number {
    return register & REGISTER_MASK
  }
}
