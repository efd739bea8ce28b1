import { unref } from '../support/timers.js'
import type { Leader } from './feed.js'
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
  const isDue = ({ feed, samples }: Leader) =>
    feed.writer !== 'source' && samples?.last !== sampling
  for (const feed of feeds.all) {
    for (const followers of feed.followers.values()) {
      const leader = feeds.leaderOf(feed, followers, sampling.at)
      if (!leader || !isDue(leader)) continue
      const slowest = feeds.slowestOf(leader, followers, sampling.at)
      leader.sample(leader.load() as bigint, slowest, sampling)
    }
  }
  for (const { leaders } of feeds.all) {
    for (const leader of leaders.values()) {
      const seqno = isDue(leader) ? leader.load() : undefined
      if (seqno === undefined) continue
      leader.sample(seqno, feeds.lone.has(leader) ? 'lone' : undefined, sampling)
    }
  }
}
