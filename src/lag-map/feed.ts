import { SeqnoCell, type Block } from './atomic-seqno.js'
import { SampledSeqno, type Sampling } from './seqno-history.js'

/** The attributes of a follower's metrics. One frozen object serves every collection. */
export type FollowerAttributes = Readonly<{ shard: string; replica?: string }>

/** A shard's leader, as one feed knows it. */
export class Leader extends SampledSeqno {
  /** The history that its seqnos belong to, if its source names it. */
  epoch: string | undefined = undefined
  /** What the slowest of its followers had applied, and when that was noted. */
  slowestSeqno: bigint | undefined = undefined
  slowestNoted: Sampling | undefined = undefined

  constructor(
    readonly shard: string,
    readonly feed: Feed,
    block?: Block,
    index?: number,
    /** Whether any feed ever had a follower with a name in this shard. Then there is no unnamed one that nobody has seen. */
    public hadNamedFollower = false,
  ) {
    super(block, index)
  }
}

/** What a source said about a follower, beyond what it has applied. */
export interface FollowerStatus {
  connected: boolean
  receivedSeqno: bigint | undefined
  retainedSeqno: bigint | undefined
  problem: string | undefined
  /** The last reading that it was in. */
  reading: Sampling
  /** When its retention time is over; `undefined` while it is in the readings. In milliseconds, as `performance.now()`. */
  keepUntil: number | undefined
}

/** A follower, as one feed knows it. */
export class Follower extends SeqnoCell {
  readonly attributes: FollowerAttributes
  /** Of followers that come from a source. */
  status: FollowerStatus | undefined = undefined

  constructor(shard: string, replica: string | undefined, block?: Block, index?: number) {
    super(block, index)
    this.attributes = Object.freeze(replica === undefined ? { shard } : { shard, replica })
  }

  /** Whether its retention time is over. */
  isExpired(now: number): boolean {
    return this.status?.keepUntil !== undefined && this.status.keepUntil <= now
  }
}

/** The followers of one shard in one feed. */
export class ShardFollowers {
  unnamed: Follower | undefined = undefined
  replicas: Map<string, Follower> | undefined = undefined
  /** The leader that they are compared with, as long as `choice` is that of the collecting gauge. See `Feeds.leaderOf`. */
  leader: Leader | undefined = undefined
  choice: object | undefined = undefined

  constructor(readonly shard: string) {}

  get(replica: string | undefined): Follower | undefined {
    return replica === undefined ? this.unnamed : this.replicas?.get(replica)
  }
}

/** Called when an entry is added or removed. */
export interface FeedListener {
  leaderAdded(leader: Leader): void
  leaderRemoved(leader: Leader): void
  followerAdded(follower: Follower): void
  followerRemoved(follower: Follower): void
}

/** One writer's followers, by shard. */
export class FollowerTable {
  readonly shards = new Map<string, ShardFollowers>()
  readonly listeners = new Set<FeedListener>()

  find(shard: string, replica: string | undefined): Follower | undefined {
    return this.shards.get(shard)?.get(replica)
  }

  /** The followers of a shard, as a copy. */
  of(shard: string): Follower[] {
    const { unnamed, replicas } = this.shards.get(shard) ?? {}
    const named = replicas ? [...replicas.values()] : []
    return unnamed ? [unnamed, ...named] : named
  }

  /** Adds a follower that is not there yet, with a new cell or that of another thread. */
  add(shard: string, replica: string | undefined, block?: Block, index?: number): Follower {
    let followers = this.shards.get(shard)
    if (!followers) this.shards.set(shard, (followers = new ShardFollowers(shard)))
    const follower = new Follower(shard, replica, block, index)
    if (replica === undefined) followers.unnamed = follower
    else (followers.replicas ??= new Map()).set(replica, follower)
    for (const listener of this.listeners) listener.followerAdded(follower)
    return follower
  }

  /** Returns whether there was one. */
  remove(follower: Follower | undefined): boolean {
    if (!follower || follower.isRemoved) return false
    const { shard, replica } = follower.attributes
    const followers = this.shards.get(shard) as ShardFollowers
    follower.isRemoved = true
    if (replica === undefined) followers.unnamed = undefined
    else followers.replicas?.delete(replica)
    if (!followers.unnamed && !followers.replicas?.size) this.shards.delete(shard)
    for (const listener of this.listeners) listener.followerRemoved(follower)
    return true
  }

  /** Returns whether there was one. */
  removeAll(shard: string): boolean {
    const followers = this.of(shard)
    for (const follower of followers) this.remove(follower)
    return followers.length > 0
  }
}

/** One writer's leaders and followers, which nobody else writes to, and how fresh they are. Times are as `performance.now()`. */
export class Feed {
  readonly leaders = new Map<string, Leader>()
  private readonly listeners = new Set<FeedListener>()
  /** Until when it may be reported. */
  freshUntil: number
  /** When it was read last. What the application and other threads store can be read at any time. */
  readAt = Infinity
  /** Whether the port that it comes through is open. If not, it is removed at `keepUntil`. */
  isOpen = true
  keepUntil = Infinity
  /** Whether the last read of its source succeeded; `undefined` before the first one and while polling is stopped. */
  isUp: boolean | undefined = undefined
  /** When a read last succeeded, in seconds since 1970. */
  lastSuccessSeconds: number | undefined = undefined

  /** @param name the name of the source. */
  constructor(
    readonly writer: 'application' | 'source' | 'thread',
    readonly name = '',
    readonly followers = new FollowerTable(),
  ) {
    this.freshUntil = writer === 'source' ? -Infinity : Infinity
  }

  listen(listener: FeedListener): void {
    this.listeners.add(listener)
    this.followers.listeners.add(listener)
  }

  /** Returns whether it was listening. */
  unlisten(listener: FeedListener): boolean {
    this.listeners.delete(listener)
    return this.followers.listeners.delete(listener)
  }

  /** Adds a leader that is not there yet, with a new cell or that of another thread. */
  addLeader(shard: string, block?: Block, index?: number, hadNamedFollower = false): Leader {
    const leader = new Leader(shard, this, block, index, hadNamedFollower)
    this.leaders.set(shard, leader)
    for (const listener of this.listeners) listener.leaderAdded(leader)
    return leader
  }

  /** Returns whether there was one. */
  removeLeader(shard: string): boolean {
    const leader = this.leaders.get(shard)
    if (!leader) return false
    this.leaders.delete(shard)
    leader.isRemoved = true
    for (const listener of this.listeners) listener.leaderRemoved(leader)
    return true
  }

  /** Removes the leader and all followers. Returns whether there were any. */
  removeShard(shard: string): boolean {
    // The leader first: without its followers it would look like one that no follower was seen of.
    const hadLeader = this.removeLeader(shard)
    return this.followers.removeAll(shard) || hadLeader
  }
}
