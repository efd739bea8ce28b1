import type { SeqnoSlab } from './seqno-slab.js'

/** Which register: where it is, and the generation it is held with. */
export interface Place {
  readonly slab: SeqnoSlab
  readonly index: number
  readonly generation: number
}

/** A register as one holder has it: alive until its generation is over. */
export class SeqnoRegister implements Place {
  slab: SeqnoSlab
  index: number
  generation: number

  constructor({ slab, index, generation }: Place) {
    this.slab = slab
    this.index = index
    this.generation = generation
  }

  /** The seqno stored last; `undefined` if none was or the register is not alive. */
  load(): bigint | undefined {
    return this.slab.load(this.index, this.generation)
  }

  /** Returns whether the register holds the seqno: not if it is not alive. */
  store(seqno: bigint): boolean {
    return this.slab.store(this.index, this.generation, seqno)
  }

  /** Stores a seqno unless a higher one is there. */
  raise(seqno: bigint): void {
    this.slab.raise(this.index, this.generation, seqno)
  }

  get isAlive(): boolean {
    return this.slab.isAlive(this.index, this.generation)
  }

  /** Whether it is alive and not to be reported. */
  get isWithheld(): boolean {
    return this.slab.isWithheld(this.index, this.generation)
  }

  set isWithheld(isWithheld: boolean) {
    this.slab.setWithheld(this.index, this.generation, isWithheld)
  }

  /** Whether it is alive and has its seqnos from a source. */
  get isFromSource(): boolean {
    return this.slab.isFromSource(this.index, this.generation)
  }

  markFromSource(): void {
    this.slab.setFromSource(this.index, this.generation)
  }

  isAt({ slab, index, generation }: Place): boolean {
    return this.slab === slab && this.index === index && this.generation === generation
  }

  /** Holds another register from now on. */
  moveTo({ slab, index, generation }: Place): void {
    this.slab = slab
    this.index = index
    this.generation = generation
  }
}
