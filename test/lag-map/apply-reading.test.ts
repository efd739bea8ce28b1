import type {
  FollowerReading,
  ReplicationReading,
  ShardReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  answer,
  collectedFrom,
  fail,
  INTERVAL,
  lagsOf,
  pass,
  pointsOf,
  setUpPolling,
} from '../support/polling.js'
import { reading } from '../support/scripted-source.js'

const test = setUpPolling()

const RETENTION = 10 * INTERVAL
const MIN_FRESH = 15_000
const NOTHING: ReplicationReading = { shards: [] }

/** A reading of shard `a`. */
const shard = (
  leaderSeqno: number,
  followers: readonly FollowerReading[],
  rest: Partial<ShardReading> = {},
): ReplicationReading => ({ shards: [{ shard: 'a', leaderSeqno, followers, ...rest }] })

/** Polls until the source was read once, then again for each further reading, an interval apart. */
async function read(first: ReplicationReading, ...others: ReplicationReading[]): Promise<void> {
  if (test.source.reads.length === 0) test.poll({ retentionMillis: RETENTION }).start()
  else await pass(INTERVAL)
  await answer(test.source, first)
  for (const other of others) {
    await pass(INTERVAL)
    await answer(test.source, other)
  }
}

/** Reads the same again at each interval for so long. */
async function keepReading(found: ReplicationReading, millis: number): Promise<void> {
  for (let passed = 0; passed < millis; passed += INTERVAL) await read(found)
}

const lags = () => lagsOf(test.gauge)
const connections = () => pointsOf(test.gauge, 'replication_follower_connected')
const leaders = () => pointsOf(test.gauge, 'replication_leader_seqno')
const up = () => pointsOf(test.gauge, 'replication_source_up')

describe('a reading', () => {
  it('becomes the lag of its followers', async () => {
    await read(reading('a', 10, { r1: 10, r2: 3 }))
    expect(test.gauge.collectMetrics()).toEqual([
      {
        ...{ shard: 'a', replica: 'r1', lagSeqno: 0, lagSeconds: 0, connected: true },
        ...{ leaderSeqno: 10, appliedSeqno: 10 },
      },
      {
        ...{ shard: 'a', replica: 'r2', lagSeqno: 7, connected: true },
        ...{ leaderSeqno: 10, appliedSeqno: 3 },
      },
    ])
  })

  it('may have shards and followers whose names are numbers', async () => {
    const followers = [{ replica: 1, appliedSeqno: 4 }]
    await read({ shards: [{ shard: 7, leaderSeqno: 10, followers }] })
    expect(lags()).toEqual({ '7/1': 6 })
  })

  it('may have a follower without a name', async () => {
    await read(shard(10, [{ appliedSeqno: 4 }]))
    expect(lags()).toEqual({ 'a/': 6 })
    expect(await connections()).toEqual({ a: 1 })
    await read(NOTHING)
    expect(await connections()).toEqual({ a: 0 })
    await keepReading(NOTHING, RETENTION)
    expect(lags()).toEqual({})
  })

  it('replaces the one before, also with lower positions', async () => {
    await read(reading('a', 1000, { r1: 990 }))
    await read(reading('a', 8, { r1: 2 }))
    expect(lags()).toEqual({ 'a/r1': 6 })
    expect(await leaders()).toEqual({ a: 8 })
  })

  it('has followers and leader of one moment, so a lag of its own even if it is negative', async () => {
    await read(reading('a', 10, { r1: 12 }))
    expect(lags()).toEqual({ 'a/r1': -2 })
    expect(test.gauge.lagSeconds('a', 'r1')).toBe(0)
  })

  it('may have many followers', async () => {
    const followers = Array.from({ length: 20_000 }, (_, replica) => ({
      replica,
      appliedSeqno: replica,
    }))
    await read(shard(20_000, followers))
    expect(test.gauge.lagSeqno('a', 1)).toBe(19_999)
    expect(test.gauge.collectMetrics()).toHaveLength(20_000)
    await keepReading(NOTHING, RETENTION + INTERVAL)
    expect(lags()).toEqual({})
  })
})

