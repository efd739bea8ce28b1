import { setTimeout as sleep } from 'node:timers/promises'
import type { FollowerLag } from '../lag-map/follower-lag.js'
import { ReplicationLagGauge } from '../lag-map/replication-lag-gauge.js'
import type { ReplicationLagOptions } from '../otel/options.js'
import { ReplicationPoller } from '../polling/replication-poller.js'
import { keyOf, nameOf, renderTable } from './table.js'
import { describeSource, findByteShards, type WatchedSource } from './watched-source.js'

/** So that there is an answer within five seconds. */
const TIMEOUT_MILLIS = 4000
const INTERVAL_MILLIS = 1000
const CHECK_MILLIS = 20

/** What was found by one look at all sources. */
export interface Finding {
  readonly sources: readonly { name: string; up: boolean; error?: string }[]
  readonly followers: readonly FollowerLag[]
  /** What is not as it should be. Then the command exits with 1. */
  readonly problems: readonly string[]
}

/**
 * Reads every source once.
 *
 * @param maxSeconds how far behind a follower may be. To find that out takes as long, if a follower is that far behind.
 */
export async function look(
  options: ReplicationLagOptions,
  sources: readonly WatchedSource[],
  maxSeconds: number | undefined,
): Promise<Finding> {
  const gauge = new ReplicationLagGauge()
  const poller = new ReplicationPoller({
    gauge,
    sources,
    pollIntervalMillis: INTERVAL_MILLIS,
    pollTimeoutMillis: Math.min(options.pollTimeoutMillis ?? Infinity, TIMEOUT_MILLIS),
  })
  poller.start()
  const hasRead = () => sources.every(({ isUp }) => isUp !== undefined)
  while (!hasRead()) await sleep(CHECK_MILLIS)
  const followers =
    maxSeconds === undefined ? gauge.collectMetrics() : await measure(gauge, maxSeconds)
  const finding = describe(sources, followers, maxSeconds)
  poller.stop()
  return finding
}

/**
 * Waits until it is known whether each follower is further behind than allowed. At the first reading, only those that have
 * applied everything are known not to be. The others must apply what their leader had written by then.
 */
async function measure(gauge: ReplicationLagGauge, maxSeconds: number): Promise<FollowerLag[]> {
  const end = performance.now() + maxSeconds * 1000
  const goals = new Map(gauge.collectMetrics().map((lag) => [keyOf(lag), lag.leaderSeqno]))
  const isKnown = (lag: FollowerLag) => {
    const { lagSeqno, appliedSeqno, connected } = lag
    const goal = goals.get(keyOf(lag))
    if (connected === false || lagSeqno === undefined || lagSeqno <= 0) return true
    return goal !== undefined && appliedSeqno !== undefined && appliedSeqno >= goal
  }
  for (;;) {
    const followers = gauge.collectMetrics()
    if (followers.every(isKnown)) return followers
    // What a follower still lacks was written before the first reading.
    if (performance.now() > end) {
      const elapsed = (performance.now() - end) / 1000 + maxSeconds
      return followers.map((lag) =>
        isKnown(lag) ? lag : { ...lag, lagSeconds: Math.max(lag.lagSeconds ?? 0, elapsed) },
      )
    }
    await sleep(CHECK_MILLIS)
  }
}

function describe(
  sources: readonly WatchedSource[],
  followers: readonly FollowerLag[],
  maxSeconds: number | undefined,
): Finding {
  const ofSources = sources.flatMap(describeSource)
  const ofFollowers = followers.flatMap((lag) => {
    if (lag.connected === false) return `${nameOf(lag)} is not connected`
    if (maxSeconds === undefined) return []
    if (lag.lagSeconds === undefined) return `${nameOf(lag)}: its lag in seconds is not known`
    if (lag.lagSeconds <= maxSeconds) return []
    return `${nameOf(lag)} is ${lag.lagSeconds.toFixed(1)} s behind, more than ${maxSeconds}`
  })
  return {
    sources: sources.map(({ name, isUp, failure }) =>
      isUp ? { name, up: true } : { name, up: false, error: failure },
    ),
    followers,
    problems: [...ofSources, ...ofFollowers],
  }
}

/** Returns what to print of it. */
export function format(
  { followers, ...rest }: Finding,
  as: 'table' | 'json',
  sources: readonly WatchedSource[],
  columns: number,
): string {
  const sorted = [...followers].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
  if (as === 'json') return JSON.stringify({ ...rest, followers: sorted }, undefined, 2)
  const byteShards = findByteShards(sources)
  return renderTable(sorted, { columns, colors: false, byteShards }).join('\n')
}
