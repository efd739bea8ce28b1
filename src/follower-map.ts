import { followerId, type FollowerId } from './follower.js'
import { Member, type MemberMap } from './member.js'
import { MAX_SEQNO } from './seqno.js'
import type { Place } from './seqno-register.js'

/** A follower; or a shard's marker. */
export class Follower extends Member {
  readonly id: FollowerId

  constructor(id: FollowerId, place: Place) {
    super(place)
    this.id = id
  }
}

/** The followers of one shard. A gauge keeps hold of it between collections, for as long as it is `live`. */
export interface ShardFollowers {
  unnamed: Follower | undefined
  /** Set once a named replica was seen, and kept when the last one is removed: this shard names its followers. */
  replicas: Map<string, Follower> | undefined
  /** That the shard names its followers, as a member that other threads are told of; it has no seqno. */
  marker: Follower | undefined
  live: boolean
}

/** In place of the replica in the id of a marker: no follower can have this name. */
const MARKER = ''

/** The followers of one state, by shard and replica. */
export class FollowerMap implements MemberMap<Follower> {
  readonly #shards = new Map<string, ShardFollowers>()
  #hasMarkers = false

  get(shard: string): ShardFollowers | undefined {
    return this.#shards.get(shard)
  }

  shards(): Iterable<ShardFollowers> {
    return this.#shards.values()
  }

  find({ shard, replica }: FollowerId): Follower | undefined {
    const followers = this.#shards.get(shard)
    if (replica === undefined) return followers?.unnamed
    return replica === MARKER ? followers?.marker : followers?.replicas?.get(replica)
  }

  add(id: FollowerId, place: Place): Follower {
    const followers = this.#recordOf(id.shard)
    const member = new Follower(id, place)
    if (id.replica === undefined) {
      followers.unnamed = member
      return member
    }
    followers.replicas ??= new Map()
    if (id.replica === MARKER) followers.marker = member
    else followers.replicas.set(id.replica, member)
    return member
  }

  delete({ id: { shard, replica } }: Follower): void {
    const followers = this.#shards.get(shard) as ShardFollowers
    if (replica === undefined) followers.unnamed = undefined
    else if (replica === MARKER) followers.marker = undefined
    else followers.replicas?.delete(replica)
    if (!this.#hasMarkers) return
    if (!followers.marker && followers.replicas?.size === 0) followers.replicas = undefined
    if (!followers.unnamed && !followers.replicas) this.forget(shard)
  }

  /** Makes a shard one that names its followers. Returns the id of the marker to add, where there are markers. */
  name(shard: string): FollowerId | undefined {
    if (!this.#hasMarkers) {
      this.#recordOf(shard).replicas ??= new Map()
      return undefined
    }
    return this.#shards.get(shard)?.marker ? undefined : followerId(shard, MARKER)
  }

  /** Forgets what is known of a shard besides its followers, which were deleted. */
  forget(shard: string): void {
    const followers = this.#shards.get(shard)
    if (followers) followers.live = false
    this.#shards.delete(shard)
  }

  /** From now on there are markers. Returns the ids of those to add. */
  startMarkers(): FollowerId[] {
    this.#hasMarkers = true
    const unmarked = [...this.#shards].filter(([, { replicas, marker }]) => replicas && !marker)
    return unmarked.map(([shard]) => followerId(shard, MARKER))
  }

  #recordOf(shard: string): ShardFollowers {
    let followers = this.#shards.get(shard)
    if (!followers) {
      followers = { unnamed: undefined, replicas: undefined, marker: undefined, live: true }
      this.#shards.set(shard, followers)
    }
    return followers
  }

  missingBeside({ shard, replica }: FollowerId): FollowerId | undefined {
    if (!this.#hasMarkers || !replica || this.#shards.get(shard)?.marker) return undefined
    return followerId(shard, MARKER)
  }

  /** With the markers. */
  *[Symbol.iterator](): Generator<Follower> {
    for (const followers of this.#shards.values()) yield* membersOf(followers)
  }
}

/** All members of a shard, its marker among them. */
export function* membersOf({ unnamed, replicas, marker }: ShardFollowers): Generator<Follower> {
  if (unnamed) yield unnamed
  if (marker) yield marker
  if (replicas) yield* replicas.values()
}

/** What the slowest follower of a shard has applied; the highest seqno there is if none is behind, as there is none. */
export function slowestAppliedSeqno(
  followers: ShardFollowers | undefined,
  withUnseen: boolean,
): bigint {
  const { unnamed, replicas } = followers ?? {}
  let slowest = withUnseen && !unnamed && !replicas ? 0n : MAX_SEQNO
  if (unnamed) slowest = unnamed.load() ?? 0n
  for (const follower of replicas?.values() ?? []) {
    const appliedSeqno = follower.load() ?? 0n
    if (appliedSeqno < slowest) slowest = appliedSeqno
  }
  return slowest
}