describe('a follower without a known position', () => {
  it('has its connection reported from its first reading on, and its lag from its first position on', async () => {
    await read(shard(10, [{ replica: 'r1' }]))
    expect(await collectedFrom(test.gauge)).toEqual({
      'replication_follower_connected{a,r1}': 1,
      'replication_leader_seqno{a}': 10,
      'replication_source_up{scripted}': 1,
      'replication_source_last_success_timestamp_seconds{scripted}': Date.now() / 1000,
    })
    expect(test.gauge.collectMetrics()).toEqual([
      { shard: 'a', replica: 'r1', connected: true, leaderSeqno: 10 },
    ])
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(0)
    expect(test.gauge.lagSeconds('a', 'r1')).toBeUndefined()
    await read(reading('a', 10, { r1: 4 }))
    expect(lags()).toEqual({ 'a/r1': 6 })
  })

  it('keeps its last known one', async () => {
    await read(reading('a', 10, { r1: 9 }))
    await read(reading('a', 20, { r1: undefined }))
    expect(lags()).toEqual({ 'a/r1': 11 })
    expect(await connections()).toEqual({ 'a,r1': 1 })
  })

  it('may be at position 0', async () => {
    await read(reading('a', 10, { r1: 0 }))
    expect(lags()).toEqual({ 'a/r1': 10 })
  })
})

describe('a leader without followers', () => {
  it('has its position reported and no lag, for as long as it is in the readings', async () => {
    await read(reading('a', 10, {}))
    expect([await leaders(), lags()]).toEqual([{ a: 10 }, {}])
    await read(reading('a', 12, {}))
    expect([await leaders(), lags()]).toEqual([{ a: 12 }, {}])
    await read(NOTHING)
    expect(await leaders()).toEqual({})
  })

  it('that was in the readings with followers goes with the last of them', async () => {
    await read(reading('a', 10, { r1: 4 }))
    await read(NOTHING)
    expect([await leaders(), lags()]).toEqual([{ a: 10 }, { 'a/r1': 6 }])
    await keepReading(NOTHING, RETENTION)
    expect([await leaders(), lags()]).toEqual([{}, {}])
  })
})

