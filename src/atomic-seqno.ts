import { tell } from './diagnostics.js'
import { optionError } from './option-errors.js'
import { EXPECTED_SEQNO, parseSeqno, type Seqno } from './seqno.js'
import { SeqnoSlab } from './seqno-slabs.js'
import { show } from './show.js'

/** Called with a value that is no seqno. */
type OnRejected = (value: unknown) => void

/**
 * One register for a seqno, an unsigned 64-bit integer in shared memory: `store` and `load` are atomic.
 * Take one from {@link ReplicationLagGauge.leader} or {@link ReplicationLagGauge.applied} and keep it: on a hot path it
 * saves the look-up by name.
 */
export class AtomicSeqno {
  #slab: SeqnoSlab
  #register: number
  #onRejected: OnRejected | undefined
  #rejected = 0

  /**
   * A register of its own, that belongs to no gauge.
   *
   * @throws TypeError if `initial` is no seqno.
   */
  constructor(initial?: Seqno)
  /** @internal A handle of a register in a map's slab. */
  constructor(initial: undefined, slab: SeqnoSlab, register: number, onRejected: OnRejected)
  constructor(initial: Seqno = 0n, slab = new SeqnoSlab(1), register = 0, onRejected?: OnRejected) {
    const seqno = parseSeqno(initial)
    if (seqno === undefined) throw optionError('initial', EXPECTED_SEQNO, initial)
    this.#slab = slab
    this.#register = register
    this.#onRejected = onRejected
    if (seqno !== 0n) slab.store(register, seqno)
  }

  /** The newest seqno stored; 0 if none was. */
  load(): bigint {
    return this.#slab.load(this.#register)
  }

  /**
   * Stores a seqno. Never throws: what is no seqno leaves the old one in place, is told once through `diag` and counted
   * in {@link rejectedUpdates}.
   */
  store(seqno: Seqno): void {
    const value = parseSeqno(seqno)
    if (value === undefined) this.#reject(seqno)
    else this.#slab.store(this.#register, value)
  }

  /** How many stores through this handle were refused because the value was no seqno. */
  get rejectedUpdates(): number {
    return this.#rejected
  }

  #reject(value: unknown): void {
    this.#rejected++
    if (this.#onRejected) this.#onRejected(value)
    else if (this.#rejected === 1) {
      tell(
        'warn',
        `seqno: expected ${EXPECTED_SEQNO}, got ${show(value)}; ` +
          'the update is left out (told once, counted in rejectedUpdates)',
      )
    }
  }

  /**
   * @internal Takes the handle off a register that will be handed out again: from here on it is a register of its own,
   * so whoever still holds it can store without writing into another follower.
   */
  static detach(handle: AtomicSeqno): void {
    const slab = new SeqnoSlab(1)
    slab.store(0, handle.load())
    handle.#slab = slab
    handle.#register = 0
  }
}
