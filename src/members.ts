import { AtomicSeqno } from './atomic-seqno.js'
import type { FollowerId } from './follower.js'
import type { Member, MemberMap } from './member.js'
import { Peers, type SharedMembers } from './peers.js'
import { RegisterPool } from './register-pool.js'
import { requireSharedMemory } from './shared-layout.js'

/**
 * The registers of the members of one map: what the leaders of a gauge and the followers of a state have in common.
 * Once shared, they are kept the same in several threads; as long as they are not, that costs nothing.
 */
export class Members<M extends Member> {
  readonly #map: MemberMap<M>
  readonly #onRejected: (value: unknown, id: FollowerId) => void
  readonly #pool = new RegisterPool()
  #peers: Peers<M> | undefined

  /** @param onRejected told of a value that is no seqno, stored through a handle. */
  constructor(map: MemberMap<M>, onRejected: (value: unknown, id: FollowerId) => void) {
    this.#map = map
    this.#onRejected = onRejected
  }

  /** Hears what other threads have done. Returns whether they have done anything. */
  readonly catchUp = (): boolean => this.#peers?.catchUp() ?? false

  /** Stores a member's seqno, by whatever thread it was or will be added. */
  update(id: FollowerId, seqno: bigint): void {
    const member = this.#findOrAdd(id)
    // It may have moved or gone just now; if it has gone, then as if right after this.
    if (!member.store(seqno) && this.catchUp()) member.store(seqno)
  }

  /** The handle of a member, which is added if it is not there. */
  handle(id: FollowerId): AtomicSeqno {
    const member = this.#findOrAdd(id)
    return (member.handle ??= new AtomicSeqno(
      undefined,
      member,
      (value) => this.#onRejected(value, member.id),
      this.catchUp,
    ))
  }

  /** Adds a member that is not there. */
  add(id: FollowerId): M {
    const beside = this.#map.missingBeside?.(id)
    if (beside) this.add(beside)
    const member = this.#map.add(id, this.#pool.allocate())
    this.#peers?.announce(member)
    return member
  }

  /** Removes a member that is there. */
  remove(member: M): void {
    if (this.#peers) this.#peers.end(member)
    else this.#pool.free(member)
    this.#map.delete(member)
  }

  /**
   * Sees to a member whose register was found dead: another thread has moved or removed it.
   *
   * @returns whether it has a register that is alive now.
   */
  settle(member: M): boolean {
    this.catchUp()
    if (!member.isAlive && this.#map.find(member.id) === member) this.#peers?.bury(member)
    return member.isAlive
  }

  /** @throws TypeError in a process that has no shared memory. */
  share(): SharedMembers {
    requireSharedMemory()
    this.#peers ??= new Peers(this.#map, this.#pool)
    return this.#peers.share()
  }

  /** Takes part in what another thread has shared, once and before anything is added here. */
  join({ channel, members }: SharedMembers): void {
    this.#peers = new Peers(this.#map, this.#pool, channel)
    this.#peers.join(members)
  }

  #findOrAdd(id: FollowerId): M {
    this.catchUp()
    const member = this.#map.find(id)
    if (member && !member.isAlive) this.settle(member)
    return this.#map.find(id) ?? this.add(id)
  }
}
