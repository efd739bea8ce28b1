import { randomUUID } from 'node:crypto'
import { followerId, type FollowerId } from './follower.js'
import type { Place } from './seqno-register.js'
import { SeqnoSlab } from './seqno-slab.js'
import { isPlace, isSlabMemory } from './shared-layout.js'

/** Members and where their registers are, as one thread tells another. The arrays have one element a member each. */
export interface PackedMembers {
  readonly slabs: readonly { readonly id: string; readonly memory: SharedArrayBuffer }[]
  readonly shards: readonly string[]
  readonly replicas: readonly (string | undefined)[]
  /** Which of `slabs`. */
  readonly slabNumbers: readonly number[]
  readonly indexes: readonly number[]
  readonly generations: readonly number[]
}

/** Whether it is what {@link MemberPacker.pack} gave. May throw on what is not even an object with arrays. */
export function isPackedMembers(packed: PackedMembers): boolean {
  const { slabs, shards, replicas, slabNumbers, indexes, generations } = packed
  return (
    slabs.every(({ id, memory }) => typeof id === 'string' && isSlabMemory(memory)) &&
    shards.every((shard, member) => {
      const replica = replicas[member]
      const memory = slabs[slabNumbers[member] as number]?.memory
      return (
        typeof shard === 'string' &&
        (replica === undefined || typeof replica === 'string') &&
        memory !== undefined &&
        isPlace(memory, indexes[member], generations[member])
      )
    })
  )
}

/** A member, and a register that it has or had in some thread. */
export interface MemberPlace {
  readonly id: FollowerId
  readonly place: Place
}

/** Packs and unpacks for one thread: each slab is one object here, by whatever message it came. */
export class MemberPacker {
  /** Weak: the slab of another thread goes when no member is known in it any more. */
  readonly #slabs = new Map<string, WeakRef<SeqnoSlab>>()
  #sizeToTidy = 64

  /** @throws TypeError in a process that has no shared memory. */
  pack(members: Iterable<MemberPlace>): PackedMembers {
    const slabs = new Map<SeqnoSlab, number>()
    const packed = {
      shards: [] as string[],
      replicas: [] as (string | undefined)[],
      slabNumbers: [] as number[],
      indexes: [] as number[],
      generations: [] as number[],
    }
    for (const { id, place } of members) {
      const number = slabs.get(place.slab) ?? slabs.size
      if (number === slabs.size) slabs.set(place.slab, number)
      packed.shards.push(id.shard)
      packed.replicas.push(id.replica)
      packed.slabNumbers.push(number)
      packed.indexes.push(place.index)
      packed.generations.push(place.generation)
    }
    const memories = [...slabs.keys()].map((slab) => ({
      id: this.idOf(slab),
      memory: slab.share(),
    }))
    return { slabs: memories, ...packed }
  }

  *unpack(packed: PackedMembers): Generator<MemberPlace> {
    const slabs = packed.slabs.map(({ id, memory }) => this.#slabOf(id, memory))
    for (const [member, shard] of packed.shards.entries()) {
      yield {
        id: followerId(shard, packed.replicas[member]),
        place: {
          slab: slabs[packed.slabNumbers[member] as number] as SeqnoSlab,
          index: packed.indexes[member] as number,
          generation: packed.generations[member] as number,
        },
      }
    }
  }

  /** What every thread calls a slab. */
  idOf(slab: SeqnoSlab): string {
    if (slab.id === undefined) this.#name(slab, randomUUID())
    return slab.id as string
  }

  #slabOf(id: string, memory: SharedArrayBuffer): SeqnoSlab {
    const known = this.#slabs.get(id)?.deref()
    if (known) return known
    const slab = new SeqnoSlab(memory)
    this.#name(slab, id)
    return slab
  }

  #name(slab: SeqnoSlab, id: string): void {
    slab.id = id
    this.#slabs.set(id, new WeakRef(slab))
    if (this.#slabs.size < this.#sizeToTidy) return
    for (const [known, reference] of this.#slabs) {
      if (!reference.deref()) this.#slabs.delete(known)
    }
    this.#sizeToTidy = this.#slabs.size * 2
  }
}
