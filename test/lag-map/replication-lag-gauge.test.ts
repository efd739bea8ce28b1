import {
  ReplicationLagGauge,
  type ReplicationState,
} from 'opentelemetry-instrumentation-replication-lag'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'

let gauge: ReplicationLagGauge
beforeEach(() => {
  gauge = new ReplicationLagGauge()
})

describe('lagSeqno', () => {
  it('is 100 when the leader has written 100 segments and 0 when they are applied', () => {
    gauge.updateLeaderSeqno('orders', 100)
    gauge.updateAppliedSeqno('orders', 0)
    expect(gauge.lagSeqno('orders')).toBe(100)
    gauge.updateAppliedSeqno('orders', 100)
    expect(gauge.lagSeqno('orders')).toBe(0)
  })

  it('is 0 for an unknown shard, an unknown replica and a shard without a leader', () => {
    gauge.updateAppliedSeqno('follower-only', 5)
    gauge.updateLeaderSeqno('a', 5)
    expect(gauge.lagSeqno('unknown')).toBe(0)
    expect(gauge.lagSeqno('a', 'unknown')).toBe(0)
    expect(gauge.lagSeqno('follower-only')).toBe(0)
  })

  it('is known as soon as the leader is, and not from its handle alone', () => {
    gauge.updateAppliedSeqno('a', 5)
    const leader = gauge.leader('a')
    expect(gauge.lagSeqno('a')).toBe(0)
    expect(gauge.collectMetrics()).toEqual([])
    leader.store(0)
    expect(gauge.lagSeqno('a')).toBe(-5)
  })

  it('is the whole leader seqno for a follower that has applied nothing', () => {
    gauge.updateLeaderSeqno('a', 10)
    gauge.applied('a', 'r1')
    expect(gauge.lagSeqno('a', 'r1')).toBe(10)
  })

  it('is negative for a follower that is ahead', () => {
    gauge.updateLeaderSeqno('a', 1)
    gauge.updateAppliedSeqno('a', 3)
    expect(gauge.lagSeqno('a')).toBe(-2)
  })

  it('follows a leader that comes back lower', () => {
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 4)
    gauge.updateLeaderSeqno('a', 6)
    expect(gauge.lagSeqno('a')).toBe(2)
  })

  it('treats 7 and "7" as one shard', () => {
    gauge.updateLeaderSeqno(7, 10)
    gauge.updateLeaderSeqno('7', 12)
    gauge.updateAppliedSeqno('7', 4)
    expect(gauge.lagSeqno(7)).toBe(8)
    expect(gauge.collectMetrics()).toHaveLength(1)
  })
})

describe('collectMetrics', () => {
  it('returns every follower with its positions', () => {
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 7, 'r1')
    gauge.applied('a', 'r2')
    gauge.updateLeaderSeqno('b', 3)
    gauge.updateAppliedSeqno('b', 3)
    const lagSeconds = 0
    expect(gauge.collectMetrics()).toEqual([
      { shard: 'a', replica: 'r1', lagSeqno: 3, leaderSeqno: 10, appliedSeqno: 7 },
      { shard: 'a', replica: 'r2', lagSeqno: 10, leaderSeqno: 10 },
      { shard: 'b', lagSeqno: 0, lagSeconds, leaderSeqno: 3, appliedSeqno: 3 },
    ])
  })

  it('returns an unnamed follower next to named ones', () => {
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 7, 'r1')
    gauge.updateAppliedSeqno('a', 8)
    const lags = gauge.collectMetrics().map(({ replica, lagSeqno }) => [replica, lagSeqno])
    expect(lags).toEqual([
      [undefined, 2],
      ['r1', 3],
    ])
  })

  it('returns a snapshot that later updates do not change', () => {
    gauge.updateLeaderSeqno('a', 9)
    const snapshot = gauge.collectMetrics()
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateLeaderSeqno('b', 1)
    gauge.remove('a')
    expect(snapshot).toEqual([{ shard: 'a', lagSeqno: 9, leaderSeqno: 9 }])
  })

  it('returns plain objects that can be spread, cloned and written as JSON', () => {
    gauge.updateLeaderSeqno('a', 2n ** 64n - 1n)
    gauge.updateAppliedSeqno('a', 2n ** 64n - 2n, 'r1')
    const snapshot = gauge.collectMetrics()
    const rounded = { leaderSeqno: 2 ** 64, appliedSeqno: 2 ** 64 }
    expect(snapshot).toEqual([{ shard: 'a', replica: 'r1', lagSeqno: 1, ...rounded }])
    expect(structuredClone(snapshot)).toEqual(snapshot)
    expect(JSON.parse(JSON.stringify({ ...snapshot[0] }))).toEqual(snapshot[0])
  })
})