describe('a follower that is not in the reading', () => {
  it('is disconnected, and its lag grows with its leader', async () => {
    await read(reading('a', 10, { r1: 10, r2: 10 }), reading('a', 50, { r1: 50 }))
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 40 })
    expect(await connections()).toEqual({ 'a,r1': 1, 'a,r2': 0 })
  })

  it('is kept until the retention time after it was missed first is over', async () => {
    await read(reading('a', 10, { r1: 10, r2: 10 }))
    await keepReading(reading('a', 50, { r1: 50 }), RETENTION)
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 40 })
    await read(reading('a', 60, { r1: 60 }))
    expect(lags()).toEqual({ 'a/r1': 0 })
    expect(await connections()).toEqual({ 'a,r1': 1 })
  })

  it('is removed when its time is over, also between two reads', async () => {
    const retentionMillis = INTERVAL / 2
    test.poll({ retentionMillis }).start()
    await answer(test.source, reading('a', 10, { r1: 10, r2: 10 }))
    await read(reading('a', 10, { r1: 10 }))
    await pass(retentionMillis - 1)
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 0 })
    await pass(1)
    expect(test.gauge.lagSeqno('a', 'r2')).toBe(0)
    expect(lags()).toEqual({ 'a/r1': 0 })
  })

  it('is the same one when it comes back, with a new retention time', async () => {
    const [both, one] = [reading('a', 60, { r1: 60, r2: 55 }), reading('a', 60, { r1: 60 })]
    await read(both)
    await keepReading(one, RETENTION - INTERVAL)
    await read(both)
    expect(await connections()).toEqual({ 'a,r1': 1, 'a,r2': 1 })
    await keepReading(one, RETENTION - INTERVAL)
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 5 })
    expect(await connections()).toEqual({ 'a,r1': 1, 'a,r2': 0 })
  })

  it('is a new one when it comes back after its time, even if nothing was collected in between', async () => {
    test.poll({ retentionMillis: INTERVAL }).start()
    await answer(test.source, reading('a', 10, { r1: 4 }))
    await read(NOTHING, reading('a', 20, { r1: undefined }))
    expect(lags()).toEqual({})
    expect(await connections()).toEqual({ 'a,r1': 1 })
    await read(reading('a', 20, { r1: 19 }))
    expect(lags()).toEqual({ 'a/r1': 1 })
  })

  it('is kept forever with a retention time of Infinity', async () => {
    const pollIntervalMillis = 24 * 3_600_000
    test.poll({ pollIntervalMillis, retentionMillis: Infinity }).start()
    await answer(test.source, reading('a', 10, { r1: 10 }))
    test.source.read = () => Promise.resolve(reading('a', 30, {}))
    await pass(1000 * pollIntervalMillis)
    expect(lags()).toEqual({ 'a/r1': 20 })
  })

  it('is disconnected too if the whole shard is not in the reading', async () => {
    const [a, b] = [reading('a', 10, { r1: 4 }), reading('b', 20, { r1: 4 })]
    await read({ shards: [...a.shards, ...b.shards] }, b)
    expect(lags()).toEqual({ 'a/r1': 6, 'b/r1': 16 })
    expect(await connections()).toEqual({ 'a,r1': 0, 'b,r1': 1 })
  })
})

describe('a follower that its source calls disconnected', () => {
  const slot = shard(10, [{ replica: 'slot', appliedSeqno: 4, connected: false }])

  it('is reported so, and kept for as long as it is in the readings', async () => {
    await read(slot)
    expect(await connections()).toEqual({ 'a,slot': 0 })
    await keepReading(slot, 2 * RETENTION)
    expect(lags()).toEqual({ 'a/slot': 6 })
    await read(reading('a', 10, { slot: 9 }))
    expect(await connections()).toEqual({ 'a,slot': 1 })
  })

  it('has its retention time from the first reading without it', async () => {
    await read(slot)
    await keepReading(slot, RETENTION)
    await keepReading(NOTHING, RETENTION)
    expect(lags()).toEqual({ 'a/slot': 6 })
    await read(NOTHING)
    expect(lags()).toEqual({})
  })
})

describe('a follower that its source calls removed', () => {
  it('is removed at once, and no other', async () => {
    await read(reading('a', 10, { r1: 4, r2: 5, 3: 6 }))
    await read(
      shard(10, [{ replica: 'r1', appliedSeqno: 4 }], { removed: ['never seen', 'r2', 3] }),
    )
    expect(lags()).toEqual({ 'a/r1': 6 })
    expect(await connections()).toEqual({ 'a,r1': 1 })
  })

  it('may come back', async () => {
    await read(reading('a', 10, { r1: 4 }))
    await read(shard(10, [], { removed: ['r1'] }))
    await read(reading('a', 10, { r1: 7 }))
    expect(lags()).toEqual({ 'a/r1': 3 })
  })

  it('stays if the same reading has it among the followers', async () => {
    await read(shard(10, [{ replica: 'r1', appliedSeqno: 4 }], { removed: ['r1'] }))
    expect(lags()).toEqual({ 'a/r1': 6 })
  })

  it('leaves nothing that looks like a follower behind by the whole log', async () => {
    await read(reading('a', 10, { r1: 4 }))
    await read(shard(10, [], { removed: ['r1'] }))
    expect(lags()).toEqual({})
    expect(test.gauge.lagSeqno('a')).toBe(0)
    await read(NOTHING)
    expect(await collectedFrom(test.gauge)).toEqual({
      'replication_source_up{scripted}': 1,
      'replication_source_last_success_timestamp_seconds{scripted}': Date.now() / 1000,
    })
  })
})

