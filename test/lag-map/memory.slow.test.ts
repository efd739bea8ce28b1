import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, expect, it, vi } from 'vitest'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

afterEach(() => {
  vi.useRealTimers()
})

/** The bytes in use without garbage, on the heap and in shared memory. */
function usedBytes(): number {
  for (let pass = 0; pass < 5; pass++) collectGarbage()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const MEBIBYTE = 1024 * 1024

it('keeps the heap flat over 100,000 updates and collections', async () => {
  const producer = new ReplicationLagMetricProducer({ positions: true })
  const { gauge } = producer
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round++) {
      gauge.updateLeaderSeqno('a', round)
      gauge.updateAppliedSeqno('a', round, 'r1')
      gauge.updateAppliedSeqno('a', -1, 'r1')
      gauge.collectMetrics()
      await producer.collect()
    }
  }
  await rounds(1000)
  const before = usedBytes()
  await rounds(100_000)
  // A leak of 16 bytes for each round would exceed this.
  expect(usedBytes() - before).toBeLessThan(1.5 * MEBIBYTE)
})

it('keeps nothing of 200,000 shards that were added and removed, with or without handles', () => {
  const gauge = new ReplicationLagGauge()
  const churn = (from: number, count: number) => {
    for (let shard = from; shard < from + count; shard++) {
      gauge.updateLeaderSeqno(shard, 5)
      gauge.updateAppliedSeqno(shard, 4)
      gauge.leader(shard).store(6)
      gauge.applied(shard, 'r1').store(3)
      gauge.remove(shard - 100)
    }
    gauge.collectMetrics()
  }
  churn(0, 1000)
  const before = usedBytes()
  churn(1000, 200_000)
  expect(usedBytes() - before).toBeLessThan(1.5 * MEBIBYTE)
  expect(gauge.collectMetrics()).toHaveLength(200)
})

it('keeps nothing of 200,000 shards of which the last replica was removed', () => {
  const gauge = new ReplicationLagGauge()
  const churn = (from: number, count: number) => {
    for (let shard = from; shard < from + count; shard++) {
      gauge.updateAppliedSeqno(shard, 4, 'r1')
      gauge.updateAppliedSeqno(shard, 4, 'r2')
    }
    for (let shard = from; shard < from + count; shard++) {
      gauge.remove(shard, 'r1')
      gauge.remove(shard, 'r2')
    }
  }
  churn(0, 1000)
  const before = usedBytes()
  churn(1000, 200_000)
  expect(usedBytes() - before).toBeLessThan(1.5 * MEBIBYTE)
  expect(gauge.remove(0)).toBe(false)
})

/** Shards with a follower each, under fake timers, which are sampled once a second. */
function startShards(count: number) {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  const gauge = new ReplicationLagGauge()
  const shards = Array.from({ length: count }, (_, shard) => {
    const [leader, follower] = [gauge.leader(shard), gauge.applied(shard, 'r1')]
    follower.store(0)
    return { leader, follower }
  })
  gauge.lagSeconds(0, 'r1')
  return {
    lagSeconds: () => gauge.lagSeconds(0, 'r1'),
    fallBehind: (seconds: number) => {
      for (let second = 1; second <= seconds; second++) {
        for (const { leader } of shards) leader.store(second * 1000 + (second % 7))
        vi.advanceTimersByTime(1000)
      }
    },
    catchUp: () => {
      for (const { leader, follower } of shards) follower.store(leader.load())
      vi.advanceTimersByTime(1000)
    },
  }
}

it('needs at most 6 kB for the history of a shard that is a day behind', () => {
  const { fallBehind, lagSeconds } = startShards(300)
  const before = usedBytes()
  fallBehind(86_400)
  expect(lagSeconds()).toBeCloseTo(86_400, -1)
  const bytes = (usedBytes() - before) / 300
  expect(bytes).toBeGreaterThan(1000)
  expect(bytes).toBeLessThan(6000)
})

it('keeps no history of shards that have caught up', () => {
  const { fallBehind, catchUp, lagSeconds } = startShards(20_000)
  fallBehind(1)
  catchUp()
  const before = usedBytes()
  fallBehind(60)
  expect(lagSeconds()).toBeGreaterThan(50)
  expect(usedBytes() - before).toBeGreaterThan(8 * MEBIBYTE)
  catchUp()
  expect(lagSeconds()).toBe(0)
  expect(usedBytes() - before).toBeLessThan(MEBIBYTE)
})
