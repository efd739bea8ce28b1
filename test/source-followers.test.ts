import {
  ReplicationLagGauge,
  type ReplicationReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SourceFollowers } from '../src/source-followers.js'
import { recordDiag, type DiagRecorder } from './support/diag.js'
import { reading } from './support/scripted-source.js'

let told: DiagRecorder
let gauge: ReplicationLagGauge
beforeEach(() => {
  told = recordDiag()
  gauge = new ReplicationLagGauge()
})
afterEach(() => {
  told.stop()
})

/** The map as `replica: lag`, of every shard. */
const lags = () =>
  Object.fromEntries(
    gauge
      .collectMetrics()
      .map(({ shard, replica, lagSeqno }) => [`${shard}/${replica ?? ''}`, lagSeqno]),
  )

describe('a reading', () => {
  it('becomes the lag of its followers', () => {
    new SourceFollowers(gauge, 1000).apply(reading('a', 10, { r1: 10, r2: 3 }), 0)
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 7 })
  })

  it('may have shards whose follower is unnamed', () => {
    const followers = [{ appliedSeqno: 4 }]
    new SourceFollowers(gauge, 1000).apply(
      { shards: [{ shard: 7, leaderSeqno: 10, followers }] },
      0,
    )
    expect(lags()).toEqual({ '7/': 6 })
  })

  it('without followers reports nothing: a leader alone has no lag', () => {
    new SourceFollowers(gauge, 1000).apply(reading('a', 10, {}), 0)
    expect(lags()).toEqual({})
  })

  it('leaves out a follower whose position is not known yet', () => {
    const followers = new SourceFollowers(gauge, 1000)
    followers.apply(reading('a', 10, { r1: 9, starting: undefined }), 0)
    expect(lags()).toEqual({ 'a/r1': 1 })
  })

  it('keeps the last position of a follower that is there but does not tell its position', () => {
    const followers = new SourceFollowers(gauge, 1000)
    followers.apply(reading('a', 10, { r1: 9 }), 0)
    followers.apply(reading('a', 20, { r1: undefined }), 5000)
    expect(lags()).toEqual({ 'a/r1': 11 })
  })
})

describe('a follower that is no longer in the readings', () => {
  it('is measured from its last position until the retention time is over', () => {
    const followers = new SourceFollowers(gauge, 1000)
    followers.apply(reading('a', 10, { r1: 10, r2: 10 }), 0)
    followers.apply(reading('a', 50, { r1: 50 }), 999)
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 40 })
    followers.apply(reading('a', 60, { r1: 60 }), 1000)
    expect(lags()).toEqual({ 'a/r1': 0 })
  })

  it('goes on as the same one when it comes back', () => {
    const followers = new SourceFollowers(gauge, 1000)
    followers.apply(reading('a', 10, { r1: 10, r2: 10 }), 0)
    followers.apply(reading('a', 50, { r1: 50 }), 900)
    followers.apply(reading('a', 60, { r1: 60, r2: 55 }), 1800)
    followers.apply(reading('a', 60, { r1: 60 }), 2700)
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 5 })
  })

  it('takes its shard with it when it is the last one', () => {
    const followers = new SourceFollowers(gauge, 1000)
    followers.apply(reading('a', 10, { r1: 10 }), 0)
    followers.apply({ shards: [] }, 1000)
    expect(lags()).toEqual({})
    expect(gauge.remove('a')).toBe(false)
  })

  it('is removed at once with a retention of 0, and never with Infinity', () => {
    const never = new SourceFollowers(gauge, Infinity)
    never.apply(reading('b', 10, { r1: 10 }), 0)
    never.apply(reading('b', 20, {}), 1e15)
    const atOnce = new SourceFollowers(gauge, 0)
    atOnce.apply(reading('a', 10, { r1: 10, r2: 10 }), 0)
    atOnce.apply(reading('a', 20, { r2: 10 }), 1)
    expect(lags()).toEqual({ 'a/r2': 10, 'b/r1': 10 })
  })

  it('is removed also if it is the unnamed one', () => {
    const followers = new SourceFollowers(gauge, 1000)
    followers.apply(
      { shards: [{ shard: 'a', leaderSeqno: 9, followers: [{ appliedSeqno: 4 }] }] },
      0,
    )
    followers.apply({ shards: [] }, 1000)
    expect(lags()).toEqual({})
  })
})

describe('a reading that makes no sense', () => {
  it.each([null, undefined, 7, {}, { shards: 'a' }])('is refused as a whole if it is %s', (bad) => {
    const followers = new SourceFollowers(gauge, 1000)
    expect(() => followers.apply(bad as unknown as ReplicationReading, 0)).toThrow(
      /^expected a reading with an array of shards/,
    )
  })

  it('loses only the rows that make none; they are told', () => {
    const followers = new SourceFollowers(gauge, 1000)
    followers.apply(
      {
        shards: [
          null,
          { shard: '', leaderSeqno: 5, followers: [{ replica: 'x', appliedSeqno: 1 }] },
          { shard: 'no followers', leaderSeqno: 5 },
          { shard: 'a', leaderSeqno: 10, followers: [null, { replica: 'r1', appliedSeqno: -1 }] },
          {
            shard: 'b',
            leaderSeqno: 10,
            followers: [
              { replica: '', appliedSeqno: 3 },
              { replica: 'r1', appliedSeqno: 4 },
            ],
          },
          { shard: 'c', leaderSeqno: 1.5, followers: [{ appliedSeqno: 4 }] },
        ],
      } as unknown as ReplicationReading,
      0,
    )
    expect(lags()).toEqual({ 'b/r1': 6 })
    expect(
      told.matching('warn: ', 'reading: expected a shard with an array of followers'),
    ).toHaveLength(1)
    expect(told.matching('shard: expected')).toHaveLength(1)
    expect(told.matching('replica: expected')).toHaveLength(1)
    expect(told.matching('applied seqno of shard "a", replica "r1"')).toHaveLength(1)
    expect(told.matching('leader seqno of shard "c"')).toHaveLength(1)
  })
})
