import { tell } from './diagnostics.js'
import { optionError } from './option-errors.js'
import { EXPECTED_SEQNO, parseSeqno, type Seqno } from './seqno.js'
import { SeqnoRegister, type Place } from './seqno-register.js'
import { SeqnoSlab } from './seqno-slab.js'
import { isPlace, isSlabMemory, LAYOUT, openShared, type Shared } from './shared-layout.js'
import { show } from './show.js'

/** Called with a value that is no seqno. */
type OnRejected = (value: unknown) => void

/** Hears what other threads have done with a register, which may be another now. Returns whether there was anything. */
type CatchUp = () => boolean

/** What {@link AtomicSeqno.share} gives and {@link AtomicSeqno.attach} takes. */
export interface SharedSeqno extends Shared {
  readonly kind: 'AtomicSeqno'
  /** @internal */
  readonly memory: SharedArrayBuffer
  /** @internal */
  readonly index: number
  /** @internal */
  readonly generation: number
}

/**
 * One register for a seqno, an unsigned 64-bit integer in shared memory: `store` and `load` are atomic.
 * Take one from {@link ReplicationLagGauge.leader} or {@link ReplicationLagGauge.applied} and keep it: on a hot path it
 * saves the look-up by name.
 */
export class AtomicSeqno {
  readonly #register: SeqnoRegister
  readonly #onRejected: OnRejected | undefined
  readonly #catchUp: CatchUp | undefined
  #rejected = 0

  /**
   * A register of its own, that belongs to no gauge.
   *
   * @throws TypeError if `initial` is no seqno.
   */
  constructor(initial?: Seqno)
  /** @internal A handle of somebody's register. */
  constructor(
    initial: undefined,
    register: SeqnoRegister,
    onRejected?: OnRejected,
    catchUp?: CatchUp,
  )
  constructor(
    initial: Seqno = 0n,
    register = new SeqnoRegister({ slab: new SeqnoSlab(1), index: 0, generation: 0 }),
    onRejected?: OnRejected,
    catchUp?: CatchUp,
  ) {
    const seqno = parseSeqno(initial)
    if (seqno === undefined) throw optionError('initial', EXPECTED_SEQNO, initial)
    this.#register = register
    this.#onRejected = onRejected
    this.#catchUp = catchUp
    if (seqno !== 0n) register.store(seqno)
  }

  /**
   * The same register in this thread, after another one has shared it.
   *
   * @throws TypeError if `shared` is not what {@link share} gave, was shared by another major version of this package, or
   * the process has no shared memory.
   */
  static attach(shared: SharedSeqno): AtomicSeqno {
    const place = openShared<SharedSeqno, Place>(shared, 'AtomicSeqno', (fields) => {
      const { memory, index, generation } = fields as SharedSeqno
      if (!isSlabMemory(memory) || !isPlace(memory, index, generation)) return undefined
      return { slab: new SeqnoSlab(memory), index, generation }
    })
    return new AtomicSeqno(undefined, new SeqnoRegister(place))
  }

  /**
   * The register for another thread, which calls {@link attach} with it: plain data that `postMessage` and `workerData`
   * carry. Seqnos that either of them stores, the other loads at once.
   *
   * A register of a gauge that is removed is gone in the other thread too. Should two threads of a shared gauge add the
   * same follower at the same time, only one of their registers stays; share the gauge then, not its handles.
   *
   * @throws TypeError in a process that has no shared memory.
   */
  share(): SharedSeqno {
    const { slab, index, generation } = this.#register
    return { kind: 'AtomicSeqno', layout: LAYOUT, memory: slab.share(), index, generation }
  }

  /** The newest seqno stored; 0 if none was, or if what it was a handle of has been removed. */
  load(): bigint {
    let seqno = this.#register.load()
    if (seqno === undefined && this.#catchUp?.()) seqno = this.#register.load()
    return seqno ?? 0n
  }

  /**
   * Stores a seqno. Never throws: what is no seqno leaves the old one in place, is told once through `diag` and counted
   * in {@link rejectedUpdates}. A handle of what has been removed stores nothing.
   */
  store(seqno: Seqno): void {
    const value = parseSeqno(seqno)
    if (value === undefined) this.#reject(seqno)
    else if (!this.#register.store(value) && this.#catchUp?.()) this.#register.store(value)
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
}
