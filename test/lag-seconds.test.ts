import {
  ReplicationLagGauge,
  ReplicationState,
  type ReplicationLagGaugeOptions,
} from 'opentelemetry-instrumentation-replication-lag'
import { beforeEach, describe, expect, it } from 'vitest'
import { SourceRecord } from '../src/source-record.js'
import { reading } from './support/scripted-source.js'

let now: number
let gauge: ReplicationLagGauge
beforeEach(() => {
  now = 1_000_000
  gauge = new ReplicationLagGauge(new ReplicationState(), { clock: () => now })
})

/** Lets time pass, with a look at the leaders at its end. */
function pass(seconds: number): void {
  now += seconds * 1000
  gauge.sample(true)
}

function seconds(): Record<string, number> {
  const found: Record<string, number> = {}
  gauge.forEachLag(({ shard, replica }, _, lag) => {
    if (lag !== undefined) found[replica === undefined ? shard : `${shard}/${replica}`] = lag
  }, true)
  return found
}

describe('lagSeconds', () => {
  it('is of the hand that moves a leader, after a source did', () => {
    gauge.sample(true)
    const record = new SourceRecord('db', gauge, 0)
    record.apply(reading('a', 100, { r1: 100 }), 0)
    for (let second = 1; second <= 600; second++) {
      gauge.updateLeaderSeqno('a', 100 + second)
      gauge.updateAppliedSeqno('a', 100 + second, 'r1')
      pass(1)
    }
    gauge.updateLeaderSeqno('a', 9000)
    now += 500
    expect(gauge.lagSeconds('a', 'r1')).toBeLessThanOrEqual(0.5)
    for (let second = 0; second < 10; second++) pass(1)
    expect(gauge.lagSeconds('a', 'r1')).toBeGreaterThan(9)
  })

  it('is unknown of a follower whose source cannot be read', () => {
    gauge.sample(true)
    const record = new SourceRecord('db', gauge, 0)
    record.apply(reading('a', 100, { r1: 50, r2: 100 }), 0)
    expect(gauge.lagSeconds('a', 'r2')).toBe(0)
    for (let miss = 0; miss < 3; miss++) record.miss()
    expect(gauge.lagSeconds('a', 'r1')).toBeUndefined()
    expect(gauge.lagSeconds('a', 'r2')).toBeUndefined()
    record.apply(reading('a', 100, { r1: 50, r2: 100 }), 0)
    expect(gauge.lagSeconds('a', 'r2')).toBe(0)
  })

  it('is the age of the oldest entry that the follower has not applied', () => {
    gauge.updateLeaderSeqno('a', 100)
    gauge.updateAppliedSeqno('a', 100)
    pass(1)
    gauge.updateLeaderSeqno('a', 101)
    pass(1)
    gauge.updateLeaderSeqno('a', 102)
    for (let second = 0; second < 10; second++) pass(1)
    // Each is known to within the second between two looks.
    expect(gauge.lagSeconds('a')).toBeGreaterThanOrEqual(10)
    expect(gauge.lagSeconds('a')).toBeLessThanOrEqual(12)
    gauge.updateAppliedSeqno('a', 101)
    expect(gauge.lagSeconds('a')).toBeGreaterThanOrEqual(9)
    expect(gauge.lagSeconds('a')).toBeLessThanOrEqual(11)
    gauge.updateAppliedSeqno('a', 102)
    expect(gauge.lagSeconds('a')).toBe(0)
  })

  it('is 0 when caught up, also with a leader that is idle for a day', () => {
    gauge.updateLeaderSeqno('a', 100)
    gauge.updateAppliedSeqno('a', 100)
    for (let hour = 0; hour < 24; hour++) pass(3600)
    expect(gauge.lagSeconds('a')).toBe(0)
    expect(seconds()).toEqual({ a: 0 })
  })

  it('is told between two looks as well, by what was written since', () => {
    gauge.updateLeaderSeqno('a', 100)
    gauge.updateAppliedSeqno('a', 100)
    pass(1)
    gauge.updateLeaderSeqno('a', 200)
    now += 1000
    expect(gauge.lagSeconds('a')).toBeCloseTo(0.99)
    gauge.updateAppliedSeqno('a', 199)
    expect(gauge.lagSeconds('a')).toBe(0)
  })

  it('is measured for each replica', () => {
    gauge.updateLeaderSeqno('a', 1)
    for (const replica of ['r1', 'r2']) gauge.updateAppliedSeqno('a', 1, replica)
    pass(1)
    gauge.updateLeaderSeqno('a', 2)
    pass(1)
    gauge.updateAppliedSeqno('a', 2, 'r1')
    pass(60)
    expect(gauge.lagSeconds('a', 'r1')).toBe(0)
    expect(gauge.lagSeconds('a', 'r2')).toBeGreaterThanOrEqual(60)
    expect(gauge.lagSeconds('a', 'r2')).toBeLessThanOrEqual(62)
    expect(seconds()).toEqual({ 'a/r1': 0, 'a/r2': gauge.lagSeconds('a', 'r2') })
  })

  it('counts a follower that has applied nothing, and a leader that none was seen of, from the first look on', () => {
    gauge.updateLeaderSeqno('declared', 5)
    gauge.applied('declared', 'r1')
    gauge.updateLeaderSeqno('alone', 5)
    gauge.updateLeaderSeqno('unnamed', 5)
    gauge.applied('unnamed')
    pass(0)
    pass(30)
    expect(seconds()).toEqual({ 'declared/r1': 30, alone: 30, unnamed: 30 })
    expect(gauge.lagSeconds('alone')).toBe(30)
  })

  it('is 0 for what was never seen', () => {
    expect(gauge.lagSeconds('unknown')).toBe(0)
    gauge.updateLeaderSeqno('a', 5)
    expect(gauge.lagSeconds('a', 'unknown')).toBe(0)
  })

  it('is not known of a follower that is behind while nobody measures seconds', () => {
    gauge.updateLeaderSeqno('a', 5)
    gauge.updateAppliedSeqno('a', 4)
    expect(gauge.lagSeconds('a')).toBeUndefined()
    expect(seconds()).toEqual({})
    gauge.updateAppliedSeqno('a', 5)
    expect(gauge.lagSeconds('a')).toBe(0)
  })

  it('is not known of a shard that nobody has looked at yet', () => {
    pass(0)
    gauge.updateLeaderSeqno('a', 5)
    now += 500
    expect(gauge.lagSeconds('a')).toBeUndefined()
    expect(seconds()).toEqual({})
    pass(0.5)
    expect(gauge.lagSeconds('a')).toBe(0)
  })

  it('is not known while the leader is not, handle or no handle', () => {
    gauge.updateAppliedSeqno('a', 5)
    const leader = gauge.leader('a')
    pass(1)
    expect(gauge.lagSeconds('a')).toBe(0)
    expect(seconds()).toEqual({})
    leader.store(5)
    expect(gauge.lagSeconds('a')).toBe(0)
  })

  it('ignores a source that polls a shard which the map does not take', () => {
    gauge.sample(true)
    const record = new SourceRecord('s', gauge, Infinity)
    const followers = [{ appliedSeqno: 1 }]
    record.apply({ shards: [{ shard: 'a', leaderSeqno: -1, followers }] }, now)
    expect(seconds()).toEqual({})
  })

  it('begins anew for a shard that was removed', () => {
    gauge.updateLeaderSeqno('a', 5)
    pass(0)
    pass(100)
    expect(gauge.lagSeconds('a')).toBe(100)
    gauge.remove('a')
    gauge.updateLeaderSeqno('b', 5)
    gauge.updateLeaderSeqno('a', 5)
    pass(0)
    pass(3)
    expect(seconds()).toEqual({ b: 3, a: 3 })
  })

  it('is measured for more shards than there was room for at first', () => {
    for (let shard = 0; shard < 1000; shard++) gauge.updateLeaderSeqno(shard, 1)
    pass(0)
    pass(7)
    expect(new Set(Object.values(seconds()))).toEqual(new Set([7]))
  })

  it('looks not at leaders whose followers are in other processes, where that is said', () => {
    gauge.updateLeaderSeqno('a', 5)
    gauge.sample(false)
    now += 5000
    gauge.sample(false)
    gauge.forEachLag(() => expect.unreachable(), false)
  })
})

