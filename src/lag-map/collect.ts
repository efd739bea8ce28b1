import type { Feed, Follower, FollowerAttributes, Leader, ShardFollowers } from './feed.js'
import type { Feeds } from './feeds.js'
import { CollectedFollower, isConnected } from './follower-lag.js'

/**
 * How long a leader of another thread can be without followers before it counts as having none. Their announcements may
 * still be in flight.
 */
const LONE_MILLIS = 1000

/**
 * Visits every follower that may be reported, each once. Synchronous and without I/O.
 * @param countLone whether a leader without followers counts as one unnamed follower.
 * @param visit receives one object that is refilled for each follower.
 */
export function collect(
  feeds: Feeds,
  now: number,
  countLone: boolean,
  visit: (collected: CollectedFollower) => void,
): void {
  feeds.expire(now)
  const collected = new CollectedFollower(feeds.application, now)
  feeds.collected = collected
  for (const feed of feeds.all) {
    if (feed.freshUntil < now) continue
    for (const followers of feed.followers.values()) {
      const known = feeds.leaderOf(feed, followers, now)
      const leader = known?.isStale(now) ? undefined : known
      const isContested = feeds.contested.size > 0 && feeds.contested.has(followers.shard)
      const { unnamed, replicas } = followers
      if (
        unnamed &&
        !(isContested && isSurpassed(feeds, unnamed, now)) &&
        !unnamed.isExpired(now)
      ) {
        collected.set(feed, unnamed, leader)
        visit(collected)
      }
      if (!replicas) continue
      for (const follower of replicas.values()) {
        if (follower.isExpired(now) || (isContested && isSurpassed(feeds, follower, now))) continue
        collected.set(feed, follower, leader)
        visit(collected)
      }
    }
  }
  if (!countLone) return
  for (const leader of feeds.lone.keys()) {
    if (!isReportedLone(feeds, leader, now)) continue
    collected.set(leader.feed, undefined, leader)
    visit(collected)
  }
}

/** Visits every leader that may be reported, one for each shard. */
export function collectLeaders(
  feeds: Feeds,
  now: number,
  visit: (attributes: FollowerAttributes, leaderSeqno: bigint) => void,
): void {
  const seen = new Set<string>()
  for (const feed of feeds.all) {
    if (feed.freshUntil < now) continue
    for (const shard of feed.leaders.keys()) {
      if (seen.has(shard)) continue
      seen.add(shard)
      const leader = feeds.leaderOfShard(shard, now)
      if (leader) visit({ shard }, leader.load() as bigint)
    }
  }
}

/** Returns what is known of one follower, even if it is stale; `undefined` if no feed has the follower. */
export function collectOne(
  feeds: Feeds,
  shard: string,
  replica: string | undefined,
  now: number,
): { collected: CollectedFollower; isFresh: boolean } | undefined {
  feeds.expire(now)
  const collected = new CollectedFollower(feeds.application, now)
  const found = findBest(feeds, shard, replica, now)
  if (found) {
    const { feed, followers, follower } = found
    const leader = feeds.leaderOf(feed, followers, now)
    // If only stale feeds know the leader, use its last known position.
    collected.set(feed, follower, leader ?? feeds.leaderOf(feed, followers, -Infinity))
    const isFresh = leader !== undefined && !leader.isStale(now) && feed.freshUntil >= now
    return { collected, isFresh }
  }
  const leader = replica === undefined ? feeds.leaderOfShard(shard, now) : undefined
  if (!leader || !isReportedLone(feeds, leader, now)) return undefined
  collected.set(leader.feed, undefined, leader)
  return { collected, isFresh: true }
}

function isReportedLone(feeds: Feeds, leader: Leader, now: number): boolean {
  const { feed, shard } = leader
  const since = feeds.lone.get(leader)
  if (since === undefined || !feed.isOpen) return false
  if (feed.writer === 'thread' && now - since < LONE_MILLIS) return false
  return feeds.leaderOfShard(shard, now) === leader
}

/** Whether another feed has the same follower that takes precedence. */
function isSurpassed(feeds: Feeds, follower: Follower, now: number): boolean {
  const { shard, replica } = follower.attributes
  return findBest(feeds, shard, replica, now)?.follower !== follower
}

/** A follower, and where it is. */
type Found = Readonly<{ feed: Feed; followers: ShardFollowers; follower: Follower }>

/** The follower in the feed that takes precedence; a stale one only if there is no other. */
function findBest(feeds: Feeds, shard: string, replica: string | undefined, now: number) {
  let best: Found | undefined
  for (const feed of feeds.all) {
    const followers = feed.followers.get(shard)
    const follower = followers?.get(replica)
    if (!followers || !follower || follower.isExpired(now)) continue
    const found = { feed, followers, follower }
    if (!best || compare(found, best, now) >= 0) best = found
  }
  return best
}

/**
 * Compares two feeds; positive if the first takes precedence. A fresh one before a stale one. One without
 * a position comes last: a worker that was restarted and has stored nothing yet must not show the whole log as lag. Then
 * the application's own comes first, then one in which the follower is connected, then one that has the leader itself, then
 * the one that was read last.
 */
function compare(a: Found, b: Found, now: number): number {
  const order = (is: (found: Found) => boolean) => Number(is(a)) - Number(is(b))
  return (
    order(({ feed }) => feed.freshUntil >= now) ||
    order(({ follower }) => follower.load() !== undefined) ||
    order(({ feed }) => feed.writer === 'application') ||
    order(({ feed, follower }) => isConnected(feed, follower)) ||
    order(
      ({ feed, followers }) => feed.leaders.get(followers.shard)?.status?.isCascading !== true,
    ) ||
    (a.feed.readAt < b.feed.readAt ? -1 : 1)
  )
}