describe('a complete reading', () => {
  const complete = (shards: ReplicationReading) => ({ ...shards, complete: true })

  it('removes the followers that it lacks, and no other', async () => {
    await read(reading('a', 10, { r1: 4, r2: 5 }))
    await read(complete(reading('a', 10, { r1: 4 })))
    expect(lags()).toEqual({ 'a/r1': 6 })
    expect(await connections()).toEqual({ 'a,r1': 1 })
  })

  it('removes what has disappeared in incomplete readings before it', async () => {
    await read(reading('a', 10, { r1: 4, r2: 5, r3: 6 }))
    await read(reading('a', 10, { r1: 4, r2: 5 }), reading('a', 10, { r1: 4 }))
    expect(await connections()).toEqual({ 'a,r1': 1, 'a,r2': 0, 'a,r3': 0 })
    await read(complete(reading('a', 10, { r1: 4 })))
    expect(await connections()).toEqual({ 'a,r1': 1 })
  })

  it('removes the shards that it lacks', async () => {
    const b = reading('b', 20, { r1: 4 })
    await read({ shards: [...reading('a', 10, { r1: 4 }).shards, ...b.shards] })
    await read(complete(b))
    expect([lags(), await leaders()]).toEqual([{ 'b/r1': 16 }, { b: 20 }])
    await read(complete(NOTHING))
    expect([lags(), await leaders()]).toEqual([{}, {}])
  })

  it('keeps a disconnected follower that it has', async () => {
    await read(complete(reading('a', 10, { r1: 4 })))
    await read(complete(shard(20, [{ replica: 'r1', connected: false }])))
    expect([lags(), await connections()]).toEqual([{ 'a/r1': 16 }, { 'a,r1': 0 }])
  })
})

describe('a shard whose leader cannot be read', () => {
  const unread: ShardReading = {
    ...{ shard: 'a', problem: 'it has no leader' },
    followers: [{ replica: 'r1', connected: false }],
  }
  const other = reading('b', 20, { r1: 4 }).shards
  const bad: ReplicationReading = { shards: [unread, ...other] }

  it('becomes stale, and the others do not', async () => {
    await read({ shards: [...reading('a', 10, { r1: 4 }).shards, ...other] })
    await keepReading(bad, MIN_FRESH)
    expect(lags()).toEqual({ 'a/r1': 6, 'b/r1': 16 })
    await read(bad)
    expect([lags(), await leaders()]).toEqual([{ 'b/r1': 16 }, { b: 20 }])
    expect(await connections()).toEqual({ 'a,r1': 0, 'b,r1': 1 })
    expect(await up()).toEqual({ scripted: 1 })
    expect(test.gauge.lagSeconds('a', 'r1')).toBeUndefined()
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(6)
    await read({ shards: [...reading('a', 30, { r1: 4 }).shards, ...other] })
    expect(lags()).toEqual({ 'a/r1': 26, 'b/r1': 16 })
  })

  it('keeps its history', async () => {
    await read(shard(10, [{ replica: 'r1', appliedSeqno: 4 }], { epoch: '1' }))
    await read(bad)
    await read(shard(10, [{ replica: 'r1' }], { epoch: '1' }))
    expect(lags()).toMatchObject({ 'a/r1': 6 })
  })

  it('has its connections reported from the start', async () => {
    await read(bad)
    expect(await connections()).toEqual({ 'a,r1': 0, 'b,r1': 1 })
    expect(await leaders()).toEqual({ b: 20 })
  })

  it('has its problem logged when it changes', async () => {
    await keepReading(bad, 3 * INTERVAL)
    expect(test.logged.messages).toEqual([expect.stringContaining('warn: ')])
    expect(test.logged.messages[0]).toContain('source "scripted": shard "a": it has no leader')
    await read({ shards: [...reading('a', 10, { r1: 4 }).shards, ...other] }, bad)
    expect(test.logged.messages).toHaveLength(2)
  })
})

