import { parseSeqno, type Seqno } from './seqno.js'

const CELLS_PER_BLOCK = 64

/** The size of a block's memory: a seqno of 8 bytes for each cell, then a byte for each that says whether one was stored. */
export const BLOCK_BYTES = CELLS_PER_BLOCK * 9

/** Memory for 64 cells, which other threads can map too. */
export class Block {
  readonly values: BigUint64Array
  readonly stored: Uint8Array

  /** @param memory has {@link BLOCK_BYTES} bytes. */
  constructor(readonly memory: ArrayBufferLike = allocate()) {
    this.values = new BigUint64Array(memory, 0, CELLS_PER_BLOCK)
    this.stored = new Uint8Array(memory, CELLS_PER_BLOCK * 8, CELLS_PER_BLOCK)
  }
}

/** Some environments, such as jsdom, hide SharedArrayBuffer. Everything except `publish` works without it. */
function allocate(): ArrayBufferLike {
  const Memory = typeof SharedArrayBuffer === 'undefined' ? ArrayBuffer : SharedArrayBuffer
  return new Memory(BLOCK_BYTES)
}

let newestBlock = new Block()
let nextIndex = 0

/** Whether an index received from another thread is valid. */
export function isCellIndex(index: unknown): index is number {
  return Number.isInteger(index) && (index as number) >= 0 && (index as number) < CELLS_PER_BLOCK
}

/** One seqno in shared memory. Cells are never moved or reused, so a thread that still holds one reads the right seqno. */
export class SeqnoCell {
  readonly block: Block
  readonly index: number
  /** Whether its entry was removed. */
  isRemoved = false
  /** The application's handle, if it requested one. */
  handle: AtomicSeqno | undefined = undefined

  /** Allocates a new cell, or wraps one from another thread. */
  constructor(block?: Block, index = 0) {
    if (block) {
      this.block = block
      this.index = index
      return
    }
    if (nextIndex === CELLS_PER_BLOCK) {
      newestBlock = new Block()
      nextIndex = 0
    }
    this.block = newestBlock
    this.index = nextIndex++
  }

  /** The newest seqno stored, or `undefined` if none was. */
  load(): bigint | undefined {
    const { values, stored } = this.block
    const seqno = Atomics.load(values, this.index)
    // Every seqno can be stored, 0 and 2^64 − 1 too, so a byte next to it records whether anything was stored. Only 0 needs
    // the check.
    if (seqno !== 0n) return seqno
    return Atomics.load(stored, this.index) === 0 ? undefined : Atomics.load(values, this.index)
  }

  /** Returns false if the entry was removed. */
  store(seqno: bigint): boolean {
    if (this.isRemoved) return false
    const { values, stored } = this.block
    Atomics.store(values, this.index, seqno)
    // After the value: a thread that sees the mark must see a value.
    if (stored[this.index] === 0) Atomics.store(stored, this.index, 1)
    return true
  }
}

/**
 * A handle of one position. Take it once from {@link ReplicationLagGauge.leader} or {@link ReplicationLagGauge.applied} and
 * keep it: on a hot path it saves the look-up by name.
 */
export class AtomicSeqno {
  /** @internal */
  constructor(
    /** @internal */
    readonly cell = new SeqnoCell(),
    private readonly onInvalid?: (value: unknown) => void,
  ) {}

  /** Returns the newest seqno stored, `0n` if none was. */
  load(): bigint {
    return this.cell.load() ?? 0n
  }

  /**
   * Stores a seqno, 0 … 2^64 − 1. It may be lower than before. Never throws: an invalid value leaves the old one in place,
   * and is counted in `rejectedUpdates` of the gauge.
   * @returns false if the value is not a seqno, or the entry was removed. Then take a new handle.
   */
  store(seqno: Seqno): boolean {
    const value = parseSeqno(seqno)
    if (value !== undefined) return this.cell.store(value)
    this.onInvalid?.(seqno)
    return false
  }
}
