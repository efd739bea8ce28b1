import {
  AtomicSeqno,
  ReplicationLagGauge,
  type ReplicationState,
  type FollowerLag,
  type Seqno,
  type SharedReplicationLagGauge,
  type SharedSeqno,
} from 'opentelemetry-instrumentation-replication-lag'

// Checked by types.test.ts, once with each line of the SDK; never run.

/** What the package gives back has these types. */
export function read(gauge: ReplicationLagGauge, state: ReplicationState, seqno: Seqno) {
  const leader: AtomicSeqno = gauge.leader(7)
  leader.store(seqno)
  const position: bigint = leader.load()
  const applied: bigint | undefined = state.appliedSeqno('7', 'berlin')
  const lag: number = gauge.lagSeqno('7')
  const lags: FollowerLag[] = gauge.collectMetrics()
  const removed: boolean = gauge.remove('7')
  return { position, applied, lag, lags, removed }
}

/** What is shared is passed on as it is. */
export function share(gauge: ReplicationLagGauge, register: AtomicSeqno) {
  const shared: SharedReplicationLagGauge = gauge.share()
  const sharedRegister: SharedSeqno = register.share()
  const attached: ReplicationLagGauge = ReplicationLagGauge.attach(shared)
  const attachedRegister: AtomicSeqno = AtomicSeqno.attach(sharedRegister)
  return { attached, attachedRegister }
}

/** What cannot work does not compile. */
export function misuse(gauge: ReplicationLagGauge, state: ReplicationState, lag: FollowerLag) {
  // @ts-expect-error a seqno is no string
  gauge.updateLeaderSeqno('7', '130')
  // @ts-expect-error a seqno is needed
  gauge.updateAppliedSeqno('7')
  // @ts-expect-error a shard is no bigint
  gauge.updateLeaderSeqno(7n, 130n)
  // @ts-expect-error a replica has a name or is left out
  gauge.updateAppliedSeqno('7', 130n, null)
  // @ts-expect-error what was never applied has no seqno
  const applied: bigint = state.appliedSeqno('7')
  // @ts-expect-error a lag is a number
  const bytes: bigint = gauge.lagSeqno('7')
  // @ts-expect-error a snapshot is read only
  lag.lagSeqno = 0
  // @ts-expect-error a gauge takes its state, no options
  new ReplicationLagGauge({ state })
  // @ts-expect-error a register holds a seqno
  new AtomicSeqno('130')
  // @ts-expect-error a gauge is shared first
  ReplicationLagGauge.attach(gauge)
  // @ts-expect-error a register is shared first
  AtomicSeqno.attach(gauge.leader('7'))
  return { applied, bytes }
}
