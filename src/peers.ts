import { randomUUID } from 'node:crypto'
import type { FollowerId } from './follower.js'
import type { Member, MemberMap } from './member.js'
import { MemberPacker, type MemberPlace, type PackedMembers } from './packed-members.js'
import { PeerChannel } from './peer-channel.js'
import type { RegisterPool } from './register-pool.js'
import { SeqnoRegister, type Place } from './seqno-register.js'

/** What another thread needs to take part. */
export interface SharedMembers {
  readonly channel: string
  readonly members: PackedMembers
}

/** What threads tell each other. */
type Message =
  | { readonly kind: 'added' | 'removed'; readonly members: PackedMembers }
  /** Somebody is new, and knows these: the generation of each register, by the id of its slab. */
  | { readonly kind: 'hello'; readonly known: ReadonlyMap<string, Int32Array> }

const NONE: readonly SeqnoRegister[] = []

/** In place of a generation, which would be a multiple of 4. */
const UNKNOWN = -1

/**
 * Keeps the members of a map the same in several threads. Their seqnos are in shared memory; which members there are, and
 * which registers they have, the threads tell each other.
 *
 * A member is what was added and has a register that is alive. Whether one is, shared memory tells; so messages may come
 * late, twice, and from several threads in any order. Where threads add the same member at the same time, each with a
 * register of its own, the one in the slab with the lowest id wins, and every thread finds that out by itself.
 *
 * What a message tells is done after it was sent. So whoever finds a register dead has been told why, and need only drain
 * the channel.
 */
export class Peers<M extends Member> {
  readonly #map: MemberMap<M>
  readonly #pool: RegisterPool
  readonly #packer = new MemberPacker()
  /** Registers that other threads gave the same member at the same time, should they have. */
  readonly #rivals = new WeakMap<M, readonly SeqnoRegister[]>()
  readonly #channel: PeerChannel

  /**
   * @param pool where this thread has its registers from.
   * @param channel the name by which the threads find each other. Default: a new one.
   */
  constructor(map: MemberMap<M>, pool: RegisterPool, channel = `replication-lag-${randomUUID()}`) {
    this.#map = map
    this.#pool = pool
    this.#channel = new PeerChannel(channel, (message) => this.#receive(message as Message))
  }