describe('a diverged follower', () => {
  const diverged = shard(10, [{ replica: 'r1', appliedSeqno: 12, diverged: true }])

  it('has no lag and counts as disconnected, until it is comparable again', async () => {
    await read(reading('a', 10, { r1: 4 }))
    await read(diverged)
    expect(test.gauge.collectMetrics()).toEqual([
      { shard: 'a', replica: 'r1', connected: false, leaderSeqno: 10, appliedSeqno: 12 },
    ])
    expect(test.gauge.lagSeconds('a', 'r1')).toBeUndefined()
    await read(reading('a', 20, { r1: 14 }))
    expect(lags()).toEqual({ 'a/r1': 6 })
    expect(await connections()).toEqual({ 'a,r1': 1 })
  })

  it('has no lag after it has disappeared from the readings', async () => {
    await read(diverged)
    await keepReading(shard(20, []), 3 * INTERVAL)
    expect([lags(), await connections()]).toEqual([{}, { 'a,r1': 0 }])
  })
})

describe('a position that was read at another time than the leader', () => {
  /** Of the next reading, which is an interval away. */
  const compared = (leaderSeqno: number, ago: number): Partial<FollowerReading> => ({
    comparedWith: { leaderSeqno, at: performance.now() + INTERVAL - ago },
  })
  beforeEach(() => read(NOTHING))

  it('is compared with where the leader was then', async () => {
    await read(
      shard(100, [
        { replica: 'early', appliedSeqno: 9, receivedSeqno: 10, ...compared(10, 900) },
        { replica: 'now', appliedSeqno: 99 },
      ]),
    )
    expect(lags()).toEqual({ 'a/early': 1, 'a/now': 1 })
    expect(await pointsOf(test.gauge, 'replication_receive_lag_seqno')).toEqual({ 'a,early': 0 })
    expect(test.gauge.leaderSeqno('a')).toBe(100n)
  })

  it('is compared with the leader as it is now once the follower is not read', async () => {
    await read(shard(100, [{ replica: 'r1', appliedSeqno: 9, ...compared(10, 900) }]))
    await read(shard(100, [{ replica: 'r1', connected: false, ...compared(10, 0) }]))
    expect(lags()).toEqual({ 'a/r1': 91 })
    await read(shard(100, [{ replica: 'r1', appliedSeqno: 9, ...compared(10, 0) }]))
    await read(shard(110, []))
    expect(lags()).toEqual({ 'a/r1': 101 })
  })

  it('is as old as what the leader has written since, if that is nothing', async () => {
    for (let second = 1; second <= 4; second++) {
      await read(shard(10, [{ replica: 'r1', appliedSeqno: 9, ...compared(10, 800) }]))
    }
    expect(lags()).toEqual({ 'a/r1': 1 })
    expect(test.gauge.lagSeconds('a', 'r1')).toBeCloseTo(3, 1)
  })

  it('has the age of its oldest entry at that time', async () => {
    // 1000 entries a second. The reading was held up for 800 ms after r1 was read, 10 entries behind.
    for (let second = 1; second <= 5; second++) {
      const leaderSeqno = second * 1000 - 800
      await read(
        shard(second * 1000, [
          { replica: 'r1', appliedSeqno: leaderSeqno - 10, ...compared(leaderSeqno, 800) },
          { replica: 'r2', appliedSeqno: leaderSeqno, ...compared(leaderSeqno, 800) },
        ]),
      )
    }
    expect(test.gauge.lagSeconds('a', 'r1')).toBeCloseTo(0.009, 3)
    expect(test.gauge.lagSeconds('a', 'r2')).toBe(0)
  })

  it.each([[['early', 'late']], [['late', 'early']]])(
    'says when entries were written that others lack, in the order %j',
    async (order) => {
      await read(reading('a', 100, { early: 100, late: 100 }))
      // 100 entries were written in the first 800 ms, and as many in the next 200.
      const followers: Record<string, FollowerReading> = {
        early: { replica: 'early', appliedSeqno: 200, ...compared(200, 200) },
        late: { replica: 'late', appliedSeqno: 200, ...compared(300, 0) },
      }
      await read(
        shard(
          300,
          order.map((name) => followers[name] as FollowerReading),
        ),
      )
      expect(test.gauge.lagSeconds('a', 'early')).toBe(0)
      expect(test.gauge.lagSeconds('a', 'late')).toBeCloseTo(0.198)
    },
  )
})

