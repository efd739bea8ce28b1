import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  type FollowerReading,
  type ReplicationLagInstrumentationConfig,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { eventually } from '../support/eventually.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'
import { TestReader } from '../support/test-reader.js'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** The same gauge behind both attachments, each with a reader of its own. */
function attachBoth(config: ReplicationLagInstrumentationConfig): {
  gauge: ReplicationLagGauge
  instrumentation: ReplicationLagInstrumentation
  readers: Record<'observed' | 'produced', TestReader>
} {
  const instrumentation = new ReplicationLagInstrumentation({
    pollIntervalMillis: 20,
    lagSeconds: false,
    ...config,
  })
  const { gauge } = instrumentation
  const { positions = false, lagSeconds = false } = config
  const readers = {
    observed: new TestReader(),
    produced: new TestReader({
      metricProducers: [new ReplicationLagMetricProducer(gauge, { positions, lagSeconds })],
    }),
  }
  const [observing, producing] = Object.values(readers).map((reader) => {
    const provider = new MeterProvider({ readers: [reader] })
    cleanUps.push(() => provider.shutdown())
    return provider
  })
  cleanUps.push(() => instrumentation.disable())
  if (observing && producing) instrumentation.setMeterProvider(observing)
  return { gauge, instrumentation, readers }
}

/** What a reader sees: `name{labels} value`, sorted, but for times. */
async function lines(reader: TestReader): Promise<string[]> {
  const metrics = await reader.metrics()
  const found = metrics.flatMap(({ descriptor: { name }, dataPoints }) =>
    dataPoints.map(({ attributes, value }) => {
      const labels = Object.values(attributes).join(',')
      return `${name}{${labels}} ${name.endsWith('timestamp_seconds') ? 'a time' : JSON.stringify(value)}`
    }),
  )
  return found.sort()
}

describe.each(['observed', 'produced'] as const)('the metrics, %s', (path) => {
  it('tell the health of sources and followers', async () => {
    const source = new ScriptedSource('db')
    const { readers } = attachBoth({ sources: [source] })
    const reader = readers[path]
    expect(await lines(reader)).toEqual(['replication_source_up{db} 0'])
    source.last.answer(reading('a', 10, { r1: 4, r2: undefined }))
    const healthy = [
      'replication_follower_connected{a,r1} 1',
      'replication_follower_connected{a,r2} 1',
      'replication_lag_seqno{a,r1} 6',
      'replication_source_last_success_timestamp_seconds{db} a time',
      'replication_source_up{db} 1',
    ]
    await eventually(async () => expect(await lines(reader)).toEqual(healthy))
    await eventually(() => expect(source.reads).toHaveLength(2))
    source.last.answer(reading('a', 20, { r2: undefined }))
    await eventually(async () =>
      expect(await lines(reader)).toEqual([
        'replication_follower_connected{a,r1} 0',
        'replication_follower_connected{a,r2} 1',
        'replication_lag_seqno{a,r1} 16',
        'replication_source_last_success_timestamp_seconds{db} a time',
        'replication_source_up{db} 1',
      ]),
    )
  })

  it('tell positions where that is wanted, and then no lag of a leader alone', async () => {
    const { gauge, readers } = attachBoth({ positions: true })
    gauge.updateLeaderSeqno('both', 10)
    gauge.updateAppliedSeqno('both', 4)
    gauge.updateLeaderSeqno('leader only', 7)
    gauge.updateAppliedSeqno('follower only', 3, 'r1')
    gauge.applied('follower only', 'nothing yet')
    gauge.leader('no leader yet')
    expect(await lines(readers[path])).toEqual([
      'replication_applied_seqno{both} 4',
      'replication_applied_seqno{follower only,r1} 3',
      'replication_lag_seqno{both} 6',
      'replication_leader_seqno{both} 10',
      'replication_leader_seqno{leader only} 7',
    ])
  })

  it('tell no positions otherwise', async () => {
    const { gauge, readers } = attachBoth({})
    gauge.updateLeaderSeqno('leader only', 7)
    gauge.updateAppliedSeqno('follower only', 3)
    expect(await lines(readers[path])).toEqual(['replication_lag_seqno{leader only} 7'])
  })
})

describe.each(['observed', 'produced'] as const)('lag in seconds, %s', (path) => {
  let now = 0
  const createGauge = () => new ReplicationLagGauge(undefined, { clock: () => now })

  it('is the age of the oldest entry that was not applied, looked at on a timer', async () => {
    vi.useFakeTimers()
    cleanUps.push(() => vi.useRealTimers())
    const gauge = createGauge()
    const { readers } = attachBoth({ gauge, lagSeconds: true })
    const pass = async (seconds: number) => {
      for (let second = 0; second < seconds; second++) {
        now += 1000
        await vi.advanceTimersByTimeAsync(1000)
      }
    }
    gauge.updateLeaderSeqno('a', 10)
    gauge.updateAppliedSeqno('a', 10)
    await pass(1)
    gauge.updateLeaderSeqno('a', 20)
    await pass(5)
    expect(await lines(readers[path])).toEqual([
      'replication_lag_seconds{a} 4.9',
      'replication_lag_seqno{a} 10',
    ])
    gauge.updateAppliedSeqno('a', 20)
    expect(await lines(readers[path])).toEqual([
      'replication_lag_seconds{a} 0',
      'replication_lag_seqno{a} 0',
    ])
  })

  it('is a double in seconds', async () => {
    const gauge = createGauge()
    gauge.updateLeaderSeqno('a', 10)
    const { readers } = attachBoth({ gauge, lagSeconds: true })
    const metric = (await readers[path].metrics()).find(
      ({ descriptor }) => descriptor.name === 'replication_lag_seconds',
    )
    expect(metric?.descriptor).toMatchObject({ unit: 's', valueType: 1 })
  })
})

