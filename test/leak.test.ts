import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { ReplicationLagInstrumentation } from 'opentelemetry-instrumentation-replication-lag'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
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