describe('a position that is a count', () => {
  it('has the age of the entry after the place up to which all were applied', async () => {
    const at = (leaderSeqno: number, appliedSeqno: number, appliedUpTo: number) =>
      shard(leaderSeqno, [{ replica: 'r1', appliedSeqno, appliedUpTo }])
    await read(at(100, 100, 100))
    // One of 10 entries in a second is held from then on, the first.
    for (let second = 1; second <= 9; second++) {
      await read(at(100 + second * 10, 99 + second * 10, 100))
    }
    expect(lags()).toEqual({ 'a/r1': 1 })
    expect(test.gauge.lagSeconds('a', 'r1')).toBeCloseTo(8.9)
    await read(shard(200, [{ replica: 'r1', connected: false }]))
    expect(lags()).toEqual({ 'a/r1': 11 })
    expect(test.gauge.lagSeconds('a', 'r1')).toBeCloseTo(9.9)
    await read(at(200, 200, 200))
    expect(test.gauge.lagSeconds('a', 'r1')).toBe(0)
  })
})

describe('a reading of a node that follows another one itself', () => {
  const standby = (leaderSeqno: number) =>
    Promise.resolve(shard(leaderSeqno, [], { cascading: true }))

  it.each([
    ['before', true],
    ['after', false],
  ])('gives way to one of the leader, added %s it, even if it is newer', async (_, isSecond) => {
    const add = () => test.poll({ sources: [{ name: 'standby', read: () => standby(8) }] })
    test.gauge.updateAppliedSeqno('a', 4, 'own')
    const first = isSecond ? undefined : add()
    await read(reading('a', 10, {}))
    await pass(1)
    ;(first ?? add()).start()
    await pass(0)
    expect(await leaders()).toEqual({ a: 10 })
    expect(lags()).toEqual({ 'a/own': 6 })
    expect(test.gauge.leaderSeqno('a')).toBe(10n)
  })

  it('is reported while there is no other', async () => {
    test.gauge.updateAppliedSeqno('a', 4, 'own')
    test.poll({ sources: [{ name: 'standby', read: () => standby(8) }] }).start()
    await pass(0)
    expect(await leaders()).toEqual({ a: 8 })
    expect(lags()).toEqual({ 'a/own': 4 })
  })
})

describe('the received and the retained position', () => {
  const positions = { replica: 'r1', appliedSeqno: 4, receivedSeqno: 7, retainedSeqno: 1 }
  const receiveLag = () => pointsOf(test.gauge, 'replication_receive_lag_seqno')

  it('are in the snapshot, and reported as distances from the leader', async () => {
    await read(shard(10, [positions]))
    expect(test.gauge.collectMetrics()).toMatchObject([
      { lagSeqno: 6, receiveLagSeqno: 3, retainedSeqno: 9 },
    ])
    expect(await receiveLag()).toEqual({ 'a,r1': 3 })
    expect(await pointsOf(test.gauge, 'replication_retained_seqno')).toEqual({ 'a,r1': 9 })
  })

  it('are reported for a follower whose applied position is not known', async () => {
    await read(shard(10, [{ replica: 'r1', receivedSeqno: 7 }]))
    expect(await receiveLag()).toEqual({ 'a,r1': 3 })
    expect(lags()).toEqual({})
  })

  it('stay as they were when the follower disconnects', async () => {
    await read(shard(10, [positions]), shard(20, []))
    expect(await receiveLag()).toEqual({ 'a,r1': 13 })
  })

  it('are not reported where a reading does not have them', async () => {
    await read(shard(10, [positions]), reading('a', 10, { r1: 4 }))
    expect(await receiveLag()).toEqual({})
    expect(await pointsOf(test.gauge, 'replication_retained_seqno')).toEqual({})
    expect(test.gauge.collectMetrics()[0]).not.toHaveProperty('receiveLagSeqno')
  })
})

