import { SeqnoCell, type Block } from './atomic-seqno.js'
import { LeaderSamples, type Sampling } from './seqno-history.js'

/** The attributes of a follower's metrics. One frozen object serves every collection. */
export type FollowerAttributes = Readonly<{ shard: string; replica?: string }>

/** What a source last said about a leader, beyond its position. */
export interface LeaderStatus {
  /** The history that its seqnos belong to, if the source names it. */
  epoch: string | undefined
  /** Whether the source reads a node that follows another one itself. */
  isCascading: boolean
  /** What is wrong with the shard. */
  problem: string | undefined
  /** The last reading that its shard was in, and the last one that had its position. */
  reading: Sampling
  positionReading: Sampling | undefined
}

/** A shard's leader, as one feed knows it. */
export class Leader extends SeqnoCell {
  /** Where it was, once it has been sampled. */
  samples: LeaderSamples | undefined = undefined
  /** Only for leaders that come from a source. */
  status: LeaderStatus | undefined = undefined

  constructor(
    readonly shard: string,
    readonly feed: Feed,
    block?: Block,
    index?: number,
    /** Whether any feed ever had a follower with a name in this shard. Then there is no unnamed one that no feed has seen. */
    public hadNamedFollower = false,
  ) {
    super(block, index)
  }

  /** Adds a sample. See {@link LeaderSamples.add}. */
  sample(seqno: bigint, slowest: bigint | 'lone' | undefined, sampling: Sampling): void {
    this.samples ??= new LeaderSamples(seqno, sampling)
    this.samples.add(seqno, slowest, sampling)
  }

  /** Whether its source still has the shard, but has not read its position for too long. */
  isStale(now: number): boolean {
    const { reading, positionReading } = this.status ?? {}
    if (positionReading === undefined || positionReading === reading) return false
    return positionReading.at + this.feed.freshMillis < now
  }
}

/** Where a leader was at one moment, in milliseconds as `performance.now()`. */
export type ParsedMoment = Readonly<{ leaderSeqno: bigint; at: number }>

/** What a source last said about a follower, beyond what it has applied. */
export interface FollowerStatus {
  isConnected: boolean
  readonly isDiverged: boolean
  /** Where its leader was when it was read; `undefined`: where the leader is now. */
  comparedWith: ParsedMoment | undefined
  appliedUpTo: bigint | undefined
  readonly receivedSeqno: bigint | undefined
  readonly retainedSeqno: bigint | undefined
  readonly problem: string | undefined
  /** The last reading that it was in. */
  reading: Sampling | undefined
  /** When its retention ends, in `performance.now()` milliseconds; `undefined` while readings list it. */
  keepUntil: number | undefined
}

/** A follower, as one feed knows it. */
export class Follower extends SeqnoCell {
  readonly attributes: FollowerAttributes
  /** Only for followers that come from a source. */
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
  /** The leader that they are compared with, for as long as `version` is that of the feeds. See `Feeds.leaderOf`. */
  leader: Leader | undefined = undefined
  version = 0

  constructor(readonly shard: string) {}

  get(replica: string | undefined): Follower | undefined {
    return replica === undefined ? this.unnamed : this.replicas?.get(replica)
  }

  /** Returns what the slowest follower has applied. One without a position may have applied nothing. */
  slowest(): bigint | undefined {
    const { unnamed, replicas } = this
    let slowest = unnamed && slowerOf(undefined, unnamed)
    if (replicas) for (const each of replicas.values()) slowest = slowerOf(slowest, each)
    return slowest
  }
}

function slowerOf(slowest: bigint | undefined, follower: Follower): bigint {
  const applied = follower.status?.appliedUpTo ?? follower.load() ?? 0n
  return slowest !== undefined && slowest <= applied ? slowest : applied
}

/** Called when an entry is added or removed. */
export interface FeedListener {
  leaderAdded?(leader: Leader): void
  leaderRemoved?(leader: Leader): void
  followerAdded(follower: Follower): void
  followerRemoved(follower: Follower): void
}

/** One writer's leaders and followers, which no other writer changes, and how fresh they are. Times are as `performance.now()`. */
export class Feed {
  readonly leaders = new Map<string, Leader>()
  /** By shard. */
  readonly followers = new Map<string, ShardFollowers>()
  private readonly listeners = new Set<FeedListener>()
  /** It may be reported until this time. */
  freshUntil: number
  /** For how long a reading is fresh. */
  freshMillis = Infinity
  /** When it was last read. `Infinity` for the application and threads, whose stores are always current. */
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
  ) {
    this.freshUntil = writer === 'source' ? -Infinity : Infinity
  }

  listen(listener: FeedListener): void {
    this.listeners.add(listener)
  }

  /** Returns whether it was listening. */
  unlisten(listener: FeedListener): boolean {
    return this.listeners.delete(listener)
  }

  /** Adds a leader that is not there yet, with a new cell or that of another thread. */
  addLeader(shard: string, block?: Block, index?: number, hadNamedFollower = false): Leader {
    const leader = new Leader(shard, this, block, index, hadNamedFollower)
    this.leaders.set(shard, leader)
    for (const listener of this.listeners) listener.leaderAdded?.(leader)
    return leader
  }

  /** Returns whether there was one. */
  removeLeader(shard: string): boolean {
    const leader = this.leaders.get(shard)
    if (!leader) return false
    this.leaders.delete(shard)
    leader.isRemoved = true
    for (const listener of this.listeners) listener.leaderRemoved?.(leader)
    return true
  }

  findFollower(shard: string, replica: string | undefined): Follower | undefined {
    return this.followers.get(shard)?.get(replica)
  }

  /** Returns the followers of a shard, as a copy. */
  followersOf(shard: string): Follower[] {
    const { unnamed, replicas } = this.followers.get(shard) ?? {}
    const named = replicas ? [...replicas.values()] : []
    return unnamed ? [unnamed, ...named] : named
  }

  /** Adds a new follower, with a new cell or one from another thread. */
  addFollower(shard: string, replica: string | undefined, block?: Block, index?: number): Follower {
    let followers = this.followers.get(shard)
    if (!followers) this.followers.set(shard, (followers = new ShardFollowers(shard)))
    const follower = new Follower(shard, replica, block, index)
    if (replica === undefined) followers.unnamed = follower
    else (followers.replicas ??= new Map()).set(replica, follower)
    for (const listener of this.listeners) listener.followerAdded(follower)
    return follower
  }

  /** Returns whether there was one. */
  removeFollower(follower: Follower | undefined): boolean {
    if (!follower || follower.isRemoved) return false
    const { shard, replica } = follower.attributes
    const followers = this.followers.get(shard) as ShardFollowers
    follower.isRemoved = true
    if (replica === undefined) followers.unnamed = undefined
    else followers.replicas?.delete(replica)
    if (!followers.unnamed && !followers.replicas?.size) this.followers.delete(shard)
    for (const listener of this.listeners) listener.followerRemoved(follower)
    return true
  }

  /** Removes all followers of a shard. Returns whether there was one. */
  removeFollowers(shard: string): boolean {
    const followers = this.followersOf(shard)
    for (const follower of followers) this.removeFollower(follower)
    return followers.length > 0
  }

  /** Removes the leader and all followers of a shard. */
  removeShard(shard: string): void {
    this.removeLeader(shard)
    this.removeFollowers(shard)
  }
}
