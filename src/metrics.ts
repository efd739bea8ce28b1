import { ValueType, type MetricOptions } from '@opentelemetry/api'
import { VERSION } from './version.js'

/** A metric as both attachments report it. */
export interface MetricDefinition extends Required<
  Pick<MetricOptions, 'description' | 'unit' | 'valueType'>
> {
  readonly name: string
}

/** The instrumentation scope of every metric. */
export const SCOPE = {
  name: 'opentelemetry-instrumentation-replication-lag',
  version: VERSION,
} as const

/**
 * `replication_lag_seqno`: leader seqno − applied seqno of every follower.
 * Its attributes are the fields of FollowerId: `shard` and, where the follower is named, `replica`.
 * The unit is an annotation because the Collector renames a gauge of unit `1` to `…_ratio`.
 */
export const LAG_SEQNO: MetricDefinition = {
  name: 'replication_lag_seqno',
  description: 'How far a follower is behind its leader: leader seqno minus applied seqno.',
  unit: '{seqno}',
  valueType: ValueType.INT,
}
