import { AtomicSeqno } from './atomic-seqno.js'
import { followerId, parseName, type FollowerId, type ReplicaId, type ShardId } from './follower.js'
import { Rejections } from './rejections.js'
import { parseSeqno, type Seqno } from './seqno.js'
import { SeqnoSlabs } from './seqno-slabs.js'

/** A follower and the register of its applied seqno. */
export interface Follower {
  readonly id: FollowerId
  readonly register: number
  handle: AtomicSeqno | undefined
  /** Not reported, because its source has not been read for too long. */
  isWithheld: boolean
}

/** The followers of one shard. A gauge keeps hold of it between collections, for as long as it is `live`. */
export interface ShardFollowers {
  unnamed: Follower | undefined
  /** Set once a named replica was seen, and kept when the last one is removed: this shard names its followers. */
  replicas: Map<string, Follower> | undefined
  live: boolean
}

/**
 * What followers have applied: the applied seqno of every follower of every shard.
 * Share one between the code that applies entries and the {@link ReplicationLagGauge} that compares it with the leaders.
 */
export class ReplicationState {
  readonly #shards = new Map<string, ShardFollowers>()
  readonly #registers = new SeqnoSlabs()
  readonly #rejections = new Rejections()

  /** The newest seqno that a follower has applied, or `undefined` if it is unknown or has applied nothing yet. */
  appliedSeqno(shard: ShardId, replica?: ReplicaId): bigint | undefined {
    const follower = this.#find(shard, replica)
    return follower && this.appliedSeqnoOf(follower)
  }

  /**
   * Says what a follower has applied; one not seen before becomes known.
   * Never throws: an update that cannot be taken changes nothing, is told once through `diag`, and counted.
   *
   * @param seqno 0 … 2^64 − 1; lower than before is taken too (a follower may be rebuilt).
   * @param replica the follower's name; leave it out where the shard has only one follower.
   */
  setAppliedSeqno(shard: ShardId, seqno: Seqno, replica?: ReplicaId): void {
    const value = parseSeqno(seqno)
    const follower = this.#find(shard, replica)
    if (value !== undefined && follower) {
      this.#registers.store(follower.register, value)
      return
    }
    const id = this.#parseId(shard, replica)
    if (!id) return
    if (value === undefined) this.#rejections.seqno(seqno, 'applied', id)
    else this.#registers.store(this.#add(id).register, value)
  }

  /**
   * A handle of the follower's applied seqno, for hot paths. The follower becomes known, as one that has applied nothing.
   * Never throws: for a name that can be none it returns a register that belongs to nobody.
   * Once the follower is removed its handle writes nowhere that is read: take a new one.
   */
  applied(shard: ShardId, replica?: ReplicaId): AtomicSeqno {
    const id = this.#parseId(shard, replica)
    if (!id) return new AtomicSeqno()
    const follower = this.#find(id.shard, id.replica) ?? this.#add(id)
    return (follower.handle ??= new AtomicSeqno(
      undefined,
      this.#registers.slab(follower.register),
      this.#registers.indexInSlab(follower.register),
      (value) => this.#rejections.seqno(value, 'applied', id),
    ))
  }

  /**
   * Forgets a follower; without `replica`, every follower of the shard.
   *
   * @returns whether there was one.
   */
  remove(shard: ShardId, replica?: ReplicaId): boolean {
    const name = parseName(shard)
    const followers = name === undefined ? undefined : this.#shards.get(name)
    if (name === undefined || !followers) return false
    if (replica === undefined) {
      followers.live = false
      this.#shards.delete(name)
      if (followers.unnamed) this.#release(followers.unnamed)
      for (const follower of followers.replicas?.values() ?? []) this.#release(follower)
      // A collection that is under way over them must not go on to registers that are free.
      followers.replicas?.clear()
      return true
    }
    const replicaName = parseName(replica)
    const follower = replicaName === undefined ? undefined : followers.replicas?.get(replicaName)
    if (replicaName === undefined || !follower) return false
    followers.replicas?.delete(replicaName)
    this.#release(follower)
    return true
  }

  /** How many updates were refused because a seqno, shard or replica was none. */
  get rejectedUpdates(): number {
    return this.#rejections.count
  }

  /** @internal For the gauge, which keeps the result while it is live. */
  followersOf(shard: string): ShardFollowers | undefined {
    return this.#shards.get(shard)
  }

  /** @internal */
  appliedSeqnoOf({ register }: Follower): bigint | undefined {
    return this.#registers.isWritten(register) ? this.#registers.load(register) : undefined
  }

  /** @internal */
  setWithheld(shard: string, replica: string | undefined, isWithheld: boolean): void {
    const follower = this.#find(shard, replica)
    if (follower) follower.isWithheld = isWithheld
  }

  /** @internal Visits every follower that has applied something. */
  forEachApplied(visit: (follower: FollowerId, appliedSeqno: bigint) => void): void {
    for (const { unnamed, replicas } of this.#shards.values()) {
      if (unnamed) this.#visitApplied(unnamed, visit)
      for (const follower of replicas?.values() ?? []) this.#visitApplied(follower, visit)
    }
  }

  #visitApplied(
    follower: Follower,
    visit: (follower: FollowerId, appliedSeqno: bigint) => void,
  ): void {
    const appliedSeqno = follower.isWithheld ? undefined : this.appliedSeqnoOf(follower)
    if (appliedSeqno !== undefined) visit(follower.id, appliedSeqno)
  }

  #find(shard: ShardId, replica: ReplicaId | undefined): Follower | undefined {
    // Most callers pass strings that are names already: those need no parsing to be looked up.
    const shardName = typeof shard === 'string' ? shard : parseName(shard)
    if (shardName === undefined) return undefined
    const followers = this.#shards.get(shardName)
    if (replica === undefined) return followers?.unnamed
    const replicaName = typeof replica === 'string' ? replica : parseName(replica)
    return replicaName === undefined ? undefined : followers?.replicas?.get(replicaName)
  }

  #parseId(shard: ShardId, replica: ReplicaId | undefined): FollowerId | undefined {
    const shardName = parseName(shard)
    if (shardName === undefined) {
      this.#rejections.name(shard, 'shard')
      return undefined
    }
    if (replica === undefined) return followerId(shardName, undefined)
    const replicaName = parseName(replica)
    if (replicaName === undefined) {
      this.#rejections.name(replica, 'replica')
      return undefined
    }
    return followerId(shardName, replicaName)
  }

  #add(id: FollowerId): Follower {
    let followers = this.#shards.get(id.shard)
    if (!followers) {
      followers = { unnamed: undefined, replicas: undefined, live: true }
      this.#shards.set(id.shard, followers)
    }
    const follower: Follower = {
      id,
      register: this.#registers.allocate(),
      handle: undefined,
      isWithheld: false,
    }
    if (id.replica === undefined) followers.unnamed = follower
    else (followers.replicas ??= new Map()).set(id.replica, follower)
    return follower
  }

  #release({ register, handle }: Follower): void {
    if (handle) AtomicSeqno.detach(handle)
    this.#registers.free(register)
  }
}
