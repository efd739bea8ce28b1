import { ValueType, type Attributes, type MetricOptions } from '@opentelemetry/api'
import type { FollowerId } from './follower.js'
import type { ReplicationLagGauge } from './replication-lag-gauge.js'
import { lagBetween } from './seqno.js'
import { VERSION } from './version.js'

/** The instrumentation scope of every metric. */
export const SCOPE = {
  name: 'opentelemetry-instrumentation-replication-lag',
  version: VERSION,
} as const

/** Which of the metrics to report. */
export interface MetricSelection {
  /** The positions themselves, beside the lag. */
  readonly positions: boolean
  /** The lag in seconds as well. */
  readonly lagSeconds: boolean
  /** The health of sources and of the followers that they report: an instrument costs something without points, too. */
  readonly health: boolean
}

/** Takes one point of a metric. */
export type Emit = (value: number, attributes: Attributes) => void

/** How a metric is called. All of them are gauges. */
export interface Metric extends Required<
  Pick<MetricOptions, 'description' | 'unit' | 'valueType'>
> {
  readonly name: string
}

/** Metrics that are read from a lag map together, so that they tell of the same moment. */
export interface MetricGroup {
  readonly metrics: readonly Metric[]
  /**
   * Synchronous, without I/O: it only reads the map.
   *
   * @param emits one for each of the metrics.
   */
  collect(gauge: ReplicationLagGauge, ...emits: Emit[]): void
}

/** A group, with as many emits as it has metrics. */
function group<Metrics extends [Metric, ...Metric[]]>(
  metrics: Metrics,
  collect: (gauge: ReplicationLagGauge, ...emits: { [I in keyof Metrics]: Emit }) => void,
): MetricGroup {
  return { metrics, collect }
}

// A unit in braces is an annotation: a gauge of unit `1` would be renamed to `…_ratio` by the Collector.
// The attributes `shard` and `replica` are the fields of FollowerId.

const LAG_SEQNO: Metric = {
  name: 'replication_lag_seqno',
  description: 'How far a follower is behind its leader: leader seqno minus applied seqno.',
  unit: '{seqno}',
  valueType: ValueType.INT,
}

const LAG_SECONDS: Metric = {
  name: 'replication_lag_seconds',
  description: 'For how long the leader has had the oldest entry that a follower has not applied.',
  unit: 's',
  valueType: ValueType.DOUBLE,
}

const LEADER_SEQNO: Metric = {
  name: 'replication_leader_seqno',
  description: "The newest seqno in the leader's log.",
  unit: '{seqno}',
  valueType: ValueType.INT,
}

const APPLIED_SEQNO: Metric = {
  name: 'replication_applied_seqno',
  description: 'The newest seqno that a follower has applied.',
  unit: '{seqno}',
  valueType: ValueType.INT,
}

const FOLLOWER_CONNECTED: Metric = {
  name: 'replication_follower_connected',
  description: 'Whether a follower that a source reports is connected to its leader: 1 or 0.',
  unit: '{follower}',
  valueType: ValueType.INT,
}

const SOURCE_UP: Metric = {
  name: 'replication_source_up',
  description: 'Whether the last read of a source succeeded: 1 or 0.',
  unit: '{source}',
  valueType: ValueType.INT,
}

const SOURCE_LAST_SUCCESS: Metric = {
  name: 'replication_source_last_success_timestamp_seconds',
  description: 'When a source was last read with success, in seconds since 1970.',
  unit: 's',
  valueType: ValueType.DOUBLE,
}

/**
 * With `positions`, a leader and its followers may be in different processes, so a leader that has no follower here is
 * not taken for one whose follower has applied nothing.
 */
const lagSeqno = ({ positions }: MetricSelection) =>
  group([LAG_SEQNO], (gauge, emit) => {
    gauge.forEachFollower((follower, leaderSeqno, appliedSeqno) => {
      emit(lagBetween(leaderSeqno, appliedSeqno ?? 0n), follower)
    }, !positions)
  })

const lagSeqnoAndSeconds = ({ positions }: MetricSelection) =>
  group([LAG_SEQNO, LAG_SECONDS], (gauge, emitSeqno, emitSeconds) => {
    gauge.forEachLag((follower, lagSeqno, lagSeconds) => {
      emitSeqno(lagSeqno, follower)
      if (lagSeconds !== undefined) emitSeconds(lagSeconds, follower)
    }, !positions)
  })

const positions = [
  group([LEADER_SEQNO], (gauge, emit) => {
    gauge.forEachLeader((shard, leaderSeqno) => emit(Number(leaderSeqno), { shard }))
  }),
  group([APPLIED_SEQNO], (gauge, emit) => {
    gauge.forEachApplied((follower, appliedSeqno) => emit(Number(appliedSeqno), follower))
  }),
]

const health = [
  group([FOLLOWER_CONNECTED], (gauge, emit) => {
    const [first, ...others] = gauge.sources
    if (others.length === 0) {
      first?.forEachFollower((follower, isConnected) => emit(isConnected ? 1 : 0, follower))
      return
    }
    // Several may report the same follower: it is connected where one of them says so.
    const followers = new Map<string, { follower: FollowerId; isConnected: boolean }>()
    for (const source of gauge.sources) {
      source.forEachFollower((follower, isConnected) => {
        const key = JSON.stringify([follower.shard, follower.replica])
        const known = followers.get(key)
        if (!known) followers.set(key, { follower, isConnected })
        else known.isConnected ||= isConnected
      })
    }
    for (const { follower, isConnected } of followers.values()) emit(isConnected ? 1 : 0, follower)
  }),
  group([SOURCE_UP, SOURCE_LAST_SUCCESS], (gauge, emitUp, emitLastSuccess) => {
    // Two instrumentations of one gauge may each have a source of the same name.
    const sources = new Map([...gauge.sources].map((source) => [source.name, source]))
    for (const { name, isUp, lastSuccessSeconds } of sources.values()) {
      emitUp(isUp ? 1 : 0, { source: name })
      if (lastSuccessSeconds !== undefined) emitLastSuccess(lastSuccessSeconds, { source: name })
    }
  }),
]

/** The metrics that are selected, in the order in which they are reported. */
export function selectMetrics(selection: MetricSelection): MetricGroup[] {
  return [
    selection.lagSeconds ? lagSeqnoAndSeconds(selection) : lagSeqno(selection),
    ...(selection.positions ? positions : []),
    ...(selection.health ? health : []),
  ]
}
