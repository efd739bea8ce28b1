import type { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'

/** Creates a lag map of another version of this package: it looks like one, and cannot be collected. */
export function createForeignGauge(): ReplicationLagGauge {
  const methods = ['updateLeaderSeqno', 'collectMetrics', 'lagSeconds', 'subscribe']
  const gauge = Object.fromEntries(methods.map((method) => [method, () => undefined]))
  return gauge as unknown as ReplicationLagGauge
}
