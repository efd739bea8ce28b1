import { Feed, type Follower, type FeedListener, type Leader, type ShardFollowers } from './feed.js'
import type { CollectedFollower } from './follower-lag.js'
import type { RejectedUpdates } from './rejected-updates.js'
import type { Sampling } from './seqno-history.js'

/** The newest version of any gauge. Gauges that share a state share {@link ShardFollowers}, so theirs must differ. */
let newestVersion = 0

/** All feeds of one gauge, and what depends on several of them. */
export class Feeds {
  /** The application's leaders. Its followers are in the feed of its ReplicationState. */
  readonly application = new Feed('application')
  /** The two feeds of the application first. */
  readonly all: Feed[]
  /** Shards of which more than one feed has followers. */
  readonly contested = new Set<string>()
  /** Leaders of which no feed knows a follower, and since when. Not those of sources. */
  readonly lone = new Map<Leader, number>()
  /** When leaders were sampled last, once that has begun. */
  lastSampling: Sampling | undefined = undefined
  /** Only kept because V8 forgets a class's shape, and the code compiled for it, if a garbage collection finds no instance. */
  collected: CollectedFollower | undefined = undefined
  /** Changes when a choice of {@link leaderOf} can have become wrong. */
  private version = ++newestVersion

  constructor(
    state: Feed,
    readonly rejected: RejectedUpdates,
  ) {
    this.all = [this.application, state]
    this.application.listen(this.createListener())
    this.listenWeakly(state)
    for (const shard of state.followers.keys()) this.noteFollowersOf(shard)
  }

  /** Returns the source's feed, if there is one. */
  ofSource(name: string): Feed | undefined {
    return this.all.find((feed) => feed.writer === 'source' && feed.name === name)
  }

  add(feed: Feed): Feed {
    this.all.push(feed)
    feed.listen(this.createListener())
    return feed
  }

  remove(feed: Feed): void {
    this.all.splice(this.all.indexOf(feed), 1)
    for (const shard of feed.leaders.keys()) feed.removeLeader(shard)
    for (const shard of feed.followers.keys()) feed.removeFollowers(shard)
  }

  /**
   * The thread at the other end of the feed's port is gone. What it knew stays until `keepUntil`. Of entries that feeds of
   * other closed ports have too, one is kept: this one if it has a position, else the older one. So a worker that is
   * restarted again and again leaves one closed feed.
   */
  close(feed: Feed, now: number, keepUntil: number): void {
    feed.isOpen = false
    feed.readAt = now
    feed.keepUntil = keepUntil
    this.version = ++newestVersion
    const closed = this.all.filter((other) => !other.isOpen)
    for (const other of closed) {
      if (other === feed) continue
      for (const [shard, leader] of feed.leaders) {
        if (!other.leaders.has(shard)) continue
        ;(leader.load() === undefined ? feed : other).removeLeader(shard)
      }
      for (const shard of feed.followers.keys()) {
        for (const follower of feed.followersOf(shard)) {
          const older = other.findFollower(shard, follower.attributes.replica)
          if (!older) continue
          if (follower.load() === undefined) feed.removeFollower(follower)
          else other.removeFollower(older)
        }
      }
    }
    for (const each of closed) if (each.leaders.size + each.followers.size === 0) this.remove(each)
  }

  /** Removes the feeds of closed ports whose retention time is over. */
  expire(now: number): void {
    for (const feed of this.all.filter(({ keepUntil }) => keepUntil <= now)) this.remove(feed)
  }

  /**
   * Returns the leader that a shard's followers of one feed are compared with: that of their own feed. If it does not have
   * one, or its port has closed, then the application's, else that of {@link leaderOfSources}. So followers of a worker are
   * compared with the leader of the main thread, even after the worker has ended.
   */
  leaderOf(feed: Feed, followers: ShardFollowers, now: number): Leader | undefined {
    if (followers.version === this.version) return followers.leader
    const { shard } = followers
    const own = feed.leaders.get(shard)
    const application = this.application.leaders.get(shard)
    let leader = feed.isOpen && own?.load() !== undefined ? own : undefined
    if (!leader && application?.load() !== undefined) leader = application
    // It stays the choice until a leader is added or removed, a port closes, or their own leader has its first seqno.
    if (leader && (leader === own || !own)) {
      followers.leader = leader
      followers.version = this.version
    }
    return leader ?? this.lastReadLeader(shard, now)
  }

