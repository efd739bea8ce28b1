import {
  ReplicationLagGauge,
  ReplicationPoller,
  type FollowerLag,
  type PollingOptions,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, onTestFinished } from 'vitest'
import { recordDiag } from './diag.js'
import { eventually } from './eventually.js'

/** Polls sources until the test ends. */
export function poll(sources: ReplicationSource[], options: PollingOptions = {}) {
  const gauge = new ReplicationLagGauge()
  const poller = new ReplicationPoller({ gauge, sources, pollIntervalMillis: 50, ...options })
  poller.start()
  onTestFinished(() => poller.stop())
  const find = (replica: string): FollowerLag | undefined =>
    gauge.collectMetrics().find((lag) => lag.replica === replica)
  const names = () => gauge.collectMetrics().map(({ replica }) => replica)
  return {
    /** Returns what is reported of one follower. */
    find,
    names,
    /** Waits until this is reported of one follower. */
    until: (replica: string, expected: Partial<FollowerLag>) =>
      eventually(() => expect(find(replica)).toMatchObject(expected)),
    /** Waits until these followers are reported, and no others. */
    untilNames: (expected: readonly string[]) =>
      eventually(() => expect(names().sort()).toEqual(expected)),
  }
}

/** Records what is logged until the test ends. */
export function recordLog() {
  const log = recordDiag()
  onTestFinished(() => log.stop())
  return log
}