describe('lagSeconds of a shard that a source reports', () => {
  it('is measured from poll to poll, since nothing is news in between', () => {
    const record = new SourceRecord('s', gauge, Infinity)
    gauge.sample(true)
    record.apply(reading('a', 100, { r1: 100 }), now)
    for (let second = 0; second < 10; second++) pass(1)
    // Written at a steady pace over these ten seconds, and half of it applied: the oldest that is not is 5 s old.
    record.apply(reading('a', 200, { r1: 150 }), now)
    expect(gauge.lagSeconds('a', 'r1')).toBeCloseTo(4.9)
    pass(3)
    expect(gauge.lagSeconds('a', 'r1')).toBeCloseTo(7.9)
  })

  it('has no spike when the epoch changes', () => {
    const record = new SourceRecord('s', gauge, Infinity)
    gauge.sample(true)
    const inEpoch = (epoch: string, leaderSeqno: number, appliedSeqno: number) => ({
      shards: [{ shard: 'a', leaderSeqno, followers: [{ replica: 'r1', appliedSeqno }], epoch }],
    })
    record.apply(inEpoch('1', 100, 50), now)
    now += 3_600_000
    record.apply(inEpoch('1', 100, 50), now)
    expect(gauge.lagSeconds('a', 'r1')).toBe(3600)
    record.apply(inEpoch('2', 90, 80), now)
    expect(gauge.lagSeconds('a', 'r1')).toBe(0)
    now += 2000
    record.apply(inEpoch('2', 90, 80), now)
    expect(gauge.lagSeconds('a', 'r1')).toBe(2)
  })
})

describe('a clock', () => {
  it.each<[string, () => number]>([
    ['goes back', () => (now -= 1000)],
    ['stands still', () => 7],
    ['is NaN', () => Number.NaN],
    [
      'throws',
      () => {
        throw new Error('no time')
      },
    ],
  ])('that %s makes no lag that is negative or NaN', (_, clock) => {
    gauge = new ReplicationLagGauge(undefined, { clock })
    gauge.updateLeaderSeqno('a', 1)
    gauge.sample(true)
    gauge.updateLeaderSeqno('a', 2)
    gauge.sample(true)
    expect(gauge.lagSeconds('a')).toBe(0)
  })

  it('that jumps ahead passes for time, and no more than that', () => {
    gauge.updateLeaderSeqno('a', 1)
    pass(0)
    now += 1e12
    pass(1)
    expect(gauge.lagSeconds('a')).toBeCloseTo(1e9 + 1, -1)
    gauge.updateAppliedSeqno('a', 1)
    expect(gauge.lagSeconds('a')).toBe(0)
  })

  it.each([7, 'now', null])('that is no function (%s) is refused with a TypeError', (clock) => {
    const options = { clock } as unknown as ReplicationLagGaugeOptions
    expect(() => new ReplicationLagGauge(undefined, options)).toThrow(/^clock: expected a function/)
  })

  it('is the only option', () => {
    const options = { clok: () => 7 } as ReplicationLagGaugeOptions
    expect(() => new ReplicationLagGauge(undefined, options)).toThrow(
      /^clok: there is no such option/,
    )
  })
})
