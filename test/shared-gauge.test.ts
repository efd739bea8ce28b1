import {
  ReplicationLagGauge,
  ReplicationState,
  type SharedReplicationLagGauge,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ODD_NAMES } from './support/bad-input.js'
import { recordDiag, type DiagRecorder } from './support/diag.js'

// A gauge may be attached in the thread that has shared it, too.

let one: ReplicationLagGauge
let two: ReplicationLagGauge
beforeEach(() => {
  one = new ReplicationLagGauge()
  two = attached(one)
})

/** As it arrives in another thread. */
function attached(gauge: ReplicationLagGauge): ReplicationLagGauge {
  return ReplicationLagGauge.attach(structuredClone(gauge.share()))
}

describe('a gauge that is shared', () => {
  it('has its leaders and followers where it is attached', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 7)
    gauge.updateLeaderSeqno('b', 10)
    gauge.updateAppliedSeqno('b', 4, 'r1')
    gauge.applied('b', 'r2')
    expect(attached(gauge).collectMetrics()).toEqual(gauge.collectMetrics())
  })

  it('has what is added, stored and removed on the other side, whichever that is', () => {
    for (const [here, there] of [
      [one, two],
      [two, one],
    ] as const) {
      here.updateLeaderSeqno('a', 10)
      here.updateAppliedSeqno('a', 7, 'r1')
      expect(there.collectMetrics()).toEqual([
        { shard: 'a', replica: 'r1', lagSeqno: 3, leaderSeqno: 10n, appliedSeqno: 7n },
      ])
      there.updateAppliedSeqno('a', 8, 'r1')
      expect(here.lagSeqno('a', 'r1')).toBe(2)
      expect(there.remove('a', 'r1')).toBe(true)
      expect(here.remove('a', 'r1')).toBe(false)
      expect(here.collectMetrics()).toEqual([])
      expect(here.lagSeqno('a')).toBe(0)
      here.updateAppliedSeqno('a', 1, 'r1')
      expect(there.lagSeqno('a', 'r1')).toBe(9)
      expect(there.remove('a')).toBe(true)
      expect(here.collectMetrics()).toEqual([])
    }
  })

  it('finds by name at once what the other side has added', () => {
    one.updateLeaderSeqno('a', 10)
    expect(two.lagSeqno('a')).toBe(10)
    one.updateAppliedSeqno('a', 7)
    expect(two.lagSeqno('a')).toBe(3)
    one.updateAppliedSeqno('a', 1, 'r1')
    expect(two.lagSeqno('a', 'r1')).toBe(9)
    expect(two.remove('a', 'r1')).toBe(true)
    expect(two.applied('a').load()).toBe(7n)
  })

  it('has the same handles’ seqnos on both sides, until the follower is removed', () => {
    const handles = [one.applied('a', 'r1'), two.applied('a', 'r1')] as const
    handles[0].store(5)
    expect(handles[1].load()).toBe(5n)
    handles[1].store(6)
    expect(handles[0].load()).toBe(6n)
    one.remove('a', 'r1')
    one.updateAppliedSeqno('a', 1, 'r1')
    for (const handle of handles) {
      handle.store(9)
      expect(handle.load()).toBe(0n)
    }
    expect(two.applied('a', 'r1').load()).toBe(1n)
    expect(two.applied('a', 'r1')).not.toBe(handles[1])
  })

  it('does not fall back to an unnamed follower when the other side removes the last named one', () => {
    one.updateLeaderSeqno('a', 10)
    one.updateAppliedSeqno('a', 7, 'r1')
    two.remove('a', 'r1')
    for (const gauge of [one, two, attached(two)]) expect(gauge.collectMetrics()).toEqual([])
    two.remove('a')
    one.updateLeaderSeqno('a', 10)
    for (const gauge of [one, two, attached(two)]) expect(gauge.lagSeqno('a')).toBe(10)
  })

  it('may have named followers before, of which the last was removed', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 7, 'r1')
    gauge.remove('a', 'r1')
    expect(attached(gauge).collectMetrics()).toEqual([])
    // Once more, when it is shared already.
    expect(attached(gauge).collectMetrics()).toEqual([])
  })

  it('shows no follower of which only the leader has been heard', () => {
    two.collectMetrics()
    one.updateLeaderSeqno('named', 9)
    one.updateLeaderSeqno('unnamed', 9)
    one.updateLeaderSeqno('alone', 9)
    expect(two.collectMetrics()).toEqual([])
    one.updateAppliedSeqno('named', 9, 'r1')
    one.updateAppliedSeqno('unnamed', 9)
    expect(two.collectMetrics()).toEqual([
      { shard: 'named', replica: 'r1', lagSeqno: 0, leaderSeqno: 9n, appliedSeqno: 9n },
      { shard: 'unnamed', lagSeqno: 0, leaderSeqno: 9n, appliedSeqno: 9n },
      { shard: 'alone', lagSeqno: 9, leaderSeqno: 9n },
    ])
  })

  it('shows no follower of leaders that it hears of in the midst of a collection', () => {
    for (const shard of ['a', 'b', 'c']) {
      one.updateAppliedSeqno(shard, 9, 'r1')
      one.updateLeaderSeqno(shard, 9)
    }
    two.collectMetrics()
    const seen: unknown[] = []
    const visitOther = () => {
      one.remove('b')
      one.updateAppliedSeqno('new', 9, 'r1')
      one.updateLeaderSeqno('new', 9)
    }
    two.forEachFollower((follower) => {
      if (seen.length === 0) visitOther()
      seen.push(follower)
    })
    expect(seen).toEqual([
      { shard: 'a', replica: 'r1' },
      { shard: 'c', replica: 'r1' },
    ])
    expect(two.collectMetrics().map(({ lagSeqno }) => lagSeqno)).toEqual([0, 0, 0])
  })

  it('can be attached later, with what was shared at first', () => {
    one.updateLeaderSeqno('kept', 1)
    one.updateLeaderSeqno('removed', 1)
    const shared = one.share()
    two.remove('removed')
    two.updateLeaderSeqno('added', 1)
    one.updateLeaderSeqno('removed', 2)
    const late = ReplicationLagGauge.attach(structuredClone(shared))
    for (const gauge of [one, two]) gauge.collectMetrics() // They answer when they hear of it.
    late.collectMetrics()
    expect(late.collectMetrics().map(({ shard, lagSeqno }) => [shard, lagSeqno])).toEqual([
      ['kept', 1],
      ['added', 1],
      ['removed', 2],
    ])
  })

  it.each(ODD_NAMES)('takes odd names as they are: %s', (_, name) => {
    one.updateLeaderSeqno(name, 9)
    two.updateAppliedSeqno(name, 4, name)
    expect(one.lagSeqno(name, name)).toBe(5)
    expect(one.remove(name, name)).toBe(true)
    expect(two.collectMetrics()).toEqual([])
  })

  it('can have thousands of followers, added on both sides', () => {
    for (let shard = 0; shard < 5000; shard++) {
      one.updateLeaderSeqno(shard, 10)
      two.updateAppliedSeqno(shard, shard, 'r1')
    }
    expect(one.collectMetrics()).toHaveLength(5000)
    expect(two.collectMetrics()).toEqual(one.collectMetrics())
    for (let shard = 0; shard < 5000; shard += 2) expect(two.remove(shard)).toBe(true)
    expect(one.collectMetrics()).toHaveLength(2500)
  })

  it('counts and tells of bad updates on the side where they were made', () => {
    const told: DiagRecorder = recordDiag()
    two.updateLeaderSeqno('a', -1)
    two.leader('a').store(Number.NaN)
    told.stop()
    expect([one.rejectedUpdates, two.rejectedUpdates]).toEqual([0, 2])
    expect(told.matching('warn', 'leader seqno of shard "a"')).toHaveLength(1)
  })

  it('leaves out on both sides what one withholds', () => {
    one.updateLeaderSeqno('a', 9)
    one.updateAppliedSeqno('a', 4)
    const leaders = (gauge: ReplicationLagGauge) => {
      const shards: string[] = []
      gauge.forEachLeader((shard) => shards.push(shard))
      return shards
    }
    expect(leaders(two)).toEqual(['a'])
    one.setWithheld('a', undefined, true)
    one.setLeaderWithheld('a', true)
    one.setLeaderWithheld('unknown', true)
    expect(two.collectMetrics()).toEqual([])
    expect(leaders(two)).toEqual([])
    two.updateAppliedSeqno('a', 5)
    expect(one.collectMetrics()).toEqual([])
    one.setWithheld('a', undefined, false)
    expect(two.collectMetrics()).toHaveLength(1)
    one.setWithheld('unknown', undefined, true)
  })

  it('measures seconds by the seqnos that the other side stores', () => {
    let now = 0
    const clock = () => now
    const main = new ReplicationLagGauge(new ReplicationState(), { clock })
    const exporter = attached(main)
    main.updateLeaderSeqno('a', 5)
    main.updateAppliedSeqno('a', 5)
    exporter.sample(true)
    expect(exporter.lagSeconds('a')).toBe(0)
    main.updateLeaderSeqno('a', 6)
    expect(exporter.lagSeconds('a')).toBeGreaterThanOrEqual(0)
    now = 1
    main.remove('a')
    main.updateLeaderSeqno('b', 6)
    exporter.sample(true)
    expect(exporter.lagSeconds('a')).toBe(0)
  })

  it('is read by this thread while nobody collects', () => {
    one.updateLeaderSeqno('a', 5)
    const state = new ReplicationState()
    const gauge = new ReplicationLagGauge(state)
    const other = attached(gauge)
    other.updateAppliedSeqno('a', 5)
    expect(state.appliedSeqno('a')).toBe(5n)
    expect(state.appliedSeqno('a')).toBe(5n)
  })
})

