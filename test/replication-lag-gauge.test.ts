import {
  ReplicationLagGauge,
  ReplicationState,
} from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'

describe('ReplicationLagGauge', () => {
  it('lags by 100 when the leader has written 100 segments and by 0 when they are applied', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('orders', 100)
    gauge.updateAppliedSeqno('orders', 0)
    expect(gauge.lagSeqno('orders')).toBe(100)
    gauge.updateAppliedSeqno('orders', 100)
    expect(gauge.lagSeqno('orders')).toBe(0)
  })

  it('lags by the whole leader seqno where no follower was seen', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 42n)
    expect(gauge.lagSeqno('a')).toBe(42)
    expect(gauge.collectMetrics()).toEqual([{ shard: 'a', lagSeqno: 42, leaderSeqno: 42n }])
  })

  it('reads 0 for an unknown shard, an unknown replica and a shard without a leader', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateAppliedSeqno('follower-only', 5)
    gauge.updateLeaderSeqno('a', 5)
    expect(gauge.lagSeqno('unknown')).toBe(0)
    expect(gauge.lagSeqno('a', 'unknown')).toBe(0)
    expect(gauge.lagSeqno('follower-only')).toBe(0)
  })

  it('reports no lag while the leader is unknown, and none of a made-up leader', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateAppliedSeqno('a', 5)
    const leader = gauge.leader('a')
    expect(gauge.lagSeqno('a')).toBe(0)
    expect(gauge.collectMetrics()).toEqual([])
    leader.store(0)
    expect(gauge.lagSeqno('a')).toBe(-5)
  })

  it('is negative where the follower is ahead', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 1)
    gauge.updateAppliedSeqno('a', 3)
    expect(gauge.lagSeqno('a')).toBe(-2)
  })

  it('is exact at the top of the u64 range and saturates at ±(2^53 − 1)', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 2n ** 64n - 1n)
    gauge.updateAppliedSeqno('a', 2n ** 64n - 3n)
    expect(gauge.lagSeqno('a')).toBe(2)
    gauge.updateAppliedSeqno('a', 0)
    expect(gauge.lagSeqno('a')).toBe(Number.MAX_SAFE_INTEGER)
    gauge.updateLeaderSeqno('b', 0)
    gauge.updateAppliedSeqno('b', 2n ** 64n - 1n)
    expect(gauge.lagSeqno('b')).toBe(-Number.MAX_SAFE_INTEGER)
  })

  it('measures several named replicas of a shard, and no unnamed one beside them', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 7, 'r1')
    gauge.applied('a', 'r2')
    expect(gauge.lagSeqno('a', 'r1')).toBe(3)
    expect(gauge.lagSeqno('a', 'r2')).toBe(10)
    expect(gauge.lagSeqno('a')).toBe(0)
    expect(gauge.collectMetrics()).toEqual([
      { shard: 'a', replica: 'r1', lagSeqno: 3, leaderSeqno: 10n, appliedSeqno: 7n },
      { shard: 'a', replica: 'r2', lagSeqno: 10, leaderSeqno: 10n },
    ])
  })

  it('does not fall back to an unnamed follower when the last named one is removed', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 7, 'r1')
    expect(gauge.remove('a', 'r1')).toBe(true)
    expect(gauge.collectMetrics()).toEqual([])
    expect(gauge.lagSeqno('a')).toBe(0)
  })

  it('takes 7 and "7" for one shard', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno(7, 10)
    gauge.updateLeaderSeqno('7', 12)
    gauge.updateAppliedSeqno('7', 4)
    expect(gauge.lagSeqno(7)).toBe(8)
    expect(gauge.leader(7)).toBe(gauge.leader('7'))
    expect(gauge.collectMetrics()).toHaveLength(1)
  })

  it('is updated through bound handles', () => {
    const gauge = new ReplicationLagGauge()
    const leader = gauge.leader('a')
    const applied = gauge.applied('a', 'r1')
    expect(gauge.collectMetrics()).toEqual([])
    leader.store(9)
    applied.store(2n)
    expect(gauge.lagSeqno('a', 'r1')).toBe(7)
    expect(leader.load()).toBe(9n)
  })

  it('forgets a shard with its leader and followers, and says whether there was one', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 9)
    gauge.updateAppliedSeqno('a', 2, 'r1')
    expect(gauge.remove('a')).toBe(true)
    expect(gauge.remove('a')).toBe(false)
    expect(gauge.remove('a', 'r1')).toBe(false)
    expect(gauge.collectMetrics()).toEqual([])
    expect(gauge.lagSeqno('a')).toBe(0)
  })

  it('finds a shard again that its state forgot and saw anew', () => {
    const state = new ReplicationState()
    const gauge = new ReplicationLagGauge(state)
    gauge.updateLeaderSeqno('a', 9)
    state.setAppliedSeqno('a', 2)
    expect(gauge.lagSeqno('a')).toBe(7)
    state.remove('a')
    expect(gauge.lagSeqno('a')).toBe(9)
    state.setAppliedSeqno('a', 4)
    expect(gauge.lagSeqno('a')).toBe(5)
  })

  it('keeps a handle of a removed shard out of the registers of those that come after', () => {
    const gauge = new ReplicationLagGauge()
    const stale = gauge.leader('gone')
    stale.store(5)
    gauge.remove('gone')
    gauge.updateLeaderSeqno('new', 1)
    stale.store(99)
    expect(gauge.lagSeqno('new')).toBe(1)
    expect(gauge.lagSeqno('gone')).toBe(0)
  })

  it('gives a snapshot that later updates do not change', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 9)
    const snapshot = gauge.collectMetrics()
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateLeaderSeqno('b', 1)
    gauge.remove('a')
    expect(snapshot).toEqual([{ shard: 'a', lagSeqno: 9, leaderSeqno: 9n }])
  })

  it('reads a state that someone else updates, at every collection', () => {
    const state = new ReplicationState()
    const gauge = new ReplicationLagGauge(state)
    gauge.updateLeaderSeqno('a', 9)
    expect(gauge.lagSeqno('a')).toBe(9)
    state.setAppliedSeqno('a', 4)
    expect(gauge.lagSeqno('a')).toBe(5)
    state.applied('a').store(9)
    expect(gauge.collectMetrics()).toEqual([
      { shard: 'a', lagSeqno: 0, leaderSeqno: 9n, appliedSeqno: 9n },
    ])
  })

  it('shares a state with another gauge without sharing its leaders', () => {
    const state = new ReplicationState()
    const [one, two] = [new ReplicationLagGauge(state), new ReplicationLagGauge(state)]
    one.updateLeaderSeqno('a', 9)
    two.updateLeaderSeqno('a', 5)
    state.setAppliedSeqno('a', 5)
    expect(one.lagSeqno('a')).toBe(4)
    expect(two.lagSeqno('a')).toBe(0)
  })

  it.each([null, 5, 'clock'])('throws a TypeError when the options are %s', (options) => {
    const create = () => new ReplicationLagGauge(undefined, options as unknown as object)
    expect(create).toThrow(/^options: expected an object, got/)
  })

  const half = { followersOf: () => undefined }
  it.each([null, 7, 'state', {}, new Map(), half])(
    'throws a TypeError when the state is %s',
    (state) => {
      expect(() => new ReplicationLagGauge(state as ReplicationState)).toThrow(
        /^state: expected a ReplicationState, got/,
      )
    },
  )
})

describe('a collection during which the map changes', () => {
  it('goes on over the followers that are left when one removes its own shard', () => {
    const gauge = new ReplicationLagGauge()
    for (const shard of ['a', 'b', 'c']) {
      gauge.updateLeaderSeqno(shard, 10)
      gauge.updateAppliedSeqno(shard, 1, 'r1')
      gauge.updateAppliedSeqno(shard, 2, 'r2')
    }
    const seen: string[] = []
    gauge.forEachFollower(({ shard, replica }, leaderSeqno, appliedSeqno) => {
      seen.push(`${shard}/${replica ?? ''} ${leaderSeqno}-${appliedSeqno ?? ''}`)
      // Its registers are free now, and taken at once by others that must not appear under the old names.
      if (gauge.remove(shard)) gauge.updateAppliedSeqno('z', 77, shard)
    })
    expect(seen).toEqual(['a/r1 10-1', 'b/r1 10-1', 'c/r1 10-1'])
  })
})