  /** Returns the leader to report for a shard, by the same choice without a follower. */
  leaderOfShard(shard: string, now: number): Leader | undefined {
    const leader = this.application.leaders.get(shard)
    if (leader?.load() !== undefined) return leader
    return this.lastReadLeader(shard, now)
  }

  /**
   * Returns what the slowest of the followers that are compared with a leader has applied; `undefined` if there is none.
   * Other feeds are asked only if they can have followers of the shard too.
   * @param followers those that one feed has.
   */
  slowestOf(leader: Leader, followers: ShardFollowers | undefined, now: number) {
    const { shard } = leader
    if (followers && !this.contested.has(shard)) return followers.slowest()
    let slowest: bigint | undefined
    for (const other of this.all) {
      const others = other.followers.get(shard)
      if (!others || this.leaderOf(other, others, now) !== leader) continue
      const applied = others.slowest()
      if (slowest === undefined || (applied !== undefined && applied < slowest)) slowest = applied
    }
    return slowest
  }

  /** The fresh leader that was read last. One that follows another node itself, and then a closed port's, come last. */
  private lastReadLeader(shard: string, now: number): Leader | undefined {
    let best: Leader | undefined
    for (const feed of this.all) {
      const leader = feed.leaders.get(shard)
      if (leader?.load() === undefined || feed.freshUntil < now || leader.isStale(now)) continue
      if (!best || compareLeaders(leader, best) > 0) best = leader
    }
    return best
  }

  private createListener(): FeedListener {
    return {
      leaderAdded: (leader) => {
        this.version = ++newestVersion
        this.noteFollowersOf(leader.shard)
      },
      leaderRemoved: (leader) => {
        this.version = ++newestVersion
        this.lone.delete(leader)
      },
      followerAdded: ({ attributes: { shard } }) => this.noteFollowersOf(shard),
      followerRemoved: ({ attributes: { shard } }) => this.noteFollowersOf(shard),
    }
  }

  /** A ReplicationState can outlive its gauges, and must not keep them alive. It has only followers. */
  private listenWeakly(state: Feed): void {
    const held = new WeakRef(this)
    const noteFollower = ({ attributes: { shard } }: Follower) => {
      const feeds = held.deref()
      if (feeds) feeds.noteFollowersOf(shard)
      else state.unlisten(listener)
    }
    const listener = { followerAdded: noteFollower, followerRemoved: noteFollower }
    state.listen(listener)
  }

  /** Notes which feeds have followers of a shard. */
  private noteFollowersOf(shard: string): void {
    let count = 0
    let areNamed = false
    for (const { followers } of this.all) {
      const known = followers.get(shard)
      if (!known) continue
      count++
      if (known.replicas?.size) areNamed = true
    }
    if (count > 1) this.contested.add(shard)
    else this.contested.delete(shard)
    for (const { writer, leaders } of this.all) {
      const leader = writer === 'source' ? undefined : leaders.get(shard)
      if (!leader) continue
      leader.hadNamedFollower ||= areNamed
      if (count > 0 || leader.hadNamedFollower) this.lone.delete(leader)
      else if (!this.lone.has(leader)) this.lone.set(leader, performance.now())
    }
  }
}

/** Which of two leaders of a shard is to be believed; positive if the first. */
function compareLeaders(a: Leader, b: Leader): number {
  return (
    Number(a.feed.isOpen) - Number(b.feed.isOpen) ||
    Number(b.status?.isCascading ?? false) - Number(a.status?.isCascading ?? false) ||
    (a.feed.readAt >= b.feed.readAt ? 1 : -1)
  )
}
