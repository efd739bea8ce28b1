import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
} from 'opentelemetry-instrumentation-replication-lag'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it, onTestFinished, vi } from 'vitest'
import { MemberPacker } from '../src/packed-members.js'
import { TestReader } from './support/test-reader.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Bytes in use once all garbage is gone: on the heap and in shared memory. */
function usedBytes(): number {
  for (let pass = 0; pass < 5; pass++) collectGarbage()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const MEBIBYTE = 1024 * 1024
const ROUNDS = 100_000

it('keeps the heap flat over 100,000 collections and updates', { timeout: 120_000 }, async () => {
  const reader = new TestReader()
  const provider = new MeterProvider({ readers: [reader] })
  const instrumentation = new ReplicationLagInstrumentation()
  instrumentation.setMeterProvider(provider)
  const { gauge } = instrumentation
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round++) {
      gauge.updateLeaderSeqno('a', round)
      gauge.updateAppliedSeqno('a', round, 'r1')
      gauge.updateAppliedSeqno('a', -1, 'r1')
      await reader.collect()
    }
  }
  await rounds(1000)
  const before = usedBytes()
  await rounds(ROUNDS)
  // A leak of but 16 bytes a round would be over this.
  expect(usedBytes() - before).toBeLessThan(1.5 * MEBIBYTE)
  instrumentation.disable()
  await provider.shutdown()
})

it('gives back what removed followers took, with handles and without', () => {
  const instrumentation = new ReplicationLagInstrumentation({ enabled: false })
  const { gauge } = instrumentation
  const churn = (rounds: number) => {
    for (let round = 0; round < rounds; round++) {
      const shard = `shard-${round}`
      gauge.updateLeaderSeqno(shard, 5)
      gauge.updateAppliedSeqno(shard, 4)
      gauge.leader(shard).store(6)
      gauge.applied(shard, 'r1').store(3)
      if (round >= 100) gauge.remove(`shard-${round - 100}`)
    }
    for (const { shard } of gauge.collectMetrics()) gauge.remove(shard)
  }
  churn(1000)
  const before = usedBytes()
  churn(ROUNDS)
  expect(usedBytes() - before).toBeLessThan(1.5 * MEBIBYTE)
})

it('gives back what followers took that come and go on both sides of a shared gauge', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const one = new ReplicationLagGauge()
  const two = ReplicationLagGauge.attach(one.share())
  const churn = (rounds: number) => {
    for (let round = 0; round < rounds; round++) {
      // Registers are kept back for a while, in which a hundred shards come and go.
      vi.advanceTimersByTime(10)
      const [here, there] = round % 2 === 0 ? [one, two] : [two, one]
      const shard = `shard-${round}`
      here.updateLeaderSeqno(shard, 5)
      there.updateAppliedSeqno(shard, 4)
      there.leader(shard).store(6)
      here.applied(shard, 'r1').store(3)
      if (round >= 100) one.remove(`shard-${round - 100}`)
    }
    for (const { shard } of two.collectMetrics()) two.remove(shard)
    one.collectMetrics()
  }
  churn(1000)
  const before = usedBytes()
  churn(ROUNDS / 4)
  expect(usedBytes() - before).toBeLessThan(1.5 * MEBIBYTE)
})

it('keeps nothing of the threads that came and went', async () => {
  const packer = new MemberPacker()
  let slabs = 0
  const unpack = async (count: number) => {
    for (let slab = 0; slab < count; slab++) {
      const memory = new SharedArrayBuffer(12)
      const place = { shards: ['a'], replicas: [undefined], slabNumbers: [0], indexes: [0] }
      const packed = { slabs: [{ id: `${slabs++}`, memory }], ...place, generations: [0] }
      for (const { id } of packer.unpack(packed)) expect(id.shard).toBe('a')
      // What is held weakly is held until the event loop comes round.
      if (slab % 100 === 0) await new Promise(setImmediate)
      if (slab % 5000 === 0) collectGarbage()
    }
  }
  await unpack(10_000)
  const before = usedBytes()
  await unpack(ROUNDS / 2)
  expect(usedBytes() - before).toBeLessThan(1.5 * MEBIBYTE)
})
