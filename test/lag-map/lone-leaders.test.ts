import {
  ReplicationLagGauge,
  ReplicationState,
} from 'opentelemetry-instrumentation-replication-lag'
import { beforeEach, describe, expect, it } from 'vitest'
import { answer, collectedFrom, lagsOf, setUpPolling } from '../support/polling.js'
import { reading } from '../support/scripted-source.js'

describe('a leader of which no follower is known', () => {
  let gauge: ReplicationLagGauge
  beforeEach(() => {
    gauge = new ReplicationLagGauge()
  })

  it('counts as one unnamed follower that has applied nothing', () => {
    gauge.updateLeaderSeqno('a', 42n)
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

  it('is not affected by a follower of another shard', () => {
    gauge.updateLeaderSeqno('a', 42)
    gauge.updateAppliedSeqno('b', 1, 'r1')
    expect(gauge.lagSeqno('a')).toBe(42)
  })

  it('has no lag in metrics with positions, because its followers may be in other processes', async () => {
    gauge.updateLeaderSeqno('a', 42)
    expect(await collectedFrom(gauge)).toEqual({ 'replication_leader_seqno{a}': 42 })
  })

  it('no longer counts as one when a follower appears, and does again when an unnamed one goes', () => {
    const state = new ReplicationState()
    gauge = new ReplicationLagGauge(state)
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
    },
  )

  it('counts again when the shard was removed and is added once more', () => {
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 7, 'r1')
    gauge.remove('a')
    gauge.updateLeaderSeqno('a', 11)
    expect(lagsOf(gauge)).toEqual({ 'a/': 11 })
  })

  it('is counted by each gauge that shares a state', () => {
    const state = new ReplicationState()
    const [one, two] = [new ReplicationLagGauge(state), new ReplicationLagGauge(state)]
    one.updateLeaderSeqno('a', 10)
    two.updateLeaderSeqno('b', 20)
    expect(lagsOf(one)).toEqual({ 'a/': 10 })
    expect(lagsOf(two)).toEqual({ 'b/': 20 })
    state.setAppliedSeqno('b', 1, 'r1')
    expect(lagsOf(one)).toEqual({ 'a/': 10 })
    expect(lagsOf(two)).toEqual({ 'b/r1': 19 })
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
