import type { ReplicationReading } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it } from 'vitest'
import { answer, INTERVAL, lagsOf, pass, pointsOf, setUpPolling } from '../support/polling.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'

const test = setUpPolling()

const HOUR = 3_600_000

/** Two sources of one gauge that are read once an interval, and whose reads may take an hour. */
function pollTwo(retentionMillis = HOUR) {
  const [one, two] = [new ScriptedSource('one'), new ScriptedSource('two')]
  const poller = test.poll({ sources: [], pollTimeoutMillis: HOUR, retentionMillis })
  poller.start()
  poller.add(one)
  poller.add(two)
  return { one, two, poller }
}

/** Answers the read in flight, and lets a little time pass, so that no two readings are of the same moment. */
async function read(source: ScriptedSource, found: ReplicationReading): Promise<void> {
  await answer(source, found)
  await pass(INTERVAL)
}

const lags = () => lagsOf(test.gauge)
const connections = () => pointsOf(test.gauge, 'replication_follower_connected')
const leaders = () => pointsOf(test.gauge, 'replication_leader_seqno')

const disconnected = (leaderSeqno: number, appliedSeqno: number): ReplicationReading => ({
  shards: [
    {
      shard: 'a',
      leaderSeqno,
      followers: [{ replica: 'r1', appliedSeqno, connected: false }],
    },
  ],
})

describe('a follower that several sources report', () => {
  it('is reported once, as the source says that was read last', async () => {
    const { one, two } = pollTwo()
    await read(one, reading('a', 10, { r1: 4 }))
    await read(two, reading('a', 12, { r1: 4 }))
    expect(lags()).toEqual({ 'a/r1': 8 })
    await read(one, reading('a', 13, { r1: 12 }))
    expect(lags()).toEqual({ 'a/r1': 1 })
    expect(await leaders()).toEqual({ a: 13 })
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(1)
  })

  it('is reported as the source of the leader says while it is connected to none', async () => {
    const { one, two } = pollTwo()
    const { shards } = disconnected(10, 1)
    await read(one, disconnected(12, 4))
    await read(two, { shards: shards.map((shard) => ({ ...shard, cascading: true })) })
    expect(lags()).toEqual({ 'a/r1': 8 })
    await read(one, disconnected(14, 4))
    expect(lags()).toEqual({ 'a/r1': 10 })
  })

  it('is reported as the source says to which it is connected', async () => {
    const { one, two } = pollTwo()
    await read(one, reading('a', 10, { r1: 9 }))
    await read(two, disconnected(10, 4))
    expect(lags()).toEqual({ 'a/r1': 1 })
    expect(await connections()).toEqual({ 'a,r1': 1 })
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(1)
    await read(one, reading('a', 20, {}))
    expect(lags()).toEqual({ 'a/r1': 11 })
    expect(await connections()).toEqual({ 'a,r1': 0 })
  })

  it('is reported as the source says that knows its position', async () => {
    const { one, two } = pollTwo()
    await read(one, disconnected(10, 4))
    await read(two, reading('a', 10, { r1: undefined }))
    expect(lags()).toEqual({ 'a/r1': 6 })
    expect(await connections()).toEqual({ 'a,r1': 0 })
    expect(test.gauge.lagSeqno('a', 'r1')).toBe(6)
  })

  it('stays when one of them is removed', async () => {
    const { one, two, poller } = pollTwo()
    await read(one, reading('a', 10, { r1: 4, r2: 4 }))
    await read(two, reading('a', 10, { r1: 5 }))
    poller.remove('two')
    expect(lags()).toEqual({ 'a/r1': 6, 'a/r2': 6 })
    expect(await leaders()).toEqual({ a: 10 })
    poller.remove('one')
    expect(lags()).toEqual({})
    expect(await leaders()).toEqual({})
  })

  it('stays when one of them no longer reports it', async () => {
    const { one, two } = pollTwo(0)
    await read(one, reading('a', 10, { r1: 4 }))
    await read(two, reading('a', 10, { r1: 5 }))
    await read(two, { shards: [] })
    expect(lags()).toEqual({ 'a/r1': 6 })
    await read(one, { shards: [] })
    expect(lags()).toEqual({})
  })

  it('stays when one of them cannot be read', async () => {
    const found = reading('a', 10, { r1: 4 })
    const fails = { name: 'fails', read: () => Promise.resolve(found) }
    const works = { name: 'works', read: () => Promise.resolve(reading('a', 10, { r1: 5 })) }
    await test.start({ sources: [works, fails] })
    await pass(100)
    expect(lags()).toEqual({ 'a/r1': 6 })
    fails.read = () => Promise.reject(new Error('refused'))
    await pass(INTERVAL)
    expect(lags()).toEqual({ 'a/r1': 5 })
    await pass(60 * INTERVAL)
    expect(lags()).toEqual({ 'a/r1': 5 })
    expect(await connections()).toEqual({ 'a,r1': 1 })
    expect(await pointsOf(test.gauge, 'replication_source_up')).toEqual({ works: 1, fails: 0 })
  })

  it('stays when one of them has it removed', async () => {
    const { one, two } = pollTwo()
    await read(one, reading('a', 10, { r1: 4 }))
    await read(two, reading('a', 10, { r1: 5 }))
    await read(two, { shards: [{ shard: 'a', leaderSeqno: 10, followers: [], removed: ['r1'] }] })
    expect(lags()).toEqual({ 'a/r1': 6 })
  })
})

