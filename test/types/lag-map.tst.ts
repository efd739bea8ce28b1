import { MessageChannel, type MessagePort } from 'node:worker_threads'
import {
  ReplicationLagGauge,
  type AtomicSeqno,
  type FollowerLag,
  type ReplicationState,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, test } from 'tstyche'

declare const gauge: ReplicationLagGauge
declare const state: ReplicationState
declare const lag: FollowerLag
declare const port: MessagePort

test('updates take names that are strings or numbers, and seqnos that are bigints or numbers', () => {
  expect(gauge.updateLeaderSeqno).type.toBeCallableWith('7', 130n)
  expect(gauge.updateLeaderSeqno).type.toBeCallableWith(7, 130)
  expect(gauge.updateLeaderSeqno).type.not.toBeCallableWith('7', '130')
  expect(gauge.updateLeaderSeqno).type.not.toBeCallableWith(7n, 130n)
  expect(gauge.updateLeaderSeqno).type.not.toBeCallableWith('7')
})

test('a replica has a name or is left out', () => {
  expect(gauge.updateAppliedSeqno).type.toBeCallableWith('7', 130n, 'berlin')
  expect(gauge.updateAppliedSeqno).type.toBeCallableWith('7', 130n)
  expect(gauge.updateAppliedSeqno).type.not.toBeCallableWith('7', 130n, null)
  expect(gauge.updateAppliedSeqno).type.not.toBeCallableWith('7')
})

test('a handle stores a seqno, and loads a bigint', () => {
  expect(gauge.leader(7)).type.toBe<AtomicSeqno>()
  expect(gauge.applied(7, 'berlin')).type.toBe<AtomicSeqno>()
  expect(state.applied(7)).type.toBe<AtomicSeqno>()
  expect(gauge.leader('7').store).type.toBeCallableWith(130)
  expect(gauge.leader('7').store).type.not.toBeCallableWith('130')
  expect(gauge.leader('7').store(130n)).type.toBe<boolean>()
  expect(gauge.leader('7').load()).type.toBe<bigint>()
})

test('a lag is a number, and a lag in seconds can be unknown', () => {
  expect(gauge.lagSeqno('7', 'berlin')).type.toBe<number>()
  expect(gauge.lagSeconds('7', 'berlin')).type.toBe<number | undefined>()
  expect(gauge.remove('7')).type.toBe<boolean>()
  expect(gauge.rejectedUpdates).type.toBe<number>()
})

test('a follower that was never seen has no seqno', () => {
  expect(state.appliedSeqno('7', 'berlin')).type.toBe<bigint | undefined>()
})

test('a snapshot is read-only', () => {
  expect(gauge.collectMetrics()).type.toBe<FollowerLag[]>()
  expect(lag).type.toBe<Readonly<FollowerLag>>()
})

test('a gauge takes its state, and no options', () => {
  expect(ReplicationLagGauge).type.toBeConstructableWith()
  expect(ReplicationLagGauge).type.toBeConstructableWith(state)
  expect(ReplicationLagGauge).type.not.toBeConstructableWith({ state })
})

test('threads are linked by the ports of Node', () => {
  expect(gauge.publish(new MessageChannel().port1)).type.toBe<() => void>()
  expect(gauge.publish).type.not.toBeCallableWith(gauge)
  expect(gauge.subscribe).type.toBeCallableWith(port)
  expect(gauge.subscribe).type.toBeCallableWith(port, { retentionMillis: 1000 })
  expect(gauge.subscribe).type.not.toBeCallableWith(port, { retention: 1000 })
})