describe('a new epoch', () => {
  const inEpoch = (epoch: string, leaderSeqno: number, applied: Record<string, number>) =>
    shard(
      leaderSeqno,
      Object.entries(applied).map(([replica, appliedSeqno]) => ({ replica, appliedSeqno })),
      { epoch },
    )

  it('starts its shard from scratch', async () => {
    await read(inEpoch('1', 1000, { promoted: 1000, r2: 990 }))
    await read(inEpoch('2', 1010, { r2: 1005 }))
    expect(lags()).toEqual({ 'a/r2': 5 })
    expect(await connections()).toEqual({ 'a,r2': 1 })
  })

  it('compares no follower with the leader of the other history', async () => {
    await read(inEpoch('1', 1000, { r1: 10 }))
    await read(shard(1_000_000, [{ replica: 'r1' }], { epoch: '2' }))
    expect(lags()).toEqual({})
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(0)
    expect(await leaders()).toEqual({ a: 1_000_000 })
  })

  it('begins too when a source starts or stops to name epochs', async () => {
    await read(reading('a', 10, { r1: 4, old: 4 }))
    await read(inEpoch('1', 10, { r1: 5, old: 5 }))
    await read(inEpoch('1', 10, { r1: 5 }))
    expect(lags()).toEqual({ 'a/r1': 5, 'a/old': 5 })
    await read(reading('a', 10, { r1: 4 }))
    expect(lags()).toEqual({ 'a/r1': 6 })
  })

  it('is one of its shard alone', async () => {
    const b = reading('b', 10, { r1: 4 })
    await read({ shards: [...inEpoch('1', 10, { r1: 4, old: 1 }).shards, ...b.shards] })
    await read({ shards: [...inEpoch('2', 10, { r1: 5 }).shards, ...b.shards] })
    expect(lags()).toEqual({ 'a/r1': 5, 'b/r1': 6 })
  })

  it('that is the old one again starts from scratch too', async () => {
    await read(inEpoch('1', 10, { r1: 4 }), inEpoch('2', 10, { r2: 5 }), inEpoch('1', 10, {}))
    expect(lags()).toEqual({})
  })

  it('does not begin while the shard is missing', async () => {
    await read(inEpoch('1', 10, { r1: 4, r2: 4 }), NOTHING, inEpoch('1', 20, { r1: 4 }))
    expect(lags()).toEqual({ 'a/r1': 16, 'a/r2': 16 })
  })
})