describe('followers of one shard that sources share', () => {
  it('are each compared with the leader of their own source', async () => {
    const { one, two } = pollTwo()
    await read(one, reading('a', 10, { r1: 4 }))
    await read(two, reading('a', 1000, { r2: 999 }))
    expect(lags()).toEqual({ 'a/r1': 6, 'a/r2': 1 })
    // The leader's own position is reported once, as read last.
    expect(await leaders()).toEqual({ a: 1000 })
    await read(one, reading('a', 11, { r1: 4 }))
    expect(lags()).toEqual({ 'a/r1': 7, 'a/r2': 1 })
    expect(await leaders()).toEqual({ a: 11 })
  })
})

describe('a failover that two sources see at different times', () => {
  /** What the two histories say. A lag between one's leader and the other's follower would be −50 or 70 … */
  const epochs = {
    old: { leaderSeqno: 120, appliedSeqno: 110 },
    new: { leaderSeqno: 60, appliedSeqno: 50 },
  }
  type Epoch = keyof typeof epochs
  const found = (epoch: Epoch): ReplicationReading => {
    const { leaderSeqno, appliedSeqno } = epochs[epoch]
    const followers = [{ replica: 'r1', appliedSeqno }]
    return { shards: [{ shard: 'a', leaderSeqno, followers, epoch }] }
  }

  /** Every order of so many reads, in which each source goes from the old epoch to the new one, or starts in the new one. */
  const orders = (reads: number): { source: 'one' | 'two'; epoch: Epoch }[][] => {
    if (reads === 0) return [[]]
    return orders(reads - 1).flatMap((order) =>
      (['one', 'two'] as const).flatMap((source) => {
        const isNew = order.some((read) => read.source === source && read.epoch === 'new')
        const next: Epoch[] = isNew ? ['new'] : ['old', 'new']
        return next.map((epoch) => [...order, { source, epoch }])
      }),
    )
  }

  it('shows at each moment the lag of the reading before, in any order', async () => {
    const all = orders(4)
    expect(all).toHaveLength(128)
    for (const order of all) {
      const { poller, ...sources } = pollTwo()
      for (const { source, epoch } of order) {
        await read(sources[source], found(epoch))
        const { leaderSeqno, appliedSeqno } = epochs[epoch]
        expect(test.gauge.collectMetrics()).toMatchObject([
          { shard: 'a', replica: 'r1', lagSeqno: 10, leaderSeqno, appliedSeqno },
        ])
      }
      poller.remove('one')
      poller.remove('two')
      expect(lags()).toEqual({})
    }
  })

  it('keeps a follower that only the other source reports', async () => {
    const { one, two } = pollTwo()
    await read(one, found('old'))
    const followers = [{ replica: 'r2', appliedSeqno: 40 }]
    await read(two, { shards: [{ shard: 'a', leaderSeqno: 60, followers, epoch: 'new' }] })
    expect(lags()).toEqual({ 'a/r1': 10, 'a/r2': 20 })
    await read(one, { shards: [{ shard: 'a', leaderSeqno: 60, followers: [], epoch: 'new' }] })
    expect(lags()).toEqual({ 'a/r2': 20 })
  })
})