describe('looking where the leaders are', () => {
  it('ends with disable, and begins again with enable', async () => {
    vi.useFakeTimers()
    cleanUps.push(() => vi.useRealTimers())
    const gauge = new ReplicationLagGauge()
    const sample = vi.spyOn(gauge, 'sample')
    const instrumentation = new ReplicationLagInstrumentation({ gauge, sampleIntervalMillis: 100 })
    expect(sample).toHaveBeenCalledTimes(1)
    await vi.advanceTimersByTimeAsync(200)
    expect(sample).toHaveBeenCalledTimes(3)
    instrumentation.disable()
    await vi.advanceTimersByTimeAsync(1000)
    expect(sample).toHaveBeenCalledTimes(3)
    expect(vi.getTimerCount()).toBe(0)
    instrumentation.enable()
    expect(sample).toHaveBeenCalledTimes(4)
    instrumentation.disable()
  })

  it.each<ReplicationLagInstrumentationConfig>([
    { lagSeconds: false },
    { observableGauges: false },
  ])('does not happen with %j', (config) => {
    const gauge = new ReplicationLagGauge()
    const sample = vi.spyOn(gauge, 'sample')
    const instrumentation = new ReplicationLagInstrumentation({ gauge, ...config })
    cleanUps.push(() => instrumentation.disable())
    expect(sample).not.toHaveBeenCalled()
  })

  it('does not happen for a producer that reports no seconds', () => {
    const gauge = new ReplicationLagGauge()
    const sample = vi.spyOn(gauge, 'sample')
    new ReplicationLagMetricProducer(gauge, { lagSeconds: false })
    expect(sample).not.toHaveBeenCalled()
  })

  it('ends for a producer when its gauge is garbage, and keeps no process alive', async () => {
    vi.useFakeTimers()
    cleanUps.push(() => vi.useRealTimers())
    const deref = vi.spyOn(WeakRef.prototype, 'deref')
    cleanUps.push(() => deref.mockRestore())
    new ReplicationLagMetricProducer(new ReplicationLagGauge())
    await vi.advanceTimersByTimeAsync(1000)
    expect(vi.getTimerCount()).toBe(1)
    deref.mockReturnValue(undefined)
    await vi.advanceTimersByTimeAsync(1000)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('the producer', () => {
  it('withholds lag and positions of a source that fails, and tells that it is down', async () => {
    const source = new ScriptedSource('db')
    const { readers } = attachBoth({ sources: [source], positions: true })
    source.last.answer(reading('a', 10, { r1: 4, r2: 5 }))
    await eventually(() => expect(source.reads).toHaveLength(2))
    expect(await lines(readers.produced)).toContain('replication_lag_seqno{a,r1} 6')
    // It hangs: nothing more is answered.
    source.last.fail(new Error('refused'))
    await eventually(async () =>
      expect(await lines(readers.produced)).toEqual([
        'replication_source_last_success_timestamp_seconds{db} a time',
        'replication_source_up{db} 0',
      ]),
    )
  })

  it('tells once of a follower that two sources report, and of a source that two poll', async () => {
    const [first, second, namesake] = ['db-1', 'db-2', 'db-2'].map(
      (name) => new ScriptedSource(name),
    )
    const sources = [first, second] as ScriptedSource[]
    const { readers, instrumentation } = attachBoth({ sources })
    const { gauge } = instrumentation
    const other = new ReplicationLagInstrumentation({
      gauge,
      sources: [namesake as ScriptedSource],
    })
    cleanUps.push(() => other.disable())
    const [r1, r2, r3] = ['r1', 'r2', 'r3'].map((replica) => ({ replica, appliedSeqno: 4 }))
    const answer = (source: ScriptedSource | undefined, ...followers: FollowerReading[]) =>
      source?.last.answer({ shards: [{ shard: 'a', leaderSeqno: 10, followers }] })
    answer(first, { ...r1 }, { ...r2, connected: false }, { ...r3, connected: false })
    answer(second, { ...r1, connected: false }, { ...r2 })
    const expected = [
      'replication_follower_connected{a,r1} 1',
      'replication_follower_connected{a,r2} 1',
      'replication_follower_connected{a,r3} 0',
      'replication_lag_seqno{a,r1} 6',
      'replication_lag_seqno{a,r2} 6',
      'replication_lag_seqno{a,r3} 6',
      'replication_source_last_success_timestamp_seconds{db-1} a time',
      'replication_source_up{db-1} 1',
      'replication_source_up{db-2} 0',
    ]
    await eventually(async () => {
      for (const reader of [readers.observed, readers.produced]) {
        const told = await lines(reader)
        expect(told.filter((line) => !line.startsWith('replication_lag_seconds'))).toEqual(expected)
      }
    })
  })

  it('withholds what is no longer polled once the instrumentation is disabled', async () => {
    const source = new ScriptedSource('db')
    const { instrumentation, readers } = attachBoth({ sources: [source], observableGauges: false })
    source.last.answer(reading('a', 10, { r1: 4 }))
    await eventually(async () =>
      expect(await lines(readers.produced)).toContain('replication_lag_seqno{a,r1} 6'),
    )
    expect(await lines(readers.observed)).toEqual([])
    instrumentation.disable()
    expect(await lines(readers.produced)).toEqual([])
    instrumentation.enable()
    await eventually(async () => {
      // The first that it answers may be one that was aborted.
      source.last.answer(reading('a', 20, { r1: 4 }))
      expect(await lines(readers.produced)).toContain('replication_lag_seqno{a,r1} 16')
    })
  })
})
