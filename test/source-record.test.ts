import {
  ReplicationLagGauge,
  type ReplicationReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SourceRecord } from '../src/source-record.js'
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
    new SourceRecord('s', gauge, 1000).apply(reading('a', 10, { r1: 10, r2: 3 }), 0)
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 7 })
  })

  it('may have shards whose follower is unnamed', () => {
    const followers = [{ appliedSeqno: 4 }]
    new SourceRecord('s', gauge, 1000).apply(
      { shards: [{ shard: 7, leaderSeqno: 10, followers }] },
      0,
    )
    expect(lags()).toEqual({ '7/': 6 })
  })

  it('without followers reports nothing: a leader alone has no lag', () => {
    new SourceRecord('s', gauge, 1000).apply(reading('a', 10, {}), 0)
    expect(lags()).toEqual({})
  })

  it('without followers leaves alone what others know of the shard', () => {
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 4)
    const record = new SourceRecord('s', gauge, 0)
    record.apply(reading('a', 99, {}), 0)
    record.apply(reading('a', 99, { starting: undefined }), 1)
    record.apply({ shards: [] }, 2)
    expect(lags()).toEqual({ 'a/': 6 })
  })

  it('leaves out a follower whose position is not known yet', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 10, { r1: 9, starting: undefined }), 0)
    expect(lags()).toEqual({ 'a/r1': 1 })
  })

  it('keeps the last position of a follower that is there but does not tell its position', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 10, { r1: 9 }), 0)
    record.apply(reading('a', 20, { r1: undefined }), 5000)
    expect(lags()).toEqual({ 'a/r1': 11 })
  })
})

describe('a follower that is no longer in the readings', () => {
  it('is measured from its last position until the retention time is over', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 10, { r1: 10, r2: 10 }), 0)
    record.apply(reading('a', 50, { r1: 50 }), 999)
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 40 })
    record.apply(reading('a', 60, { r1: 60 }), 1000)
    expect(lags()).toEqual({ 'a/r1': 0 })
  })

  it('goes on as the same one when it comes back', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 10, { r1: 10, r2: 10 }), 0)
    record.apply(reading('a', 50, { r1: 50 }), 900)
    record.apply(reading('a', 60, { r1: 60, r2: 55 }), 1800)
    record.apply(reading('a', 60, { r1: 60 }), 2700)
    expect(lags()).toEqual({ 'a/r1': 0, 'a/r2': 5 })
  })

  it('takes its shard with it when it is the last one', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 10, { r1: 10 }), 0)
    record.apply({ shards: [] }, 1000)
    expect(lags()).toEqual({})
    expect(gauge.remove('a')).toBe(false)
  })

  it('is removed at once with a retention of 0, and never with Infinity', () => {
    const never = new SourceRecord('s', gauge, Infinity)
    never.apply(reading('b', 10, { r1: 10 }), 0)
    never.apply(reading('b', 20, {}), 1e15)
    const atOnce = new SourceRecord('s', gauge, 0)
    atOnce.apply(reading('a', 10, { r1: 10, r2: 10 }), 0)
    atOnce.apply(reading('a', 20, { r2: 10 }), 1)
    expect(lags()).toEqual({ 'a/r2': 10, 'b/r1': 10 })
  })

  it('is removed also if it is the unnamed one', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply({ shards: [{ shard: 'a', leaderSeqno: 9, followers: [{ appliedSeqno: 4 }] }] }, 0)
    record.apply({ shards: [] }, 1000)
    expect(lags()).toEqual({})
  })
})

describe('a follower that is none any more, as its source says', () => {
  it('is forgotten at once, and no other', () => {
    const record = new SourceRecord('s', gauge, Infinity)
    record.apply(reading('a', 10, { r1: 4, r2: 5 }), 0)
    const followers = [{ replica: 'r1', appliedSeqno: 4 }]
    const removed = ['r2', 'unknown', null as unknown as string]
    record.apply({ shards: [{ shard: 'a', leaderSeqno: 10, followers, removed }] }, 1)
    expect(lags()).toEqual({ 'a/r1': 6 })
  })
})

describe('a follower that two sources report', () => {
  it('stays until neither does', () => {
    const [one, two] = [new SourceRecord('1', gauge, 0), new SourceRecord('2', gauge, 0)]
    gauge.sources.add(one).add(two)
    one.apply(reading('a', 10, { r1: 4 }), 0)
    two.apply(reading('a', 10, { r1: 4 }), 0)
    one.apply({ shards: [] }, 1)
    expect(lags()).toEqual({ 'a/r1': 6 })
    two.apply({ shards: [] }, 2)
    expect(lags()).toEqual({})
  })
})