describe('a state that several gauges read', () => {
  it('is shared with each of them, and their leaders are not', () => {
    const state = new ReplicationState()
    const gauges = [new ReplicationLagGauge(state), new ReplicationLagGauge(state)] as const
    const others = [attached(gauges[0]), attached(gauges[1])] as const
    others[0].updateLeaderSeqno('a', 10)
    others[1].updateLeaderSeqno('a', 20)
    state.setAppliedSeqno('a', 4)
    expect([...gauges, ...others].map((gauge) => gauge.lagSeqno('a'))).toEqual([6, 16, 6, 16])
    state.remove('a')
    expect(others[1].collectMetrics()).toEqual([{ shard: 'a', lagSeqno: 20, leaderSeqno: 20n }])
    others[0].updateAppliedSeqno('a', 5)
    expect(state.appliedSeqno('a')).toBe(5n)
  })
})

function unreadable(): never {
  throw new Error('not to be read')
}

describe('attach', () => {
  const gauge = new ReplicationLagGauge()
  gauge.updateLeaderSeqno('a', 1)
  const shared = gauge.share()

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a number', 7],
    ['a gauge that was not shared', gauge],
    ['an object of something else', { layout: 1 }],
    ['an object of another kind', { ...shared, kind: 'lag' }],
    ['a layout that is no number', { ...shared, layout: NaN }],
    ['what cannot be read', new Proxy({}, { get: () => void unreadable() })],
    [
      'what can be read in part',
      {
        ...shared,
        get memory() {
          return unreadable()
        },
      },
    ],
    ['what a register shared', gauge.leader('a').share()],
    ['what went through JSON', JSON.parse(JSON.stringify(shared))],
    [
      'what went through JSON, without a follower',
      JSON.parse(JSON.stringify(new ReplicationLagGauge().share())),
    ],
    [
      'a register past the end',
      structuredClone({
        ...shared,
        leaders: { ...shared.leaders, members: { ...shared.leaders.members, indexes: [1e6] } },
      }),
    ],
    [
      'a shard that is none',
      {
        ...shared,
        leaders: { ...shared.leaders, members: { ...shared.leaders.members, shards: [7] } },
      },
    ],
    ['what lacks its leaders', { ...shared, leaders: undefined }],
    ['what lacks its followers', { ...shared, followers: { channel: 7 } }],
    [
      'memory of another size',
      {
        ...shared,
        leaders: {
          channel: 'x',
          members: { slabs: [{ id: 'x', memory: new SharedArrayBuffer(13) }] },
        },
      },
    ],
  ])('throws a TypeError that says so when it is given %s', (_, bad) => {
    const attach = () => ReplicationLagGauge.attach(bad as SharedReplicationLagGauge)
    expect(attach).toThrow(TypeError)
    expect(attach).toThrow(/^shared: expected what ReplicationLagGauge\.share\(\) gave, .*JSON/)
  })

  it('throws a TypeError that says so when another major version has shared', () => {
    const attach = () => ReplicationLagGauge.attach({ ...shared, layout: 0 })
    expect(attach).toThrow(TypeError)
    expect(attach).toThrow(/^shared: expected layout 1, got 0.*another major version/)
  })
})

describe('in a process without shared memory', () => {
  beforeEach(() => {
    vi.stubGlobal('SharedArrayBuffer', undefined)
  })
  afterEach(() => {
    vi.unstubAllGlobals()
  })

  it('a gauge works as ever, but cannot be shared', () => {
    const gauge = new ReplicationLagGauge()
    expect(() => gauge.share()).toThrow(TypeError)
    expect(() => gauge.share()).toThrow(/^shared memory: this process has none/)
    gauge.updateLeaderSeqno('a', 9)
    gauge.updateAppliedSeqno('a', 4)
    expect(gauge.lagSeqno('a')).toBe(5)
    expect(gauge.remove('a')).toBe(true)
  })

  it('none can be attached', () => {
    const attach = () => ReplicationLagGauge.attach({} as SharedReplicationLagGauge)
    expect(attach).toThrow(TypeError)
    expect(attach).toThrow(/^shared memory: this process has none/)
  })
})