  /** @throws TypeError in a process that has no shared memory. */
  share(): SharedMembers {
    return { channel: this.#channel.name, members: this.#packer.pack(this.#places()) }
  }

  /** Takes part from now on, with the members there were when another thread shared them. */
  join(members: PackedMembers): void {
    for (const { id, place } of this.#packer.unpack(members)) this.#add(id, place)
    // What was added since, the others tell; what was removed is dead.
    this.#send({ kind: 'hello', known: this.#known() })
  }

  /** Hears what the others have done. Returns whether they have done anything. */
  catchUp(): boolean {
    return this.#channel.drain()
  }

  /** Tells the others of a member that was added in this thread. */
  announce(member: M): void {
    this.#tell('added', [{ id: member.id, place: member }])
  }

  /** Ends a member's registers, for all threads. The caller deletes it from the map. */
  end(member: M): void {
    const places = this.#placesOf(member)
    this.#tell('removed', places)
    for (const { place } of places) this.#pool.free(place)
  }

  /** Takes it in that a member's register is dead: it has another that is alive, or is no more. */
  bury(member: M): void {
    this.#pool.free(member)
    const alive = this.#rivalsOf(member).filter(({ isAlive }) => isAlive)
    const [heir, ...rivals] = alive.sort((a, b) => (this.#isBefore(a, b) ? -1 : 1))
    if (!heir) {
      this.#map.delete(member)
      return
    }
    member.moveTo(heir)
    this.#rivals.set(member, rivals)
  }

  #receive(message: Message): void {
    if (message.kind === 'hello') {
      this.#answer(message.known)
      return
    }
    for (const { id, place } of this.#packer.unpack(message.members)) {
      if (message.kind === 'added') this.#hear(id, place)
      else this.#remove(id, place)
    }
  }

  /** Adds what another thread tells of. */
  #hear(id: FollowerId, place: Place): void {
    const wasKnown = this.#map.find(id)?.isAlive
    this.#add(id, place)
    const member = this.#map.find(id)
    if (member && !wasKnown) this.#map.onHeard?.(member)
  }

  #add(id: FollowerId, place: Place): void {
    const register = new SeqnoRegister(place)
    if (!register.isAlive) return
    const member = this.#map.find(id)
    if (!member) this.#map.add(id, place)
    else if (this.#placesOf(member).some((known) => register.isAt(known.place))) return
    else if (member.isAlive && this.#isBefore(place, member)) this.#move(member, place)
    else {
      this.#rivals.set(member, [...this.#rivalsOf(member), register])
      if (member.isAlive) raise(member, register.load())
      else this.bury(member)
    }
  }

  /** Moves a member to a register that beats its own. Updates and handles go there from now on. */
  #move(member: M, place: Place): void {
    const loser = new SeqnoRegister(member)
    member.moveTo(place)
    if (this.#pool.owns(loser.slab)) {
      // Only its own thread ends it. The others must know the winner before they find the loser dead.
      this.announce(member)
      this.#tell('removed', [{ id: member.id, place: loser }])
      raise(member, this.#pool.free(loser))
    } else {
      this.#rivals.set(member, [...this.#rivalsOf(member), loser])
      raise(member, loser.load())
    }
  }

  #remove(id: FollowerId, place: Place): void {
    const member = this.#map.find(id)
    const rivals = member && this.#rivals.get(member)
    if (rivals) {
      const others = rivals.filter((rival) => !rival.isAt(place))
      this.#rivals.set(member, others)
    }
    if (member?.isAt(place)) this.bury(member)
  }

  /** Tells a new thread what it does not know, whichever thread that comes from: that one may have ended. */
  #answer(known: ReadonlyMap<string, Int32Array>): void {
    const members = this.#packer.pack(this.#unknown(known))
    if (members.shards.length > 0) this.#send({ kind: 'added', members })
  }

  *#unknown(known: ReadonlyMap<string, Int32Array>): Generator<MemberPlace> {
    for (const member of this.#places()) {
      const { slab, index, generation } = member.place
      if (known.get(this.#packer.idOf(slab))?.[index] !== generation) yield member
    }
  }

  #known(): Map<string, Int32Array> {
    const known = new Map<string, Int32Array>()
    for (const { place } of this.#places()) {
      const id = this.#packer.idOf(place.slab)
      const generations = known.get(id) ?? new Int32Array(place.slab.size).fill(UNKNOWN)
      generations[place.index] = place.generation
      known.set(id, generations)
    }
    return known
  }

  *#places(): Generator<MemberPlace> {
    for (const member of this.#map) {
      yield { id: member.id, place: member }
      for (const place of this.#rivalsOf(member)) yield { id: member.id, place }
    }
  }

  /** A member's register, and those of its rivals. */
  #placesOf(member: M): MemberPlace[] {
    return [member, ...this.#rivalsOf(member)].map((place) => ({ id: member.id, place }))
  }

  #rivalsOf(member: M): readonly SeqnoRegister[] {
    return this.#rivals.get(member) ?? NONE
  }

  #isBefore(a: Place, b: Place): boolean {
    return this.#packer.idOf(a.slab) < this.#packer.idOf(b.slab)
  }

  #tell(kind: 'added' | 'removed', members: Iterable<MemberPlace>): void {
    this.#send({ kind, members: this.#packer.pack(members) })
  }

  #send(message: Message): void {
    this.#channel.send(message)
  }
}

function raise(member: Member, seqno: bigint | undefined): void {
  if (seqno !== undefined) member.raise(seqno)
}
