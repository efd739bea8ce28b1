export { AtomicSeqno, type SharedSeqno } from './atomic-seqno.js'
export type { FollowerId, ReplicaId, ShardId } from './follower.js'
export { ReplicationLagInstrumentation } from './instrumentation.js'
export type { ReplicationLagInstrumentationConfig } from './config.js'
export {
  ReplicationLagMetricProducer,
  type ReplicationLagMetricProducerOptions,
  type GaugeData,
  type GaugePoint,
  type ProducedMetrics,
} from './metric-producer.js'
export {
  ReplicationLagGauge,
  type FollowerLag,
  type ReplicationLagGaugeOptions,
} from './replication-lag-gauge.js'
export { ReplicationState } from './replication-state.js'
export type { Seqno } from './seqno.js'
export type { SharedReplicationLagGauge } from './shared-gauge.js'
export type {
  FollowerReading,
  ReplicationReading,
  ReplicationSource,
  ShardReading,
} from './sources/source.js'