describe("the application's own entries in a shard that a source reports too", () => {
  const inEpoch = (epoch: string): ReplicationReading => {
    const followers = [{ replica: 'r1', appliedSeqno: 5 }]
    return { shards: [{ shard: 'a', leaderSeqno: 10, followers, epoch }] }
  }

  it('come first', async () => {
    const { one } = pollTwo()
    test.gauge.updateLeaderSeqno('a', 100)
    test.gauge.updateAppliedSeqno('a', 99, 'r1')
    await read(one, reading('a', 10, { r1: 4, r2: 5 }))
    expect(lags()).toEqual({ 'a/r1': 1, 'a/r2': 5 })
    expect(await leaders()).toEqual({ a: 100 })
    expect(await connections()).toEqual({ 'a,r2': 1 })
    test.gauge.remove('a')
    expect(lags()).toEqual({ 'a/r1': 6, 'a/r2': 5 })
    expect(await leaders()).toEqual({ a: 10 })
  })

  it('come last while they have no position', async () => {
    const { one } = pollTwo()
    test.gauge.updateLeaderSeqno('a', 100)
    const applied = test.gauge.applied('a', 'r1')
    await read(one, reading('a', 10, { r1: 4 }))
    expect(lags()).toEqual({ 'a/r1': 6 })
    applied.store(99)
    expect(lags()).toEqual({ 'a/r1': 1 })
  })

  it('are compared with the leader that was read last, if the application has none', async () => {
    const { one, two } = pollTwo()
    test.gauge.updateAppliedSeqno('a', 4, 'own')
    expect(lags()).toEqual({})
    await read(one, reading('a', 10, { r1: 4 }))
    expect(lags()).toEqual({ 'a/own': 6, 'a/r1': 6 })
    await read(two, reading('a', 12, {}))
    expect(lags()).toEqual({ 'a/own': 8, 'a/r1': 6 })
    await read(one, reading('a', 11, { r1: 4 }))
    expect(lags()).toEqual({ 'a/own': 7, 'a/r1': 7 })
    test.gauge.updateLeaderSeqno('a', 5)
    expect(lags()).toEqual({ 'a/own': 1, 'a/r1': 7 })
  })

  it('are not compared with the leader of a source that can no longer be read', async () => {
    test.gauge.updateAppliedSeqno('a', 4, 'own')
    const poller = await test.start()
    for (let reads = 0; reads < 3; reads++) {
      await answer(test.source, reading('a', 10, { r1: 4 }))
      await pass(INTERVAL)
    }
    expect(lags()).toEqual({ 'a/own': 6, 'a/r1': 6 })
    expect(test.gauge.lagSeconds('a', 'own')).toBe(2)
    poller.stop()
    expect(lags()).toEqual({})
    expect(test.gauge.lagSeqno('a', 'own')).toBe(6)
    expect(test.gauge.lagSeconds('a', 'own')).toBeUndefined()
  })

  it('stay when the source lets go of the shard, and their handles keep their effect', async () => {
    const { one, poller } = pollTwo(0)
    const [leader, applied] = [test.gauge.leader('a'), test.gauge.applied('a', 'own')]
    leader.store(20)
    applied.store(18)
    await read(one, inEpoch('1'))
    await read(one, { shards: [] })
    expect(lags()).toEqual({ 'a/own': 2 })
    expect([leader.store(30), applied.store(29)]).toEqual([true, true])
    await read(one, inEpoch('1'))
    poller.remove('one')
    expect(lags()).toEqual({ 'a/own': 1 })
    expect(await leaders()).toEqual({ a: 30 })
  })

  it('stay when the source changes its epoch, and their handles keep their effect', async () => {
    const { one } = pollTwo()
    const [leader, applied] = [test.gauge.leader('a'), test.gauge.applied('a', 'own')]
    leader.store(20)
    applied.store(18)
    await read(one, inEpoch('1'))
    await read(one, inEpoch('2'))
    expect(lags()).toEqual({ 'a/own': 2, 'a/r1': 5 })
    expect([leader.store(30), applied.store(29)]).toEqual([true, true])
    expect(lags()).toEqual({ 'a/own': 1, 'a/r1': 5 })
  })

  it('are not followers of a leader without any while the source has one', async () => {
    const { one, poller } = pollTwo()
    test.gauge.updateLeaderSeqno('a', 20)
    expect(lags()).toEqual({ 'a/': 20 })
    await read(one, reading('a', 20, { r1: 19 }))
    expect(lags()).toEqual({ 'a/r1': 1 })
    // The shard had a follower with a name, so there is no unnamed one that was never seen.
    poller.remove('one')
    expect(lags()).toEqual({})
  })

  it('do not change what the source says of its leader', async () => {
    const { one } = pollTwo()
    await read(one, reading('a', 20, { r1: 19 }))
    test.gauge.updateLeaderSeqno('a', 1000)
    expect(lags()).toEqual({ 'a/r1': 1 })
    expect(test.gauge.remove('a')).toBe(true)
    expect(lags()).toEqual({ 'a/r1': 1 })
  })
})
