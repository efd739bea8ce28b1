import {
  ReplicationLagGauge,
  type FollowerReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  ATTACHMENTS,
  attachInstrumentation,
  attachProducer,
  type Attachment,
} from '../support/attachments.js'
import { eventually } from '../support/eventually.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'

const POLL_MILLIS = 5000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Answers the read that is waiting. */
async function answer(
  source: ScriptedSource,
  ...[shard, leaderSeqno, applied]: Parameters<typeof reading>
) {
  await vi.advanceTimersByTimeAsync(0)
  source.last.answer(reading(shard, leaderSeqno, applied))
  await vi.advanceTimersByTimeAsync(0)
}

/** Answers the read that is waiting with followers of the shard `a`, whose leader is at 100. */
async function answerFollowers(source: ScriptedSource, ...followers: FollowerReading[]) {
  await vi.advanceTimersByTimeAsync(0)
  source.last.answer({ shards: [{ shard: 'a', leaderSeqno: 100, followers }] })
  await vi.advanceTimersByTimeAsync(0)
}

/** A lag map as another thread would have it, whose entries this one gets. */
function publisherTo(gauge: ReplicationLagGauge) {
  const publisher = new ReplicationLagGauge()
  const { port1, port2 } = new MessageChannel()
  onTestFinished(() => port1.close())
  publisher.publish(port1)
  gauge.subscribe(port2)
  return { publisher, end: () => port1.close() }
}

describe.each(ATTACHMENTS)('$name', ({ attach }) => {
  it('reports gauges with these units, types and attributes', async () => {
    const source = new ScriptedSource('db')
    const { gauge, reader } = attach({ sources: [source], positions: true })
    const row = { replica: 'r1', appliedSeqno: 30, receivedSeqno: 45, retainedSeqno: 20 }
    await answerFollowers(source, row)
    await vi.advanceTimersByTimeAsync(POLL_MILLIS)
    await answerFollowers(source, row)
    gauge.updateLeaderSeqno('b', 1)
    const { resourceMetrics } = await reader.collect()

    expect(resourceMetrics.scopeMetrics.map(({ scope }) => scope)).toMatchObject([
      {
        name: 'opentelemetry-instrumentation-replication-lag',
        version: expect.stringMatching(/^\d+\.\d+\.\d+/) as string,
      },
    ])
    const [INT, DOUBLE] = [0, 1]
    const follower = { shard: 'a', replica: 'r1' }
    const found = resourceMetrics.scopeMetrics.flatMap(({ metrics }) =>
      metrics.map(({ descriptor: { name, unit, valueType }, dataPoints }) => [
        ...[name, unit, valueType],
        dataPoints[0]?.attributes,
      ]),
    )
    expect(found.sort()).toEqual([
      ['replication_applied_seqno', '{seqno}', DOUBLE, follower],
      ['replication_follower_connected', '{follower}', INT, follower],
      ['replication_lag_seconds', 's', DOUBLE, follower],
      ['replication_lag_seqno', '{seqno}', INT, follower],
      ['replication_leader_seqno', '{seqno}', DOUBLE, { shard: 'b' }],
      ['replication_receive_lag_seqno', '{seqno}', INT, follower],
      ['replication_retained_seqno', '{seqno}', INT, follower],
      ['replication_source_last_success_timestamp_seconds', 's', DOUBLE, { source: 'db' }],
      ['replication_source_up', '{source}', INT, { source: 'db' }],
    ])
    for (const { descriptor } of await reader.metrics()) {
      expect(descriptor.description).toMatch(/^[A-Z].{20,}\.$/)
    }
  })

  describe('followers of the application', () => {
    it('have the lag of the moment of the collection', async () => {
      const { gauge, reader } = attach({ lagSeconds: false })
      expect(await reader.values()).toEqual({})
      gauge.updateLeaderSeqno('a', 100)
      expect(await reader.values()).toEqual({ 'replication_lag_seqno{a}': 100 })
      gauge.updateAppliedSeqno('a', 60)
      gauge.updateLeaderSeqno('b', 5)
      gauge.updateAppliedSeqno('b', 7, 'r1')
      gauge.applied('b', 'r2')
      expect(await reader.values()).toEqual({
        'replication_lag_seqno{a}': 40,
        'replication_lag_seqno{b,r1}': -2,
        'replication_lag_seqno{b,r2}': 5,
      })
    })
  })

  it('reports a source, and what it knows of its followers', async () => {
    const source = new ScriptedSource('db')
    const { reader } = attach({ sources: [source], lagSeconds: false })
    expect(await reader.values()).toEqual({})
    await vi.advanceTimersByTimeAsync(0)
    source.last.fail(new Error('refused'))
    await vi.advanceTimersByTimeAsync(0)
    expect(await reader.values()).toEqual({ 'replication_source_up{db}': 0 })
    await vi.advanceTimersByTimeAsync(POLL_MILLIS)
    await answerFollowers(
      source,
      { appliedSeqno: 90 },
      { replica: 'r1', appliedSeqno: 70, receivedSeqno: 95, retainedSeqno: 60, connected: false },
      { replica: 'no position yet', receivedSeqno: 100 },
    )
    const lastSuccess = Date.now() / 1000
    const expected = {
      'replication_source_last_success_timestamp_seconds{db}': lastSuccess,
      'replication_source_up{db}': 1,
      'replication_lag_seqno{a}': 10,
      'replication_lag_seqno{a,r1}': 30,
      'replication_follower_connected{a}': 1,
      'replication_follower_connected{a,r1}': 0,
      'replication_follower_connected{a,no position yet}': 1,
      'replication_receive_lag_seqno{a,r1}': 5,
      'replication_receive_lag_seqno{a,no position yet}': 0,
      'replication_retained_seqno{a,r1}': 40,
    }
    expect(await reader.values()).toEqual(expected)
    await vi.advanceTimersByTimeAsync(POLL_MILLIS)
    source.last.fail(new Error('refused'))
    await vi.advanceTimersByTimeAsync(0)
    expect(await reader.values()).toEqual({ ...expected, 'replication_source_up{db}': 0 })
  })

  describe('another thread', () => {
    it('reports followers that are connected until it ends', async () => {
      const { gauge, reader } = attach({ lagSeconds: false })
      const { publisher, end } = publisherTo(gauge)
      publisher.updateAppliedSeqno('a', 4, 'r1')
      gauge.updateLeaderSeqno('a', 10)
      await eventually(async () =>
        expect(await reader.values()).toEqual({
          'replication_lag_seqno{a,r1}': 6,
          'replication_follower_connected{a,r1}': 1,
        }),
      )
      end()
      gauge.updateLeaderSeqno('a', 20)
      await eventually(async () =>
        expect(await reader.values()).toEqual({
          'replication_lag_seqno{a,r1}': 16,
          'replication_follower_connected{a,r1}': 0,
        }),
      )
    })
  })

  describe('with positions: true', () => {
    it('reports the leaders and the followers that this process knows', async () => {
      const { gauge, reader } = attach({ positions: true, lagSeconds: false })
      gauge.updateLeaderSeqno('both', 10)
      gauge.updateAppliedSeqno('both', 4)
      gauge.updateLeaderSeqno('leader only', 7)
      gauge.updateAppliedSeqno('follower only', 3, 'r1')
      gauge.applied('follower only', 'nothing yet')
      gauge.leader('no leader yet')
      expect(await reader.values()).toEqual({
        'replication_lag_seqno{both}': 6,
        'replication_leader_seqno{both}': 10,
        'replication_leader_seqno{leader only}': 7,
        'replication_applied_seqno{both}': 4,
        'replication_applied_seqno{follower only,r1}': 3,
      })
    })
  })

  it('reports both lags of a follower as of one moment, whatever another thread stores', async () => {
    const { gauge, reader } = attach()
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 0)
    await vi.advanceTimersByTimeAsync(5000)
    // As if another thread stored a seqno after each load.
    const load = Atomics.load.bind(Atomics) as (array: BigUint64Array, index: number) => bigint
    const pattern = [10n, 0n, 0n, 10n, 10n, 10n, 0n]
    let loads = 0
    const storing = vi.spyOn(Atomics as { load: typeof load }, 'load')
    storing.mockImplementation((array, index) => {
      const value = load(array, index)
      gauge.updateAppliedSeqno('a', pattern[loads++ % pattern.length] as bigint)
      return value
    })
    onTestFinished(() => storing.mockRestore())
    const lags = new Set<number | undefined>()
    for (let round = 0; round < 50; round++) {
      const values = await reader.values()
      const lag = values['replication_lag_seqno{a}']
      lags.add(lag)
      if (lag === 0) expect(values['replication_lag_seconds{a}']).toBe(0)
      else expect(values['replication_lag_seconds{a}']).toBeGreaterThan(0)
    }
    expect([...lags].sort()).toEqual([0, 10])
  })
})

