import type { AtomicSeqno } from './atomic-seqno.js'
import type { FollowerId } from './follower.js'
import { SeqnoRegister, type Place } from './seqno-register.js'

/** A leader or follower that a map knows; at the same time the register of its seqno. */
export abstract class Member extends SeqnoRegister {
  /** Which follower; of a leader, its shard alone. */
  abstract readonly id: FollowerId
  /** The handle that was given out for it, if one was. It stays right when the member moves to another register. */
  handle: AtomicSeqno | undefined = undefined
}

/** The members of one kind by name, as a gauge or a state keeps them. */
export interface MemberMap<M extends Member> extends Iterable<M> {
  find(id: FollowerId): M | undefined
  /** Adds one that is not there. */
  add(id: FollowerId, place: Place): M
  /** Removes one that is there. */
  delete(member: M): void
  /** Told of a member that another thread has added. */
  onHeard?(member: M): void
  /** Which one must be there as well when another is added, and is not. */
  missingBeside?(id: FollowerId): FollowerId | undefined
}
