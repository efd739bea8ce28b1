import { ValueType, type Attributes, type MetricOptions } from '@opentelemetry/api'
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

/** A metric: how it is called, and how its points are read from a lag map. All of them are gauges. */
export interface Metric extends Required<
  Pick<MetricOptions, 'description' | 'unit' | 'valueType'>
> {
  readonly name: string
  /** Synchronous, without I/O: it only reads the map. */
  collect(gauge: ReplicationLagGauge, emit: Emit): void
}

// A unit in braces is an annotation: a gauge of unit `1` would be renamed to `…_ratio` by the Collector.
// The attributes `shard` and `replica` are the fields of FollowerId.

/**
 * With `positions`, a leader and its followers may be in different processes, so a leader that has no follower here is
 * not taken for one whose follower has applied nothing.
 */
const lagSeqno = ({ positions }: MetricSelection): Metric => ({
  name: 'replication_lag_seqno',
  description: 'How far a follower is behind its leader: leader seqno minus applied seqno.',
  unit: '{seqno}',
  valueType: ValueType.INT,
  collect: (gauge, emit) => {
    gauge.forEachFollower((follower, leaderSeqno, appliedSeqno) => {
      emit(lagBetween(leaderSeqno, appliedSeqno ?? 0n), follower)
    }, !positions)
  },
})

const lagSeconds = ({ positions }: MetricSelection): Metric => ({
  name: 'replication_lag_seconds',
  description: 'For how long the leader has had the oldest entry that a follower has not applied.',
  unit: 's',
  valueType: ValueType.DOUBLE,
  collect: (gauge, emit) => {
    gauge.forEachLagSeconds((follower, seconds) => emit(seconds, follower), !positions)
  },
})

const LEADER_SEQNO: Metric = {
  name: 'replication_leader_seqno',
  description: "The newest seqno in the leader's log.",
  unit: '{seqno}',
  valueType: ValueType.INT,
  collect: (gauge, emit) => {
    gauge.forEachLeader((shard, leaderSeqno) => {
      emit(Number(leaderSeqno), { shard })
    })
  },
}

const APPLIED_SEQNO: Metric = {
  name: 'replication_applied_seqno',
  description: 'The newest seqno that a follower has applied.',
  unit: '{seqno}',
  valueType: ValueType.INT,
  collect: (gauge, emit) => {
    gauge.forEachApplied((follower, appliedSeqno) => {
      emit(Number(appliedSeqno), follower)
    })
  },
}

const FOLLOWER_CONNECTED: Metric = {
  name: 'replication_follower_connected',
  description: 'Whether a follower that a source reports is connected to its leader: 1 or 0.',
  unit: '{follower}',
  valueType: ValueType.INT,
  collect: (gauge, emit) => {
    for (const source of gauge.sources) {
      source.forEachFollower((follower, isConnected) => {
        emit(isConnected ? 1 : 0, follower)
      })
    }
  },
}

const SOURCE_UP: Metric = {
  name: 'replication_source_up',
  description: 'Whether the last read of a source succeeded: 1 or 0.',
  unit: '{source}',
  valueType: ValueType.INT,
  collect: (gauge, emit) => {
    for (const source of gauge.sources) emit(source.isUp ? 1 : 0, { source: source.name })
  },
}

const SOURCE_LAST_SUCCESS: Metric = {
  name: 'replication_source_last_success_timestamp_seconds',
  description: 'When a source was last read with success, in seconds since 1970.',
  unit: 's',
  valueType: ValueType.DOUBLE,
  collect: (gauge, emit) => {
    for (const { name, lastSuccessSeconds } of gauge.sources) {
      if (lastSuccessSeconds !== undefined) emit(lastSuccessSeconds, { source: name })
    }
  },
}

/** The metrics that are selected, in the order in which they are reported. */
export function selectMetrics(selection: MetricSelection): Metric[] {
  return [
    lagSeqno(selection),
    ...(selection.lagSeconds ? [lagSeconds(selection)] : []),
    ...(selection.positions ? [LEADER_SEQNO, APPLIED_SEQNO] : []),
    ...(selection.health ? [FOLLOWER_CONNECTED, SOURCE_UP, SOURCE_LAST_SUCCESS] : []),
  ]
}