it.each([1, 2, 3, 4])('a lag is not negative if both positions move after load %d', (moment) => {
  const [leader, applied] = [gauge.leader('a'), gauge.applied('a')]
  leader.store(10)
  applied.store(10)
  let loads = 0
  const { load } = Atomics
  const spy = vi.spyOn(Atomics, 'load').mockImplementation((...position) => {
    const seqno = load(...position)
    if (++loads === moment) {
      leader.store(20)
      applied.store(20)
    }
    return seqno
  })
  onTestFinished(() => spy.mockRestore())
  expect(gauge.collectMetrics()[0]?.lagSeqno).toBeGreaterThanOrEqual(0)
})

describe('the positions by name', () => {
  it('are exact', () => {
    gauge.updateLeaderSeqno('a', 2n ** 64n - 1n)
    gauge.updateAppliedSeqno('a', 2n ** 64n - 2n, 'r1')
    gauge.updateLeaderSeqno(7, 3)
    expect(gauge.leaderSeqno('a')).toBe(2n ** 64n - 1n)
    expect(gauge.appliedSeqno('a', 'r1')).toBe(2n ** 64n - 2n)
    expect(gauge.leaderSeqno('7')).toBe(3n)
  })

  it('are not known for a name that is new or not valid', () => {
    gauge.leader('a')
    gauge.applied('a')
    expect(gauge.leaderSeqno('a')).toBeUndefined()
    expect(gauge.appliedSeqno('a')).toBeUndefined()
    expect(gauge.appliedSeqno('a', 'new')).toBeUndefined()
    expect(gauge.leaderSeqno('')).toBeUndefined()
    expect(gauge.appliedSeqno('', 'r1')).toBeUndefined()
  })
})

describe('remove', () => {
  it('removes a shard with its leader and followers, and returns whether there was one', () => {
    gauge.updateLeaderSeqno('a', 9)
    gauge.updateAppliedSeqno('a', 2, 'r1')
    expect(gauge.remove('a')).toBe(true)
    expect(gauge.remove('a')).toBe(false)
    expect(gauge.remove('a', 'r1')).toBe(false)
    expect(gauge.collectMetrics()).toEqual([])
    expect(gauge.lagSeqno('a')).toBe(0)
  })

  it('removes a shard of which only a leader, or only a follower, is known', () => {
    gauge.updateLeaderSeqno('leader-only', 9)
    gauge.updateAppliedSeqno('follower-only', 9)
    expect(gauge.remove('leader-only')).toBe(true)
    expect(gauge.remove('follower-only')).toBe(true)
    expect(gauge.remove('unknown')).toBe(false)
    expect(gauge.collectMetrics()).toEqual([])
  })

  it('removes one replica and leaves the others', () => {
    gauge.updateLeaderSeqno('a', 9)
    gauge.updateAppliedSeqno('a', 2, 'r1')
    gauge.updateAppliedSeqno('a', 3, 2)
    gauge.updateAppliedSeqno('a', 4)
    expect(gauge.remove('a', 2)).toBe(true)
    expect(gauge.remove('a', '2')).toBe(false)
    expect(gauge.collectMetrics().map(({ replica }) => replica)).toEqual([undefined, 'r1'])
  })
})

describe('the constructor', () => {
  const half = { appliedSeqno: () => undefined, setAppliedSeqno: () => undefined }
  it.each([null, 7, 'state', {}, new Map(), half])('throws when the state is %s', (state) => {
    expect(() => new ReplicationLagGauge(state as unknown as ReplicationState)).toThrow(
      /^state: expected a ReplicationState, got/,
    )
  })
})
