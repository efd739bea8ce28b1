import {
  ReplicationLagGauge,
  ReplicationState,
} from 'opentelemetry-instrumentation-replication-lag'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

let state: ReplicationState
beforeEach(() => {
  state = new ReplicationState()
})

describe('ReplicationState', () => {
  it('knows nothing of a follower that was never seen', () => {
    expect(state.appliedSeqno('a')).toBeUndefined()
    expect(state.appliedSeqno('a', 'r1')).toBeUndefined()
    state.setAppliedSeqno('a', 1, 'r1')
    expect(state.appliedSeqno('a')).toBeUndefined()
    expect(state.appliedSeqno('a', 'r2')).toBeUndefined()
  })

  it('has one applied seqno for each shard and replica', () => {
    state.setAppliedSeqno('a', 1n)
    state.setAppliedSeqno('b', 2n, 'r1')
    state.setAppliedSeqno('b', 3n, 'r2')
    expect(state.appliedSeqno('a')).toBe(1n)
    expect(state.appliedSeqno('b')).toBeUndefined()
    expect(state.appliedSeqno('b', 'r1')).toBe(2n)
    expect(state.appliedSeqno('b', 'r2')).toBe(3n)
  })

  it('takes a lower seqno than before, because a follower can be rebuilt', () => {
    state.setAppliedSeqno('a', 9)
    state.setAppliedSeqno('a', 4)
    expect(state.appliedSeqno('a')).toBe(4n)
  })

  it('treats 7 and "7" as one shard and as one replica', () => {
    state.setAppliedSeqno(7, 1, 3)
    expect(state.appliedSeqno('7', '3')).toBe(1n)
    state.applied('7', '3').store(2)
    expect(state.appliedSeqno(7, 3)).toBe(2n)
    expect(state.remove(7, '3')).toBe(true)
    expect(state.appliedSeqno('7', 3)).toBeUndefined()
  })

  it('says that a follower has applied nothing until its handle was stored to', () => {
    const handle = state.applied('a')
    expect(state.appliedSeqno('a')).toBeUndefined()
    handle.store(0)
    expect(state.appliedSeqno('a')).toBe(0n)
  })

  it('removes one replica or a whole shard, and returns whether there was one', () => {
    state.setAppliedSeqno('a', 1)
    state.setAppliedSeqno('a', 1, 'r1')
    state.setAppliedSeqno('a', 1, 'r2')
    expect(state.remove('a', 'r1')).toBe(true)
    expect(state.remove('a', 'r1')).toBe(false)
    expect(state.appliedSeqno('a', 'r2')).toBe(1n)
    expect(state.remove('a')).toBe(true)
    expect(state.remove('a')).toBe(false)
    expect(state.appliedSeqno('a')).toBeUndefined()
    expect(state.appliedSeqno('a', 'r2')).toBeUndefined()
  })

  it('counts the updates that it rejected', () => {
    state.setAppliedSeqno('a', -1)
    state.setAppliedSeqno('', 1)
    state.applied('a', '')
    expect(state.rejectedUpdates).toBe(3)
  })
})

describe('a state', () => {
  it('can be updated by other code than the gauge that reports it', () => {
    const gauge = new ReplicationLagGauge(state)
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
    const gauge = new ReplicationLagGauge(state)
    gauge.updateLeaderSeqno('a', 9)
    expect(gauge.lagSeqno('a', 'r1')).toBe(5)
    expect(gauge.lagSeqno('a')).toBe(0)
  })

  it('can be shared by two gauges, each with its own leaders', () => {
    const [one, two] = [new ReplicationLagGauge(state), new ReplicationLagGauge(state)]
    one.updateLeaderSeqno('a', 9)
    two.updateLeaderSeqno('a', 5)
    one.updateAppliedSeqno('a', 5)
    for (let round = 0; round < 2; round++) {
      expect(one.lagSeqno('a')).toBe(4)
      expect(two.lagSeqno('a')).toBe(0)
    }
    expect(one.applied('a')).toBe(two.applied('a'))
    two.remove('a')
    expect(one.lagSeqno('a')).toBe(9)
    expect(two.collectMetrics()).toEqual([])
  })

  it('does not keep a gauge alive that was dropped', async () => {
    // A gauge holds the handles that it has returned.
    const drop = () => {
      const gauge = new ReplicationLagGauge(state)
      gauge.lagSeconds('a')
      gauge.lagSeconds('a')
      return new WeakRef(gauge.leader('a'))
    }
    const dropped = drop()
    await eventually(() => {
      collectGarbage()
      expect(dropped.deref() === undefined).toBe(true)
    })
    state.setAppliedSeqno('a', 1)
    expect(new ReplicationLagGauge(state).appliedSeqno('a')).toBe(1n)
  })

  it('counts its rejected updates in every gauge that has it', () => {
    const [one, two] = [new ReplicationLagGauge(state), new ReplicationLagGauge(state)]
    state.setAppliedSeqno('a', -1)
    expect([one.rejectedUpdates, two.rejectedUpdates]).toEqual([1, 1])
  })
})