describe('a follower that a source has left behind', () => {
  /** What another thread would have of it. */
  const leaveBehind = () => {
    const other = ReplicationLagGauge.attach(gauge.share())
    other.updateAppliedSeqno('a', 1, 'by hand')
    const before = new SourceRecord('s', other, 1000)
    before.apply(reading('a', 10, { r1: 4, r2: 5 }), 0)
    for (let miss = 0; miss < 3; miss++) before.miss()
  }

  it('is taken over by the next that reads its shard, and removed when the retention time is over', () => {
    leaveBehind()
    expect(lags()).toEqual({ 'a/by hand': 9 })
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 20, { r2: 5 }), 5000)
    expect(lags()).toEqual({ 'a/by hand': 19, 'a/r1': 16, 'a/r2': 15 })
    record.apply(reading('a', 20, { r2: 5 }), 6000)
    expect(lags()).toEqual({ 'a/by hand': 19, 'a/r2': 15 })
  })

  it('is left to a source that reports it', () => {
    leaveBehind()
    const [one, two] = [new SourceRecord('1', gauge, 0), new SourceRecord('2', gauge, 0)]
    gauge.sources.add(one).add(two)
    one.apply(reading('a', 20, { r1: 4, r2: 5 }), 5000)
    two.apply(reading('a', 20, {}), 5000)
    const found: string[] = []
    two.forEachFollower(({ replica }) => found.push(replica ?? ''))
    expect(found).toEqual([])
  })
})

describe('a shard that comes to name its followers', () => {
  it('loses the unnamed one when the retention time is over', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply({ shards: [{ shard: 'a', leaderSeqno: 9, followers: [{ appliedSeqno: 4 }] }] }, 0)
    record.apply(reading('a', 10, { r1: 4 }), 500)
    expect(lags()).toEqual({ 'a/': 6, 'a/r1': 6 })
    record.apply(reading('a', 10, { r1: 4 }), 1000)
    expect(lags()).toEqual({ 'a/r1': 6 })
  })

  it('has no follower that nobody has seen when it loses its unnamed one, in any thread', () => {
    const other = ReplicationLagGauge.attach(gauge.share())
    const record = new SourceRecord('s', gauge, 0)
    record.apply({ shards: [{ shard: 'a', leaderSeqno: 9, followers: [{ appliedSeqno: 4 }] }] }, 0)
    for (const second of [1, 2]) record.apply(reading('a', 10, {}), second)
    for (const attached of [gauge, other, gauge, other])
      expect(attached.collectMetrics()).toEqual([])
  })
})

describe('a leader without followers', () => {
  const leaders = () => {
    const found: Record<string, bigint> = {}
    gauge.forEachLeader((shard, seqno) => (found[shard] = seqno))
    return found
  }

  it('has its position reported and no lag, for as long as its source reads it', () => {
    const record = new SourceRecord('s', gauge, 0)
    record.apply(reading('a', 10, {}), 0)
    record.apply(reading('a', 12, { starting: undefined }), 1)
    expect([leaders(), lags()]).toEqual([{ a: 12n }, {}])
    for (let miss = 0; miss < 3; miss++) record.miss()
    expect(leaders()).toEqual({})
    record.apply(reading('a', 13, {}), 2)
    expect([leaders(), lags()]).toEqual([{ a: 13n }, {}])
    record.apply({ shards: [] }, 3)
    expect(leaders()).toEqual({})
  })
})

