import {
  ReplicationLagGauge,
  ReplicationPoller,
  type FollowerLag,
  type PollingOptions,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { onTestFinished } from 'vitest'
import { recordDiag } from './diag.js'

/** Polls sources until the test ends. */
export function poll(sources: ReplicationSource[], options: PollingOptions = {}) {
  const gauge = new ReplicationLagGauge()
  const poller = new ReplicationPoller({ gauge, sources, pollIntervalMillis: 50, ...options })
  poller.start()
  onTestFinished(() => poller.stop())
  return {
    /** Returns what is reported of one follower. */
    find: (replica: string): FollowerLag | undefined =>
      gauge.collectMetrics().find((lag) => lag.replica === replica),
    names: () => gauge.collectMetrics().map(({ replica }) => replica),
  }
}

/** Records what is logged until the test ends. */
export function recordLog() {
  const log = recordDiag()
  onTestFinished(() => log.stop())
  return log
}
