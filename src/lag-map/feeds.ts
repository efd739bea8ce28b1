import { Feed, type FollowerTable, type Leader, type ShardFollowers } from './feed.js'
import type { RejectedUpdates } from './rejected-updates.js'
import type { Sampling } from './seqno-history.js'

/** All feeds of one gauge, and what depends on several of them. */
export class Feeds {
  readonly application: Feed
  /** The application's feed first. */
  readonly all: Feed[]
  /** Shards of which more than one feed has followers. */
  readonly contested = new Set<string>()
  /** Leaders of which no feed knows a follower, and since when. Not those of sources. */
  readonly lone = new Map<Leader, number>()
  /** When leaders were sampled last, once that has begun. */
  lastSampling: Sampling | undefined = undefined
  /** Replaced when a choice of {@link leaderOf} can have become wrong. */
  private choice = {}

  constructor(
    followers: FollowerTable,
    readonly rejected: RejectedUpdates,
  ) {
    this.application = new Feed('application', '', followers)
    this.all = [this.application]
    this.watch(this.application)
  }

  /** The source's feed, if there is one. */
  ofSource(name: string): Feed | undefined {
    return this.all.find((feed) => feed.writer === 'source' && feed.name === name)
  }

  add(feed: Feed): Feed {
    this.all.push(feed)
    this.watch(feed)
    return feed
  }

  remove(feed: Feed): void {
    this.all.splice(this.all.indexOf(feed), 1)
    for (const shard of feed.leaders.keys()) feed.removeLeader(shard)
    for (const shard of feed.followers.shards.keys()) feed.followers.removeAll(shard)
  }

  /** The thread at the other end of the feed's port is gone. What it knew stays until `keepUntil`. */
  close(feed: Feed, now: number, keepUntil: number): void {
    feed.isOpen = false
    feed.readAt = now
    feed.keepUntil = keepUntil
    this.choice = {}
  }

  /** Removes the feeds of closed ports whose retention time is over. */
  expire(now: number): void {
    for (const feed of this.all.filter(({ keepUntil }) => keepUntil <= now)) this.remove(feed)
  }

  /**
   * The leader that a shard's followers of one feed are compared with: that of their own feed. If it does not have one, or
   * its port has closed, then the application's, else that of the fresh feed that was read last, else what the closed one
   * knew. So followers of a worker meet the leader of the main thread, also after the worker has ended.
   */
  leaderOf(feed: Feed, followers: ShardFollowers, now: number): Leader | undefined {
    if (followers.choice === this.choice) return followers.leader
    const { shard } = followers
    const own = feed.leaders.get(shard)
    const application = this.application.leaders.get(shard)
    let leader = feed.isOpen && own?.load() !== undefined ? own : undefined
    if (!leader && application?.load() !== undefined) leader = application
    // These two stay the choice until a leader is added or removed, a port closes, or their own has its first seqno.
    followers.leader = leader
    followers.choice = leader === own || !own ? leader && this.choice : undefined
    return leader ?? this.lastReadLeader(shard, now)
  }

  /** The leader to report for a shard when no follower asks, by the same choice. */
  leaderOfShard(shard: string, now: number): Leader | undefined {
    const leader = this.application.leaders.get(shard)
    if (leader?.load() !== undefined) return leader
    return this.lastReadLeader(shard, now)
  }

  /** The leader of the fresh feed that was read last; one whose port has closed comes after all others. */
  private lastReadLeader(shard: string, now: number): Leader | undefined {
    let last: Leader | undefined
    for (const feed of this.all) {
      const leader = feed.leaders.get(shard)
      if (leader?.load() === undefined || feed.freshUntil < now) continue
      const order = last ? Number(feed.isOpen) - Number(last.feed.isOpen) : 1
      if (order > 0 || (order === 0 && last && feed.readAt >= last.feed.readAt)) last = leader
    }
    return last
  }

  private watch(feed: Feed): void {
    feed.listen({
      leaderAdded: (leader) => {
        this.choice = {}
        this.noteFollowersOf(leader.shard)
      },
      leaderRemoved: (leader) => {
        this.choice = {}
        this.lone.delete(leader)
      },
      followerAdded: ({ attributes: { shard } }) => this.noteFollowersOf(shard),
      followerRemoved: ({ attributes: { shard } }) => this.noteFollowersOf(shard),
    })
  }

  /** Notes which feeds have followers of a shard. */
  private noteFollowersOf(shard: string): void {
    let count = 0
    let areNamed = false
    for (const { followers } of this.all) {
      const known = followers.shards.get(shard)
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
