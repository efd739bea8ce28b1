import {
  ReplicationLagGauge,
  ReplicationState,
} from 'opentelemetry-instrumentation-replication-lag'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { eventually } from '../support/eventually.js'
import { answer, collectedFrom, lagsOf, setUpPolling } from '../support/polling.js'
import { reading } from '../support/scripted-source.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

let state: ReplicationState
let gauge: ReplicationLagGauge
beforeEach(() => {
  state = new ReplicationState()
  gauge = new ReplicationLagGauge(state)
})

describe('lagSeqno', () => {
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
})

it('7 and "7" are one shard and one replica', () => {
  gauge.updateLeaderSeqno(7, 10)
  gauge.updateLeaderSeqno('7', 12)
  gauge.updateAppliedSeqno('7', 4, 3)
  expect(gauge.lagSeqno(7, '3')).toBe(8)
  expect(gauge.collectMetrics()).toHaveLength(1)
  expect([gauge.leaderSeqno('7'), state.appliedSeqno(7, '3')]).toEqual([12n, 4n])
  expect(gauge.leader(7)).toBe(gauge.leader('7'))
  expect(gauge.applied(7, 3)).toBe(state.applied('7', '3'))
  expect(state.remove(7, '3')).toBe(true)
})

describe('collectMetrics', () => {
  it('returns every follower with its positions, unnamed ones next to named ones', () => {
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 7, 'r1')
    gauge.updateAppliedSeqno('a', 8)
    gauge.applied('a', 'r2')
    gauge.updateLeaderSeqno('b', 3)
    gauge.updateAppliedSeqno('b', 3)
    expect(gauge.collectMetrics()).toEqual([
      { shard: 'a', lagSeqno: 2, leaderSeqno: 10, appliedSeqno: 8 },
      { shard: 'a', replica: 'r1', lagSeqno: 3, leaderSeqno: 10, appliedSeqno: 7 },
      { shard: 'a', replica: 'r2', lagSeqno: 10, leaderSeqno: 10 },
      { shard: 'b', lagSeqno: 0, lagSeconds: 0, leaderSeqno: 3, appliedSeqno: 3 },
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
    // By name they are exact.
    expect(gauge.leaderSeqno('a')).toBe(2n ** 64n - 1n)
    expect(gauge.appliedSeqno('a', 'r1')).toBe(2n ** 64n - 2n)
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

describe('a position', () => {
  it('is not known for a name that is new or not valid, and before one was stored', () => {
    gauge.leader('a')
    gauge.applied('a')
    gauge.updateAppliedSeqno('a', 1, 'r1')
    expect([gauge.leaderSeqno('a'), gauge.leaderSeqno('new')]).toEqual([undefined, undefined])
    for (const each of [gauge, state]) {
      expect([each.appliedSeqno('a'), each.appliedSeqno('a', 'new')]).toEqual([
        undefined,
        undefined,
      ])
    }
    expect([gauge.leaderSeqno(''), gauge.appliedSeqno('', 'r1')]).toEqual([undefined, undefined])
  })

  it.each([0n, 2n ** 64n - 1n])('can be %s, which is not the same as nothing stored', (seqno) => {
    const applied = gauge.applied('a')
    expect(gauge.appliedSeqno('a')).toBeUndefined()
    applied.store(seqno)
    expect(gauge.appliedSeqno('a')).toBe(seqno)
  })

  it('is one for each shard and replica, and may be lower than before', () => {
    state.setAppliedSeqno('a', 9n)
    state.setAppliedSeqno('a', 1n)
    state.setAppliedSeqno('b', 2n, 'r1')
    state.setAppliedSeqno('b', 3n, 'r2')
    gauge.updateLeaderSeqno('a', 9)
    gauge.updateLeaderSeqno('a', 6)
    expect(gauge.lagSeqno('a')).toBe(5)
    expect(state.appliedSeqno('a')).toBe(1n)
    expect(state.appliedSeqno('b')).toBeUndefined()
    expect([state.appliedSeqno('b', 'r1'), state.appliedSeqno('b', 'r2')]).toEqual([2n, 3n])
  })
})

describe('a handle', () => {
  it('stores and loads the position of its entry', () => {
    gauge.updateAppliedSeqno('a', 1, 'r1')
    const [leader, applied] = [gauge.leader('a'), gauge.applied('a', 'r1')]
    expect([leader.load(), applied.load()]).toEqual([0n, 1n])
    expect(leader.store(9)).toBe(true)
    expect(applied.store(2n)).toBe(true)
    expect(gauge.lagSeqno('a', 'r1')).toBe(7)
    gauge.updateLeaderSeqno('a', 12)
    gauge.updateAppliedSeqno('a', 5, 'r1')
    expect([leader.load(), applied.load()]).toEqual([12n, 5n])
    expect(gauge.applied('a', 'r1')).toBe(applied)
    expect(gauge.applied('a')).not.toBe(applied)
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
    // It still counts what is not a seqno.
    expect(applied.store(-1)).toBe(false)
    expect(gauge.rejectedUpdates).toBe(1)
  })
})

describe('remove', () => {
  it('removes a shard with its leader and followers, or one of them alone', () => {
    gauge.updateLeaderSeqno('a', 9)
    gauge.updateAppliedSeqno('a', 2, 'r1')
    gauge.updateLeaderSeqno('leader-only', 9)
    gauge.updateAppliedSeqno('follower-only', 9)
    for (const shard of ['a', 'leader-only', 'follower-only']) {
      expect(gauge.remove(shard)).toBe(true)
      expect(gauge.remove(shard)).toBe(false)
    }
    expect(gauge.remove('a', 'r1')).toBe(false)
    expect(gauge.collectMetrics()).toEqual([])
    expect(gauge.lagSeqno('a')).toBe(0)
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

  it('of a state removes one replica or all, and returns whether there was one', () => {
    for (const replica of [undefined, 'r1', 'r2']) state.setAppliedSeqno('a', 1, replica)
    expect([state.remove('a', 'r1'), state.remove('a', 'r1')]).toEqual([true, false])
    expect(state.appliedSeqno('a', 'r2')).toBe(1n)
    expect([state.remove('a'), state.remove('a')]).toEqual([true, false])
    expect([state.appliedSeqno('a'), state.appliedSeqno('a', 'r2')]).toEqual([undefined, undefined])
  })
})

describe('a state', () => {
  const half = { appliedSeqno: () => undefined, setAppliedSeqno: () => undefined }
  it.each([null, 7, 'state', {}, new Map(), half])('cannot be %s', (invalid) => {
    expect(() => new ReplicationLagGauge(invalid as unknown as ReplicationState)).toThrow(
      /^state: expected a ReplicationState, got/,
    )
  })

  it('can be updated by other code than the gauge that reports it', () => {
    gauge.updateLeaderSeqno('a', 9)
    expect(gauge.lagSeqno('a')).toBe(9)
    state.setAppliedSeqno('a', 4)
    expect(gauge.lagSeqno('a')).toBe(5)
    state.applied('a').store(9)
    expect(gauge.collectMetrics()).toEqual([
      { shard: 'a', lagSeqno: 0, lagSeconds: 0, leaderSeqno: 9, appliedSeqno: 9 },
    ])
    state.remove('a')
    expect(gauge.lagSeqno('a')).toBe(9)
    state.setAppliedSeqno('a', 6)
    expect(gauge.lagSeqno('a')).toBe(3)
  })

  it('can have followers before the gauge that reports it', () => {
    state.setAppliedSeqno('a', 4, 'r1')
    const later = new ReplicationLagGauge(state)
    later.updateLeaderSeqno('a', 9)
    expect(later.lagSeqno('a', 'r1')).toBe(5)
    expect(later.lagSeqno('a')).toBe(0)
    state.remove('a', 'r1')
    expect(lagsOf(later)).toEqual({})
  })

  it('can be shared by two gauges, each with its own leaders', () => {
    const two = new ReplicationLagGauge(state)
    gauge.updateLeaderSeqno('a', 9)
    two.updateLeaderSeqno('a', 5)
    gauge.updateAppliedSeqno('a', 5)
    expect([gauge.lagSeqno('a'), two.lagSeqno('a')]).toEqual([4, 0])
    expect(gauge.applied('a')).toBe(two.applied('a'))
    two.remove('a')
    expect(gauge.lagSeqno('a')).toBe(9)
    expect(two.collectMetrics()).toEqual([])
  })

  it('does not keep a gauge alive that was dropped', async () => {
    // A gauge holds the handles that it has returned.
    const drop = () => {
      const dropped = new ReplicationLagGauge(state)
      dropped.lagSeconds('a')
      dropped.lagSeconds('a')
      return new WeakRef(dropped.leader('a'))
    }
    const dropped = drop()
    await eventually(() => {
      collectGarbage()
      expect(dropped.deref() === undefined).toBe(true)
    })
    state.setAppliedSeqno('a', 1)
    expect(new ReplicationLagGauge(state).appliedSeqno('a')).toBe(1n)
  })

  it('counts the updates that it rejected, in every gauge that has it', () => {
    state.setAppliedSeqno('a', -1)
    state.setAppliedSeqno('', 1)
    state.applied('a', '')
    const counts = [state, gauge, new ReplicationLagGauge(state)].map(
      (each) => each.rejectedUpdates,
    )
    expect(counts).toEqual([3, 3, 3])
  })
})

describe('a leader of which no follower is known', () => {
  it('counts as one unnamed follower that has applied nothing', () => {
    gauge.updateLeaderSeqno('a', 42n)
    gauge.updateAppliedSeqno('b', 1, 'r1')
    expect(gauge.lagSeqno('a')).toBe(42)
    expect(gauge.lagSeqno('a', 'r1')).toBe(0)
    expect(gauge.collectMetrics()).toEqual([{ shard: 'a', lagSeqno: 42, leaderSeqno: 42 }])
  })

  it('does not count before it has a seqno', () => {
    gauge.leader('a')
    expect(gauge.lagSeqno('a')).toBe(0)
    expect(gauge.lagSeconds('a')).toBeUndefined()
    expect(gauge.collectMetrics()).toEqual([])
  })

  it('has no lag in metrics with positions, because its followers may be in other processes', async () => {
    gauge.updateLeaderSeqno('a', 42)
    expect(await collectedFrom(gauge)).toEqual({ 'replication_leader_seqno{a}': 42 })
  })

  it('no longer counts as one when a follower appears, and does again when an unnamed one goes', () => {
    gauge.updateLeaderSeqno('a', 10)
    state.setAppliedSeqno('a', 8)
    expect(lagsOf(gauge)).toEqual({ 'a/': 2 })
    state.remove('a')
    expect(lagsOf(gauge)).toEqual({ 'a/': 10 })
  })

  it.each([true, false])(
    'never counts again once it had a named follower (leader first: %s)',
    (first) => {
      if (first) gauge.updateLeaderSeqno('a', 10)
      gauge.updateAppliedSeqno('a', 7, 'r1')
      if (!first) gauge.updateLeaderSeqno('a', 10)
      expect(gauge.remove('a', 'r1')).toBe(true)
      expect(lagsOf(gauge)).toEqual({})
      expect(gauge.lagSeqno('a')).toBe(0)
      gauge.updateAppliedSeqno('a', 6)
      gauge.applied('a')
      expect(lagsOf(gauge)).toEqual({ 'a/': 4 })
      // Until the shard is removed and added once more.
      gauge.remove('a')
      gauge.updateLeaderSeqno('a', 11)
      expect(lagsOf(gauge)).toEqual({ 'a/': 11 })
    },
  )

  it('is counted by each gauge that shares a state', () => {
    const two = new ReplicationLagGauge(state)
    gauge.updateLeaderSeqno('a', 10)
    two.updateLeaderSeqno('b', 20)
    expect([lagsOf(gauge), lagsOf(two)]).toEqual([{ 'a/': 10 }, { 'b/': 20 }])
    state.setAppliedSeqno('b', 1, 'r1')
    expect([lagsOf(gauge), lagsOf(two)]).toEqual([{ 'a/': 10 }, { 'b/r1': 19 }])
  })
})

describe('with sources, a leader of which no follower is known', () => {
  const test = setUpPolling()

  it('does not count if a source says so', async () => {
    const { gauge, source } = test
    test.poll().start()
    await answer(source, reading('a', 42, {}))
    expect(lagsOf(gauge)).toEqual({})
    expect(gauge.lagSeqno('a')).toBe(0)
  })

  it('counts if the application says so, until a source has a follower of it', async () => {
    const { gauge, source } = test
    gauge.updateLeaderSeqno('a', 50)
    expect(lagsOf(gauge)).toEqual({ 'a/': 50 })
    const poller = test.poll()
    poller.start()
    await answer(source, reading('a', 42, { r1: 40 }))
    expect(lagsOf(gauge)).toEqual({ 'a/r1': 2 })
    poller.remove(source.name)
    expect(lagsOf(gauge)).toEqual({})
  })
})
