import { MessageChannel } from 'node:worker_threads'
import type { ReplicationState } from 'opentelemetry-instrumentation-replication-lag'
import {
  ReplicationLagGauge,
  type AtomicSeqno,
  type FollowerLag,
  type Seqno,
} from 'opentelemetry-instrumentation-replication-lag'

// Checked with each SDK version, by `npm run check` and types.slow.test.ts. It never runs.

/** What the package returns has these types. */
export function read(gauge: ReplicationLagGauge, state: ReplicationState, seqno: Seqno) {
  const leader: AtomicSeqno = gauge.leader(7)
  const isStored: boolean = leader.store(seqno)
  const position: bigint = leader.load()
  const applied: bigint | undefined = state.appliedSeqno('7', 'berlin')
  const lag: number = gauge.lagSeqno('7')
  const seconds: number | undefined = gauge.lagSeconds('7')
  const lags: FollowerLag[] = gauge.collectMetrics()
  const isRemoved: boolean = gauge.remove('7')
  const rejected: number = gauge.rejectedUpdates + state.rejectedUpdates
  return { isStored, position, applied, lag, seconds, lags, isRemoved, rejected }
}

/** The ports of Node fit. */
export function connect(here: ReplicationLagGauge, there: ReplicationLagGauge): () => void {
  const { port1, port2 } = new MessageChannel()
  there.subscribe(port2)
  there.subscribe(port2, { retentionMillis: 1000 })
  return here.publish(port1)
}

/** Misuse does not compile. */
export function misuse(gauge: ReplicationLagGauge, state: ReplicationState, lag: FollowerLag) {
  // @ts-expect-error a seqno is not a string
  gauge.updateLeaderSeqno('7', '130')
  // @ts-expect-error a seqno is required
  gauge.updateAppliedSeqno('7')
  // @ts-expect-error a shard is not a bigint
  gauge.updateLeaderSeqno(7n, 130n)
  // @ts-expect-error a replica has a name or is left out
  gauge.updateAppliedSeqno('7', 130n, null)
  // @ts-expect-error a follower that was never seen has no seqno
  const applied: bigint = state.appliedSeqno('7')
  // @ts-expect-error a lag is a number
  const lagSeqno: bigint = gauge.lagSeqno('7')
  // @ts-expect-error a lag in seconds can be unknown
  const lagSeconds: number = gauge.lagSeconds('7')
  // @ts-expect-error a snapshot is read-only
  lag.lagSeqno = 0
  // @ts-expect-error a gauge takes its state, and no options
  new ReplicationLagGauge({ state })
  // @ts-expect-error a handle stores a seqno
  gauge.leader('7').store('130')
  // @ts-expect-error a port, not a gauge
  gauge.publish(gauge)
  // @ts-expect-error an option that does not exist
  gauge.subscribe(new MessageChannel().port1, { retention: 1000 })
  return { applied, lagSeqno, lagSeconds }
}