describe('a source', () => {
  it('has no state before its first read, and none while polling is stopped', async () => {
    const poller = test.poll()
    expect(await collectedFrom(test.gauge)).toEqual({})
    poller.start()
    expect(await up()).toEqual({})
    await answer(test.source, NOTHING)
    expect(await up()).toEqual({ scripted: 1 })
    poller.stop()
    expect(await collectedFrom(test.gauge)).toEqual({})
  })

  it('is up after a read, with the time of day', async () => {
    const name = 'replication_source_last_success_timestamp_seconds'
    await read(NOTHING)
    const lastSuccess = { scripted: Date.now() / 1000 }
    expect([await up(), await pointsOf(test.gauge, name)]).toEqual([{ scripted: 1 }, lastSuccess])
    await pass(INTERVAL)
    await fail(test.source, new Error('refused'))
    expect([await up(), await pointsOf(test.gauge, name)]).toEqual([{ scripted: 0 }, lastSuccess])
    await read(NOTHING)
    expect(await pointsOf(test.gauge, name)).toEqual({ scripted: Date.now() / 1000 })
  })

  it('is down without a time if its first read fails', async () => {
    test.poll().start()
    await fail(test.source, new Error('refused'))
    expect(await collectedFrom(test.gauge)).toEqual({ 'replication_source_up{scripted}': 0 })
  })
})

describe('what a source said', () => {
  const found = reading('a', 10, { r1: 4 })

  it.each([
    ['15 seconds if it is read often', 1000, 300, MIN_FRESH],
    ['three intervals and one timeout', 5000, 2000, 17_000],
    ['that also with a long timeout', 1000, 60_000, 63_000],
  ])('is reported for %s', async (_, pollIntervalMillis, pollTimeoutMillis, fresh) => {
    test.poll({ pollIntervalMillis, pollTimeoutMillis }).start()
    await answer(test.source, found)
    await pass(fresh)
    expect(lags()).toEqual({ 'a/r1': 6 })
    await pass(1)
    expect(lags()).toEqual({})
    expect([await leaders(), await connections()]).toEqual([{}, {}])
    expect(Object.keys(await up())).toEqual(['scripted'])
    // What is asked for by name is the last that is known.
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(6)
    expect(test.gauge.lagSeconds('a', 'r1')).toBeUndefined()
  })

  it('is reported again as soon as it is read again, disconnected followers too', async () => {
    await read(reading('a', 10, { r1: 4, r2: 10 }))
    await pass(MIN_FRESH + 1)
    expect(lags()).toEqual({})
    await fail(test.source, new Error('too late'))
    await answer(test.source, reading('a', 20, { r1: 4 }))
    expect(lags()).toEqual({ 'a/r1': 16, 'a/r2': 10 })
    expect(await connections()).toEqual({ 'a,r1': 1, 'a,r2': 0 })
  })

  it('is reported no longer because of failed reads', async () => {
    await read(found)
    for (let passed = INTERVAL; passed <= MIN_FRESH; passed += INTERVAL) {
      await pass(INTERVAL)
      await fail(test.source, new Error('refused'))
      expect(lags()).toEqual({ 'a/r1': 6 })
    }
    await pass(1)
    expect(lags()).toEqual({})
  })

  it('is no longer reported after a stop, and again after the first read of the next start', async () => {
    const poller = test.poll()
    poller.start()
    await answer(test.source, found)
    await pass(INTERVAL)
    await answer(test.source, found)
    expect(test.gauge.lagSeconds('a', 'r1')).toBe(1)
    poller.stop()
    expect(lags()).toEqual({})
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(6)
    expect(test.gauge.lagSeconds('a', 'r1')).toBeUndefined()
    poller.start()
    expect(lags()).toEqual({})
    await answer(test.source, reading('a', 10, { r1: 5 }))
    expect(lags()).toEqual({ 'a/r1': 5 })
  })

  it('is gone after the retention time when polling starts again much later', async () => {
    const poller = test.poll({ retentionMillis: RETENTION })
    poller.start()
    await answer(test.source, reading('a', 10, { r1: 4, r2: 4 }))
    await read(found)
    poller.stop()
    await pass(RETENTION)
    poller.start()
    await answer(test.source, found)
    expect(lags()).toEqual({ 'a/r1': 6 })
  })

  it('is not changed by the application', async () => {
    await read(found)
    expect(test.gauge.remove('a', 'r1')).toBe(false)
    expect(test.gauge.remove('a')).toBe(false)
    expect(lags()).toEqual({ 'a/r1': 6 })
  })
})
