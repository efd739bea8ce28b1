export { AtomicSeqno } from './lag-map/atomic-seqno.js'
export type { FollowerLag } from './lag-map/follower-lag.js'
export { ReplicationLagGauge } from './lag-map/replication-lag-gauge.js'
export { ReplicationState } from './lag-map/replication-state.js'
export type { Seqno } from './lag-map/seqno.js'
export type { SubscribeOptions, ThreadPort } from './lag-map/thread-link.js'
export {
  ReplicationLagInstrumentation,
  type ReplicationLagInstrumentationConfig,
} from './otel/instrumentation.js'
export { ReplicationLagMetricProducer } from './otel/metric-producer.js'
export type { ReplicationLagOptions } from './otel/options.js'
export {
  ReplicationPoller,
  type PollingOptions,
  type ReplicationPollerOptions,
} from './polling/replication-poller.js'
export type {
  FollowerReading,
  LeaderMoment,
  ReplicationReading,
  ReplicationSource,
  ShardReading,
} from './sources/source.js'
export type { ReplicaId, ShardId } from './support/names.js'
