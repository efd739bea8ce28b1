import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  ReplicationState,
} from 'opentelemetry-instrumentation-replication-lag'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Sampler } from '../src/sampler.js'
import { recordDiag, type DiagRecorder } from './support/diag.js'
import { eventually } from './support/eventually.js'

let told: DiagRecorder
beforeEach(() => {
  told = recordDiag()
})
afterEach(() => {
  told.stop()
  vi.useRealTimers()
})

/** A sampler under a clock that the test advances, and what it did. */
function startSampler() {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const sample = vi.fn<(withUnseen: boolean) => void>()
  const forget = vi.fn()
  return { sampler: new Sampler(sample, forget), sample, forget }
}

it('samples once for all who wish it, as often as the most eager of them', () => {
  const { sampler, sample } = startSampler()
  const [one, two] = [{}, {}]
  sampler.start(one, { intervalMillis: 1000, withUnseen: false })
  sampler.start(two, { intervalMillis: 100, withUnseen: false })
  sample.mockClear()
  vi.advanceTimersByTime(1000)
  expect(sample).toHaveBeenCalledTimes(10)
  sampler.stop(two)
  sample.mockClear()
  vi.advanceTimersByTime(3000)
  expect(sample).toHaveBeenCalledTimes(3)
  sampler.stop(one)
  sample.mockClear()
  vi.advanceTimersByTime(3000)
  expect(sample).not.toHaveBeenCalled()
})

it('counts a lone leader as one that has a follower if anybody does', () => {
  const { sampler, sample } = startSampler()
  const [one, two] = [{}, {}]
  sampler.start(one, { intervalMillis: 100, withUnseen: true })
  sampler.start(two, { intervalMillis: 100, withUnseen: false })
  vi.advanceTimersByTime(100)
  expect(sample).toHaveBeenLastCalledWith(true)
  sampler.stop(one)
  vi.advanceTimersByTime(100)
  expect(sample).toHaveBeenLastCalledWith(false)
})

it('forgets what was sampled once nobody wishes it, but not in between of two who do', async () => {
  const { sampler, forget } = startSampler()
  const one = {}
  sampler.start(one, { intervalMillis: 100, withUnseen: true })
  sampler.stop(one)
  sampler.start(one, { intervalMillis: 200, withUnseen: true })
  await Promise.resolve()
  expect(forget).not.toHaveBeenCalled()
  sampler.stop(one)
  await Promise.resolve()
  expect(forget).toHaveBeenCalledTimes(1)
})

it('tells once of a sample that fails, and goes on', () => {
  const { sampler, sample } = startSampler()
  sample.mockImplementation(() => {
    throw new Error('the state is closed')
  })
  sampler.start(told, { intervalMillis: 100, withUnseen: true })
  vi.advanceTimersByTime(500)
  expect(sample).toHaveBeenCalledTimes(6)
  expect(told.matching('error', 'cannot measure lag in seconds: the state is closed')).toHaveLength(
    1,
  )
})

it('measures the same for a reader, whoever else reads the gauge', () => {
  let now = 0
  const gauge = new ReplicationLagGauge(undefined, { clock: () => now })
  const producer = new ReplicationLagMetricProducer(gauge)
  const other = new ReplicationLagMetricProducer(gauge, { positions: true })
  gauge.updateLeaderSeqno('alone', 1)
  for (let second = 0; second < 10; second++) {
    now += 1000
    gauge.sampler.start(other, { intervalMillis: 1000, withUnseen: false })
    gauge.updateLeaderSeqno('alone', second + 2)
  }
  expect(gauge.lagSeconds('alone')).toBeGreaterThan(8)
  expect(producer).toBeDefined()
})

it('stops when those who wished it are garbage', async () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const { sampler, sample } = startSampler()
  sampler.start({}, { intervalMillis: 100, withUnseen: true })
  await eventually(() => {
    collectGarbage()
    sample.mockClear()
    vi.advanceTimersByTime(500)
    expect(sample).not.toHaveBeenCalled()
  })
})

/** A state of the user's own, that fails for some shards. */
class FailingState extends ReplicationState {
  override followersOf(shard: string): ReturnType<ReplicationState['followersOf']> {
    if (shard.startsWith('bad')) throw new Error(`${shard} is closed`)
    return super.followersOf(shard)
  }
}

it("serves what a user's own state fails for in part, and never ends the process", async () => {
  const gauge = new ReplicationLagGauge(new FailingState())
  for (const shard of ['a', 'bad-1', 'b', 'bad-2', 'c']) gauge.updateLeaderSeqno(shard, 5)
  const producer = new ReplicationLagMetricProducer(gauge, { sampleIntervalMillis: 1 })
  const instrumentation = new ReplicationLagInstrumentation({ gauge, sampleIntervalMillis: 1 })
  await eventually(() =>
    expect(told.matching('error', 'cannot measure lag in seconds')).toHaveLength(1),
  )
  const { resourceMetrics, errors } = await producer.collect()
  instrumentation.disable()
  expect(errors).toEqual([new Error('bad-1 is closed')])
  const [lagSeqno] = resourceMetrics.scopeMetrics[0]?.metrics ?? []
  expect(lagSeqno?.dataPoints.map(({ attributes }) => attributes['shard'])).toEqual(['a', 'b', 'c'])
})
