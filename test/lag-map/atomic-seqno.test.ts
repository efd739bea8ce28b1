import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { beforeEach, describe, expect, it } from 'vitest'

let gauge: ReplicationLagGauge
beforeEach(() => {
  gauge = new ReplicationLagGauge()
})

describe('a handle', () => {
  it('stores and loads the position of its entry', () => {
    const [leader, applied] = [gauge.leader('a'), gauge.applied('a', 'r1')]
    expect(leader.load()).toBe(0n)
    expect(leader.store(9)).toBe(true)
    expect(applied.store(2n)).toBe(true)
    expect(gauge.lagSeqno('a', 'r1')).toBe(7)
    gauge.updateLeaderSeqno('a', 12)
    gauge.updateAppliedSeqno('a', 5, 'r1')
    expect([leader.load(), applied.load()]).toEqual([12n, 5n])
  })

  it('is the same object each time, by whatever form of the name', () => {
    expect(gauge.leader(7)).toBe(gauge.leader('7'))
    expect(gauge.applied(7, 3)).toBe(gauge.applied('7', '3'))
    expect(gauge.applied('a')).toBe(gauge.applied('a'))
    expect(gauge.applied('a')).not.toBe(gauge.applied('a', 'r1'))
  })

  it('of a follower that was updated by name before has its position', () => {
    gauge.updateAppliedSeqno('a', 5)
    gauge.updateLeaderSeqno('a', 9)
    expect(gauge.applied('a').load()).toBe(5n)
    expect(gauge.leader('a').load()).toBe(9n)
  })

  it('takes a lower seqno than before', () => {
    const leader = gauge.leader('a')
    leader.store(9)
    expect(leader.store(4)).toBe(true)
    expect(leader.load()).toBe(4n)
  })

  it('distinguishes 0 and 2^64 − 1 from nothing stored', () => {
    gauge.updateLeaderSeqno('a', 10)
    const applied = gauge.applied('a')
    expect(gauge.appliedSeqno('a')).toBeUndefined()
    applied.store(0)
    expect(gauge.appliedSeqno('a')).toBe(0n)
    applied.store(2n ** 64n - 1n)
    expect(gauge.appliedSeqno('a')).toBe(2n ** 64n - 1n)
  })

  it('does not mix with the others, however many there are', () => {
    const handles = Array.from({ length: 1000 }, (_, shard) => gauge.applied(shard))
    for (const [shard, handle] of handles.entries()) handle.store(shard + 1)
    for (const [shard, handle] of handles.entries()) {
      expect(handle.load()).toBe(BigInt(shard + 1))
      gauge.updateLeaderSeqno(shard, 2000)
      expect(gauge.lagSeqno(shard)).toBe(1999 - shard)
    }
  })

  it('has no effect once its entry is removed, even when one of the same name is added', () => {
    const [leader, applied] = [gauge.leader('a'), gauge.applied('a', 'r1')]
    leader.store(9)
    applied.store(5)
    gauge.remove('a')
    expect(leader.store(99)).toBe(false)
    expect(applied.store(98)).toBe(false)
    expect(gauge.collectMetrics()).toEqual([])
    gauge.updateLeaderSeqno('a', 7)
    gauge.updateAppliedSeqno('a', 4, 'r1')
    leader.store(99)
    applied.store(98)
    expect(gauge.lagSeqno('a', 'r1')).toBe(3)
    expect(gauge.leader('a')).not.toBe(leader)
    expect(gauge.applied('a', 'r1')).not.toBe(applied)
  })

  it('of a removed follower still counts what is not a seqno', () => {
    const applied = gauge.applied('a')
    gauge.remove('a')
    expect(applied.store(-1)).toBe(false)
    expect(gauge.rejectedUpdates).toBe(1)
  })
})
