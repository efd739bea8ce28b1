/** @import { FollowerLag, ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag' */
import { Gauge, register } from 'prom-client'

/** @type {Record<string, (follower: FollowerLag) => number | undefined>} */
const metrics = {
  replication_lag_seqno: ({ lagSeqno }) => lagSeqno,
  replication_lag_seconds: ({ lagSeconds }) => lagSeconds,
  replication_follower_connected: ({ connected }) =>
    connected === undefined ? undefined : Number(connected),
}

/**
 * Adds the followers of a lag map to the metrics of prom-client.
 *
 * @param {ReplicationLagGauge} gauge
 */
export function registerReplicationLag(gauge, registry = register) {
  for (const [name, valueOf] of Object.entries(metrics)) {
    new Gauge({
      name,
      help: 'See the documentation of opentelemetry-instrumentation-replication-lag.',
      labelNames: ['shard', 'replica'],
      registers: [registry],
      collect() {
        this.reset() // otherwise removed followers would remain
        for (const follower of gauge.collectMetrics()) {
          const { shard, replica = '' } = follower
          const value = valueOf(follower)
          if (value !== undefined) this.set({ shard, replica }, value)
        }
      },
    })
  }
}
