import { unref } from '../support/timers.js'
import type { ShardFollowers } from './feed.js'
import type { Feeds } from './feeds.js'
import type { Sampling } from './seqno-history.js'

/**
 * Samples the leaders of the application and of other threads once a second, to measure lag in seconds. Leaders of sources
 * are sampled when they are read. The timer keeps neither the process nor the lag map alive.
 */
export function startSampling(feeds: Feeds): void {
  if (feeds.lastSampling) return
  sampleLeaders(feeds)
  const held = new WeakRef(feeds)
  const timer = setInterval(() => {
    const alive = held.deref()
    if (alive) sampleLeaders(alive)
    else clearInterval(timer)
  }, 1000)
  unref(timer)
}

function sampleLeaders(feeds: Feeds): void {
  const sampling: Sampling = { at: performance.now() }
  feeds.lastSampling = sampling
  const sampled = feeds.all.filter(({ writer }) => writer !== 'source')
  for (const feed of sampled) {
    for (const followers of feed.followers.shards.values()) {
      const leader = feeds.leaderOf(feed, followers, sampling.at)
      if (!leader) continue
      const noted = leader.slowestNoted === sampling ? leader.slowestSeqno : undefined
      leader.slowestSeqno = slowestOf(followers, noted)
      leader.slowestNoted = sampling
    }
  }
  for (const feed of sampled) {
    for (const leader of feed.leaders.values()) {
      const seqno = leader.load()
      if (seqno === undefined) continue
      const slowest = leader.slowestNoted === sampling ? leader.slowestSeqno : undefined
      leader.note(seqno, slowest ?? (feeds.lone.has(leader) ? 'lone' : undefined), sampling)
      leader.slowestSeqno = undefined
    }
  }
}

/** What the slowest follower has applied, 0 if one has applied nothing; or `noted`, if that is lower. */
function slowestOf({ unnamed, replicas }: ShardFollowers, noted: bigint | undefined) {
  let slowest = unnamed ? lower(unnamed.load(), noted) : noted
  if (replicas) for (const replica of replicas.values()) slowest = lower(replica.load(), slowest)
  return slowest
}

function lower(seqno = 0n, other = seqno): bigint {
  return seqno < other ? seqno : other
}