describe('a reading that makes no sense', () => {
  it.each([null, undefined, 7, {}, { shards: 'a' }])('is refused as a whole if it is %s', (bad) => {
    const record = new SourceRecord('s', gauge, 1000)
    expect(() => record.apply(bad as unknown as ReplicationReading, 0)).toThrow(
      /^expected a reading with an array of shards/,
    )
  })

  it('loses only the rows that make none; they are told', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(
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
      told.matching('warn: ', 'source "s": expected a shard with an array of followers'),
    ).toHaveLength(1)
    expect(told.matching('shard: expected')).toHaveLength(1)
    expect(told.matching('replica: expected')).toHaveLength(1)
    expect(told.matching('applied seqno of shard "a", replica "r1"')).toHaveLength(1)
    expect(told.matching('leader seqno of shard "c"')).toHaveLength(1)
  })

  const unreadable = {
    get replica(): string {
      throw new Error('not to be read')
    },
    get epoch(): string {
      throw new Error('not to be read')
    },
  }

  it.each<[string, unknown]>([
    ['that cannot be read', unreadable],
    [
      'with a connection that is neither true nor false',
      { replica: 'x', appliedSeqno: 1, connected: 'no' },
    ],
    ['with a connection that is null', { replica: 'x', appliedSeqno: 1, connected: null }],
  ])('loses a follower %s, and no other; it is told once', (_, bad) => {
    const record = new SourceRecord('s', gauge, 1000)
    const [r1, r2] = [
      { replica: 'r1', appliedSeqno: 4 },
      { replica: 'r2', appliedSeqno: 5 },
    ]
    const followers = [r1, bad, r2] as (typeof r1)[]
    for (let read = 0; read < 2; read++) {
      record.apply({ shards: [{ shard: 'a', leaderSeqno: 10, followers }] }, read)
      expect(lags()).toEqual({ 'a/r1': 6, 'a/r2': 5 })
    }
    expect(told.matching('warn', 'expected a follower that is connected')).toHaveLength(1)
  })

  it.each<[string, unknown]>([
    ['that cannot be read', unreadable],
    [
      'with an epoch that is no string',
      { shard: 'x', leaderSeqno: 5, followers: [{}], epoch: NaN },
    ],
    ['with an epoch that is an object', { shard: 'x', leaderSeqno: 5, followers: [{}], epoch: {} }],
  ])('loses a shard %s, and no other; it is told once', (_, bad) => {
    const record = new SourceRecord('s', gauge, 1000)
    const good = reading('a', 10, { r1: 4 }).shards
    for (let read = 0; read < 2; read++) {
      record.apply({ shards: [bad, ...good] as typeof good }, read)
      expect(lags()).toEqual({ 'a/r1': 6 })
    }
    expect(told.matching('warn', 'an epoch that is a string')).toHaveLength(1)
  })
})

describe('a follower of a source', () => {
  const connections = (record: SourceRecord) => {
    const found: Record<string, boolean> = {}
    record.forEachFollower(({ shard, replica }, isConnected) => {
      found[`${shard}/${replica ?? ''}`] = isConnected
    })
    return found
  }

  it('is connected while it is in the readings, unless the source says otherwise', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(
      {
        shards: [
          {
            shard: 'a',
            leaderSeqno: 10,
            followers: [
              { replica: 'r1', appliedSeqno: 10 },
              { replica: 'slot', appliedSeqno: 4, connected: false },
              { replica: 'starting' },
            ],
          },
        ],
      },
      0,
    )
    expect(connections(record)).toEqual({ 'a/r1': true, 'a/slot': false, 'a/starting': true })
    record.apply(reading('a', 10, { slot: 9 }), 1)
    expect(connections(record)).toEqual({ 'a/r1': false, 'a/slot': true, 'a/starting': false })
    record.apply(reading('a', 10, { slot: 9 }), 1000)
    expect(connections(record)).toEqual({ 'a/slot': true })
  })

  it('has its problem told once, and again when it is another', () => {
    const record = new SourceRecord('s', gauge, 1000)
    const withProblem = (problem?: string): ReplicationReading => ({
      shards: [
        {
          shard: 'a',
          leaderSeqno: 1,
          followers: [{ replica: 'r1', ...(problem !== undefined && { problem }) }],
        },
      ],
    })
    for (const problem of ['lost', 'lost', undefined, 'lost', 'gone']) {
      record.apply(withProblem(problem), 0)
    }
    expect(told.messages).toEqual(
      ['lost', 'lost', 'gone'].map(
        (problem) =>
          expect.stringContaining(`source "s": follower "r1" of shard "a": ${problem}`) as string,
      ),
    )
  })

  it('that is there twice in one reading is taken once, and told', () => {
    const record = new SourceRecord('s', gauge, 1000)
    const followers = [1, 2].map((appliedSeqno) => ({ replica: 'r1', appliedSeqno }))
    record.apply({ shards: [{ shard: 'a', leaderSeqno: 10, followers }] }, 0)
    record.apply({ shards: [{ shard: 'a', leaderSeqno: 11, followers }] }, 0)
    expect(lags()).toEqual({ 'a/r1': 10 })
    expect(
      told.matching('warn: ', 'expected one row for the follower "r1" of shard "a"'),
    ).toHaveLength(1)
  })

  it('may be one of a million', () => {
    const record = new SourceRecord('s', gauge, 1000)
    const followers = Array.from({ length: 1_000_000 }, (_, replica) => ({
      replica,
      appliedSeqno: 1,
    }))
    record.apply({ shards: [{ shard: 'a', leaderSeqno: 10, followers }] }, 0)
    expect(gauge.lagSeqno('a', 999_999)).toBe(9)
    record.apply({ shards: [] }, 1000)
    expect(lags()).toEqual({})
  })

  it('that goes back is believed: it may have been rebuilt', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 10, { r1: 9 }), 0)
    record.apply(reading('a', 8, { r1: 2 }), 1)
    expect(lags()).toEqual({ 'a/r1': 6 })
  })
})

