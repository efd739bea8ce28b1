import { AtomicSeqno } from './atomic-seqno.js'
import { followerId, parseName, type FollowerId, type ReplicaId, type ShardId } from './follower.js'
import { FollowerMap, membersOf, type Follower, type ShardFollowers } from './follower-map.js'
import { Members } from './members.js'
import type { SharedMembers } from './peers.js'
import { Rejections } from './rejections.js'
import { parseSeqno, type Seqno } from './seqno.js'
import { requireSharedMemory } from './shared-layout.js'

/**
 * What followers have applied: the applied seqno of every follower of every shard.
 * Share one between the code that applies entries and the {@link ReplicationLagGauge} that compares it with the leaders.
 */
export class ReplicationState {
  readonly #followers = new FollowerMap()
  readonly #rejections = new Rejections()
  readonly #members = new Members(this.#followers, (value, id) =>
    this.#rejections.seqno(value, 'applied', id),
  )

  /** The newest seqno that a follower has applied, or `undefined` if it is unknown or has applied nothing yet. */
  appliedSeqno(shard: ShardId, replica?: ReplicaId): bigint | undefined {
    const seqno = this.#find(shard, replica)?.load()
    if (seqno !== undefined || !this.catchUp()) return seqno
    return this.#find(shard, replica)?.load()
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
    if (value !== undefined && this.#find(shard, replica)?.store(value)) return
    const id = this.#parseId(shard, replica)
    if (!id) return
    if (value === undefined) this.#rejections.seqno(seqno, 'applied', id)
    else this.#members.update(id, value)
  }

  /**
   * A handle of the follower's applied seqno, for hot paths. The follower becomes known, as one that has applied nothing.
   * Never throws: for a name that can be none it returns a register that belongs to nobody.
   * Once the follower is removed its handle writes nowhere that is read: take a new one.
   */
  applied(shard: ShardId, replica?: ReplicaId): AtomicSeqno {
    const id = this.#parseId(shard, replica)
    return id ? this.#members.handle(id) : new AtomicSeqno()
  }

  /**
   * Forgets a follower; without `replica`, every follower of the shard.
   *
   * @returns whether there was one.
   */
  remove(shard: ShardId, replica?: ReplicaId): boolean {
    this.catchUp()
    const name = parseName(shard)
    const followers = name === undefined ? undefined : this.#followers.get(name)
    if (name === undefined || !followers) return false
    if (replica === undefined) {
      for (const member of membersOf(followers)) this.#members.remove(member)
      this.#followers.forget(name)
      return true
    }
    const follower = this.#find(name, replica)
    if (follower) this.#members.remove(follower)
    return follower !== undefined
  }

  /** @internal Forgets one follower, also the unnamed one: the shard is then one that names its followers. */
  removeFollower(shard: string, replica: string | undefined): void {
    this.catchUp()
    const follower = this.#find(shard, replica)
    if (!follower) return
    if (replica === undefined) this.nameFollowers(shard)
    this.#members.remove(follower)
  }

  /** @internal Says that the shard's followers have names: it has no unnamed one that nobody has seen. */
  nameFollowers(shard: string): void {
    this.catchUp()
    const marker = this.#followers.name(shard)
    if (marker) this.#members.add(marker)
  }

  /** How many updates were refused because a seqno, shard or replica was none. */
  get rejectedUpdates(): number {
    return this.#rejections.count
  }

  /** @internal For the gauge, which keeps the result while it is live. */
  followersOf(shard: string): ShardFollowers | undefined {
    return this.#followers.get(shard)
  }

  /** @internal */
  setWithheld(shard: string, replica: string | undefined, isWithheld: boolean): void {
    const follower = this.#find(shard, replica)
    if (follower) follower.isWithheld = isWithheld
  }

  /** @internal Says that a follower's positions come from a source. */
  markFromSource(shard: string, replica: string | undefined): void {
    this.#find(shard, replica)?.markFromSource()
  }

  /** @internal Those followers of a shard whose positions come from a source, be it one that is polled no more. */
  followersFromSource(shard: string): FollowerId[] {
    this.catchUp()
    const followers = this.#followers.get(shard)
    const members = followers ? [...membersOf(followers)] : []
    return members.filter(({ isFromSource }) => isFromSource).map(({ id }) => id)
  }

  /** @internal Visits every follower that has applied something. */
  forEachApplied(visit: (follower: FollowerId, appliedSeqno: bigint) => void): void {
    this.catchUp()
    for (const { unnamed, replicas } of this.#followers.shards()) {
      if (unnamed) visitApplied(unnamed, visit)
      for (const follower of replicas?.values() ?? []) visitApplied(follower, visit)
    }
  }

  /** @internal Hears what other threads have done. Returns whether they have done anything. */
  catchUp(): boolean {
    return this.#members.catchUp()
  }

  /** @internal Sees to a follower whose register was found dead. Returns whether it has one that is alive now. */
  settle(follower: Follower): boolean {
    return this.#members.settle(follower)
  }

  /** @internal @throws TypeError in a process that has no shared memory. */
  share(): SharedMembers {
    requireSharedMemory()
    for (const marker of this.#followers.startMarkers()) this.#members.add(marker)
    return this.#members.share()
  }

  /** @internal Takes part in what another thread has shared; nothing was added here. */
  join(shared: SharedMembers): void {
    this.#followers.startMarkers()
    this.#members.join(shared)
  }

  #find(shard: ShardId, replica: ReplicaId | undefined): Follower | undefined {
    // Most callers pass strings that are names already: those need no parsing to be looked up.
    const shardName = typeof shard === 'string' ? shard : parseName(shard)
    if (shardName === undefined) return undefined
    const followers = this.#followers.get(shardName)
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
}

function visitApplied(
  follower: Follower,
  visit: (follower: FollowerId, appliedSeqno: bigint) => void,
): void {
  const appliedSeqno = follower.isWithheld ? undefined : follower.load()
  if (appliedSeqno !== undefined) visit(follower.id, appliedSeqno)
}
