import { ValueType } from '@opentelemetry/api'
import { collect, collectLeaders } from '../lag-map/collect.js'
import type { Feed } from '../lag-map/feed.js'
import type { CollectedFollower } from '../lag-map/follower-lag.js'
import type { ReplicationLagGauge } from '../lag-map/replication-lag-gauge.js'
import { toNumber } from '../lag-map/seqno.js'
import { VERSION } from './version.js'

/** The instrumentation scope of every metric. */
export const SCOPE = {
  name: 'opentelemetry-instrumentation-replication-lag',
  version: VERSION,
} as const

/** The name and the description of a metric. All metrics are gauges. */
export interface Descriptor {
  readonly name: string
  readonly description: string
  // A unit in braces is an annotation. The Collector would rename a gauge of unit `1` to `…_ratio`.
  readonly unit: '{seqno}' | '{follower}' | '{source}' | 's'
  readonly valueType: ValueType
}

/**
 * How to read a metric: from a follower, from a follower of a source or of another thread, from a leader's seqno or from a
 * source. `undefined` is not reported.
 */
type Reading =
  | {
      readonly of: 'follower' | 'follower from elsewhere'
      readonly read: (of: CollectedFollower) => number | undefined
    }
  | { readonly of: 'leader'; readonly read: (leaderSeqno: bigint) => number }
  | { readonly of: 'source'; readonly read: (of: Feed) => number | undefined }

/** @internal */
export type Metric = Descriptor & Reading

function metric(
  name: string,
  unit: Descriptor['unit'],
  valueType: ValueType,
  rest: Reading & { description: string },
): Metric {
  return { name, unit, valueType, ...rest }
}

const { INT, DOUBLE } = ValueType

const LAG_SEQNO = metric('replication_lag_seqno', '{seqno}', INT, {
  of: 'follower',
  description: 'How far a follower is behind its leader: leader seqno minus applied seqno.',
  read: ({ lagSeqno }) => lagSeqno,
})

const LAG_SECONDS = metric('replication_lag_seconds', 's', DOUBLE, {
  of: 'follower',
  description: 'The age of the oldest entry that the leader has and a follower has not applied.',
  read: ({ lagSeconds }) => lagSeconds,
})

const RECEIVE_LAG_SEQNO = metric('replication_receive_lag_seqno', '{seqno}', INT, {
  of: 'follower from elsewhere',
  description:
    'How much of its lag a follower has not received: leader seqno minus received seqno.',
  read: ({ receiveLagSeqno }) => receiveLagSeqno,
})

const RETAINED_SEQNO = metric('replication_retained_seqno', '{seqno}', INT, {
  of: 'follower from elsewhere',
  description:
    'How much log the leader keeps for a follower: leader seqno minus the oldest one kept.',
  read: ({ retainedSeqno }) => retainedSeqno,
})

// A u64 does not fit the integers of OTLP, so positions are doubles.
const LEADER_SEQNO = metric('replication_leader_seqno', '{seqno}', DOUBLE, {
  of: 'leader',
  description: "The newest seqno in the leader's log.",
  read: toNumber,
})

const APPLIED_SEQNO = metric('replication_applied_seqno', '{seqno}', DOUBLE, {
  of: 'follower',
  description: 'The newest seqno that a follower has applied.',
  read: ({ appliedSeqno }) => (appliedSeqno === undefined ? undefined : toNumber(appliedSeqno)),
})

const FOLLOWER_CONNECTED = metric('replication_follower_connected', '{follower}', INT, {
  of: 'follower from elsewhere',
  description: 'Whether a follower of a source or of another thread is connected: 1 or 0.',
  read: ({ connected }) => flagOf(connected),
})

const SOURCE_UP = metric('replication_source_up', '{source}', INT, {
  of: 'source',
  description: 'Whether the last read of a source succeeded: 1 or 0.',
  read: ({ isUp }) => flagOf(isUp),
})

const LAST_SUCCESS = metric('replication_source_last_success_timestamp_seconds', 's', DOUBLE, {
  of: 'source',
  description: 'Unix time of the last successful read of a source.',
  read: ({ isUp, lastSuccessSeconds }) => (isUp === undefined ? undefined : lastSuccessSeconds),
})

function flagOf(value: boolean | undefined): number | undefined {
  if (value === undefined) return undefined
  return value ? 1 : 0
}

/** What to report of a lag map. */
export interface ReportOptions {
  /**
   * Whether to report `replication_lag_seconds`. It costs nothing when it is off.
   * @default true
   */
  readonly lagSeconds?: boolean | undefined
  /**
   * Whether to report the positions too, as `replication_leader_seqno` and `replication_applied_seqno`. For leaders and
   * followers in different processes. A leader without followers then has no lag.
   * @default false
   */
  readonly positions?: boolean | undefined
}

/** @internal The same with the defaults filled in. */
export type Report = Readonly<Record<keyof ReportOptions, boolean>>

/** @internal The metrics that these options select, in the order in which they are reported. */
export function selectMetrics({ lagSeconds, positions }: Report): Metric[] {
  return [
    LAG_SEQNO,
    ...(lagSeconds ? [LAG_SECONDS] : []),
    RECEIVE_LAG_SEQNO,
    RETAINED_SEQNO,
    ...(positions ? [LEADER_SEQNO, APPLIED_SEQNO] : []),
    FOLLOWER_CONNECTED,
    SOURCE_UP,
    LAST_SUCCESS,
  ]
}

/** @internal Takes one point of a metric. */
export type Emit = (value: number, attributes: Record<string, string>) => void

/**
 * Reads metrics from a lag map, those of followers in one pass, so that they are of the same moment. Synchronous, without I/O.
 *
 * @internal
 */
export function readMetrics(
  gauge: ReplicationLagGauge,
  metrics: readonly Metric[],
  { positions }: Report,
  emitOf: (metric: Metric) => Emit,
): void {
  const { feeds } = gauge
  const now = performance.now()
  const ofFollowers = metrics.flatMap((metric) =>
    metric.of === 'follower' || metric.of === 'follower from elsewhere'
      ? [{ of: metric.of, read: metric.read, emit: emitOf(metric) }]
      : [],
  )
  // Not asking the application's followers for what only others have saves a quarter of a collection.
  const ofOwnFollowers = ofFollowers.filter((metric) => metric.of === 'follower')
  collect(feeds, now, !positions, (follower) => {
    const isOwn = follower.feed.writer === 'application'
    for (const { read, emit } of isOwn ? ofOwnFollowers : ofFollowers) {
      const value = read(follower)
      if (value !== undefined) emit(value, follower.attributes)
    }
  })
  for (const metric of metrics) {
    if (metric.of === 'leader') {
      const emit = emitOf(metric)
      collectLeaders(feeds, now, (attributes, seqno) => emit(metric.read(seqno), attributes))
    } else if (metric.of === 'source') {
      const emit = emitOf(metric)
      for (const feed of feeds.all) {
        const value = metric.read(feed)
        if (value !== undefined) emit(value, { source: feed.name })
      }
    }
  }
}
