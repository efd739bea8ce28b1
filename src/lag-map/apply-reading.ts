import { formatValue, log } from '../support/log.js'
import type { Feed, Follower, Leader, ParsedMoment } from './feed.js'
import type { Feeds } from './feeds.js'
import type { ParsedFollower, ParsedReading, ParsedShard } from './reading.js'
import type { Sampling } from './seqno-history.js'

/**
 * Replaces what a source found before by a new reading. The feed must be fresh. It cannot fail.
 * @param sampling stands for this reading: leaders and followers refer to the one that they were last in.
 */
export function applyReading(
  feeds: Feeds,
  feed: Feed,
  reading: ParsedReading,
  sampling: Sampling,
  retentionMillis: number,
): void {
  for (const row of reading.shards) applyShard(feeds, feed, row, sampling)
  for (const shard of feed.followers.keys()) {
    for (const follower of feed.followersOf(shard)) {
      const { status } = follower
      if (!status || status.reading === sampling) continue
      // A follower that is not in the reading was removed, or has disconnected.
      status.isConnected = false
      status.comparedWith = undefined
      status.keepUntil ??= sampling.at + retentionMillis
      if (reading.isComplete || follower.isExpired(sampling.at)) feed.removeFollower(follower)
    }
  }
  for (const [shard, leader] of feed.leaders) {
    const isGone = leader.status?.reading !== sampling && !feed.followers.has(shard)
    if (isGone) feed.removeLeader(shard)
  }
}

function applyShard(feeds: Feeds, feed: Feed, row: ParsedShard, sampling: Sampling): void {
  const { shard, leaderSeqno, epoch, isCascading, problem } = row
  const known = feed.leaders.get(shard)
  // Without a position, there is no history to compare.
  const isSameHistory = leaderSeqno === undefined || known?.status?.epoch === epoch
  if (known && !isSameHistory) feed.removeShard(shard)
  const leader = known && isSameHistory ? known : feed.addLeader(shard)
  const before = leader.status
  if (problem !== undefined && problem !== before?.problem) warn(feed, shardName(shard), problem)
  const status = { problem, reading: sampling }
  leader.status =
    leaderSeqno === undefined
      ? { epoch: undefined, isCascading: false, positionReading: undefined, ...before, ...status }
      : { epoch, isCascading, positionReading: sampling, ...status }
  for (const each of row.followers) applyFollower(feed, shard, each, sampling)
  for (const replica of row.removed) {
    const follower = feed.findFollower(shard, replica)
    if (follower?.status?.reading !== sampling) feed.removeFollower(follower)
  }
  if (leaderSeqno === undefined) return
  leader.store(leaderSeqno)
  sampleLeader(feeds, leader, leaderSeqno, row.followers, sampling)
}

/** Adds where the leader was when each follower was read, and where it is now. */
function sampleLeader(
  feeds: Feeds,
  leader: Leader,
  leaderSeqno: bigint,
  followers: readonly ParsedFollower[],
  sampling: Sampling,
): void {
  const { feed, shard } = leader
  const slowest = feeds.slowestOf(leader, feed.followers.get(shard), sampling.at)
  const moments: ParsedMoment[] = []
  for (const { status } of followers) if (status.comparedWith) moments.push(status.comparedWith)
  if (moments.length > 1) moments.sort((a, b) => a.at - b.at)
  for (const moment of moments) {
    const isNewer = leader.samples === undefined || moment.at > leader.samples.last.at
    if (isNewer) leader.sample(moment.leaderSeqno, slowest, moment)
  }
  // The newest moment usually is that of this position.
  if (moments.at(-1)?.leaderSeqno !== leaderSeqno) leader.sample(leaderSeqno, slowest, sampling)
}

function applyFollower(
  feed: Feed,
  shard: string,
  { replica, appliedSeqno, status }: ParsedFollower,
  sampling: Sampling,
): void {
  const known = feed.findFollower(shard, replica)
  // A follower that comes back after its retention time is a new one.
  const isKept = known && !known.isExpired(sampling.at)
  const follower = isKept ? known : feed.addFollower(shard, replica)
  const before = follower.status
  if (appliedSeqno !== undefined) follower.store(appliedSeqno)
  else {
    // It keeps its last position, which its leader moves away from.
    status.comparedWith = undefined
    status.appliedUpTo = before?.appliedUpTo
  }
  const { problem } = status
  if (problem !== undefined && problem !== before?.problem) {
    warn(feed, `${followerName(follower)} of ${shardName(shard)}`, problem)
  }
  status.reading = sampling
  follower.status = status
}

function warn(feed: Feed, subject: string, problem: string): void {
  log('warn', `source ${formatValue(feed.name)}: ${subject}: ${problem}`)
}

function shardName(shard: string): string {
  return `shard ${formatValue(shard)}`
}

function followerName({ attributes: { replica } }: Follower): string {
  return replica === undefined ? 'follower' : `follower ${formatValue(replica)}`
}