describe('an epoch', () => {
  const inEpoch = (epoch: string, leaderSeqno: number, applied: Record<string, number>) => {
    const [shard] = reading('a', leaderSeqno, applied).shards
    if (!shard) throw new Error('the reading has one shard')
    return { shards: [{ ...shard, epoch }] }
  }

  it('that is new forgets the followers of the old one', () => {
    const record = new SourceRecord('s', gauge, 3_600_000)
    record.apply(inEpoch('1', 1000, { promoted: 1000, r2: 990 }), 0)
    record.apply(inEpoch('2', 1010, { r2: 1005 }), 1)
    expect(lags()).toEqual({ 'a/r2': 5 })
    const followers: string[] = []
    record.forEachFollower(({ replica }) => void followers.push(replica ?? ''))
    expect(followers).toEqual(['r2'])
  })

  it('that is new compares no follower with a leader of the other history', () => {
    const record = new SourceRecord('s', gauge, 3_600_000)
    record.apply(inEpoch('1', 1000, { r1: 10 }), 0)
    record.apply(
      {
        shards: [
          { shard: 'a', leaderSeqno: 1_000_000, followers: [{ replica: 'r1' }], epoch: '2' },
        ],
      },
      1,
    )
    expect(lags()).toEqual({})
  })
})

describe('a source', () => {
  it('is down and without a success before its first read', () => {
    const record = new SourceRecord('s', gauge, 1000)
    expect(record.isUp).toBe(false)
    expect(record.lastSuccessSeconds).toBeUndefined()
  })

  it('is up after a read, with the time of day', () => {
    const record = new SourceRecord('s', gauge, 1000)
    const before = Date.now() / 1000
    record.apply({ shards: [] }, 0)
    expect(record.isUp).toBe(true)
    expect(record.lastSuccessSeconds).toBeGreaterThanOrEqual(before)
    expect(record.lastSuccessSeconds).toBeLessThanOrEqual(Date.now() / 1000)
  })

  it('that misses a read is down at once, and has its followers withheld after the third', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 10, { r1: 4 }), 0)
    gauge.updateLeaderSeqno('other', 3)
    for (const expected of [
      { 'a/r1': 6, 'other/': 3 },
      { 'a/r1': 6, 'other/': 3 },
      { 'other/': 3 },
    ]) {
      record.miss()
      expect(record.isUp).toBe(false)
      expect(lags()).toEqual(expected)
    }
    expect(gauge.lagSeqno('a', 'r1')).toBe(6)
  })

  it('that cannot be read tells of no connections, until it can', () => {
    const record = new SourceRecord('s', gauge, 1000)
    const connected: boolean[] = []
    const look = () => {
      connected.length = 0
      record.forEachFollower((_, isConnected) => connected.push(isConnected))
      return connected
    }
    record.apply(reading('a', 10, { r1: 4 }), 0)
    for (let miss = 0; miss < 3; miss++) {
      expect(look()).toEqual([true])
      record.miss()
    }
    expect(look()).toEqual([])
    record.apply(reading('a', 10, { r1: 4 }), 1)
    expect(look()).toEqual([true])
  })

  it('that is not read for now is down', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 10, { r1: 4 }), 0)
    record.withhold()
    expect(record.isUp).toBe(false)
    expect(lags()).toEqual({})
  })

  it('that recovers heals by itself', () => {
    const record = new SourceRecord('s', gauge, 1000)
    record.apply(reading('a', 10, { r1: 4, r2: 10 }), 0)
    for (let misses = 0; misses < 5; misses++) record.miss()
    record.apply(reading('a', 20, { r1: 4 }), 1)
    expect(record.isUp).toBe(true)
    expect(lags()).toEqual({ 'a/r1': 16, 'a/r2': 10 })
    record.miss()
    expect(lags()).toEqual({ 'a/r1': 16, 'a/r2': 10 })
  })
})