describe('both attachments of one lag map', () => {
  it('report the same', async () => {
    const source = new ScriptedSource('db')
    const options = { gauge: new ReplicationLagGauge(), positions: true }
    const observed = attachInstrumentation({ ...options, sources: [source] })
    const produced = attachProducer(options)
    const { gauge } = options
    const { publisher } = publisherTo(gauge)
    publisher.updateAppliedSeqno('b', 2, 'from a thread')
    gauge.updateLeaderSeqno('b', 2n ** 64n - 1n)
    gauge.updateAppliedSeqno('b', 7)
    gauge.updateLeaderSeqno('leader only', 3)
    await eventually(() => expect(gauge.lagSeqno('b', 'from a thread')).toBeGreaterThan(0))
    for (const leaderSeqno of [10, 20]) {
      await answer(source, 'a', leaderSeqno, { r1: 4, r2: undefined })
      await vi.advanceTimersByTimeAsync(POLL_MILLIS)
    }
    const [expected, found] = [await describeMetrics(observed), await describeMetrics(produced)]
    expect(expected).toHaveLength(7)
    expect(found).toEqual(expected)
  })
})

/** What a reader gets, without times, sorted by name. */
async function describeMetrics({ reader }: Attachment) {
  const metrics = await reader.metrics()
  return metrics
    .map(({ descriptor: { name, description, unit, valueType }, dataPoints }) => ({
      ...{ name, description, unit, valueType },
      points: dataPoints.map(({ attributes, value }) => ({ attributes, value })),
    }))
    .sort((one, other) => one.name.localeCompare(other.name))
}
