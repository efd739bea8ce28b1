import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  ReplicationLagGauge,
  type FollowerLag,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { ODD_NAMES } from './support/bad-input.js'
import { buildThreads } from './support/built-package.js'
import { eventually } from './support/eventually.js'
import { GaugeThread } from './support/gauge-thread.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'replication-lag-threads-'))
  await buildThreads(folder)
})
afterAll(() => rm(folder, { recursive: true }))

let gauge: ReplicationLagGauge
let threads: GaugeThread[]
beforeEach(() => {
  gauge = new ReplicationLagGauge()
  threads = []
})
afterEach(async () => {
  await Promise.all(threads.map((thread) => thread.terminate()))
})

function start(shared = gauge.share()): GaugeThread {
  const thread = new GaugeThread(folder, shared)
  threads.push(thread)
  return thread
}

const byName = (lags: FollowerLag[]) => lags.map((lag) => Object.entries(lag).sort().join()).sort()

/** All threads, this one too, know the same in the end: what this one would report. */
async function agreement(): Promise<FollowerLag[]> {
  return eventually(async () => {
    // A leader that has been heard of alone is not taken for one without followers at once.
    gauge.collectMetrics()
    const lags = gauge.collectMetrics()
    await Promise.all(threads.map((thread) => thread.call('collect')))
    const others = await Promise.all(threads.map((thread) => thread.call('collect')))
    for (const other of others) expect(byName(other)).toEqual(byName(lags))
    return lags
  })
}

const newGate = () => new Int32Array(new SharedArrayBuffer(4))

it('a worker knows what was there before, and what is added and removed after', async () => {
  gauge.updateLeaderSeqno('before', 9)
  const worker = start()
  expect(await worker.call('lagSeqno', 'before')).toBe(9)
  gauge.updateLeaderSeqno('after', 7)
  gauge.updateAppliedSeqno('after', 3, 'r1')
  expect(await worker.call('lagSeqno', 'after', 'r1')).toBe(4)
  gauge.remove('after', 'r1')
  expect(await worker.call('collect')).toEqual([{ shard: 'before', lagSeqno: 9, leaderSeqno: 9n }])
})

it('the main thread knows what a worker adds, stores and removes', async () => {
  const worker = start()
  await worker.call('updateLeader', 'a', 9n)
  await worker.call('storeApplied', 'a', 4n, 'r1')
  expect(gauge.collectMetrics()).toEqual([
    { shard: 'a', replica: 'r1', lagSeqno: 5, leaderSeqno: 9n, appliedSeqno: 4n },
  ])
  await worker.call('remove', 'a')
  expect(gauge.collectMetrics()).toEqual([])
  expect(await worker.call('storeApplied', 'a', 5n, 'r1')).toBe(0n)
  await worker.call('updateLeader', 'a', 2n)
  expect(gauge.lagSeqno('a')).toBe(2)
})

it('both store to the same follower', async () => {
  const worker = start()
  const handle = gauge.applied('a', 'r1')
  expect(await worker.call('storeApplied', 'a', 4n, 'r1')).toBe(4n)
  expect(handle.load()).toBe(4n)
  handle.store(2n ** 64n - 1n)
  await worker.call('updateLeader', 'a', 2n ** 64n - 1n)
  expect(gauge.lagSeqno('a', 'r1')).toBe(0)
  gauge.remove('a', 'r1')
  expect(await worker.call('storeApplied', 'a', 5n, 'r1')).toBe(0n)
})

it.each(ODD_NAMES)('names pass as they are: %s', async (_, name) => {
  const worker = start()
  await worker.call('updateLeader', name, 9n)
  gauge.updateAppliedSeqno(name, 2, name)
  expect(await worker.call('lagSeqno', name, name)).toBe(7)
  expect(gauge.lagSeqno(name, name)).toBe(7)
})

it('5,000 shards that either side adds are known to the other', async () => {
  const worker = start()
  const gate = newGate()
  await worker.call('updateMany', { gate, threads: 1, prefix: 'theirs-', shards: 5000, seqno: 1n })
  for (let shard = 0; shard < 5000; shard++) gauge.updateLeaderSeqno(`ours-${shard}`, 2)
  // Those that have a leader alone appear at the second collection.
  gauge.collectMetrics()
  expect(gauge.collectMetrics()).toHaveLength(15_000)
  await worker.call('collect')
  expect(await worker.call('collect')).toHaveLength(15_000)
})

it('three threads that add the same followers at the same time come to the same', async () => {
  const workers = [start(), start(), start()]
  for (let round = 0; round < 5; round++) {
    const gate = newGate()
    const all = { gate, threads: 3, prefix: `${round}-`, shards: 300 }
    await Promise.all(
      workers.map((worker, index) =>
        worker.call('updateMany', { ...all, seqno: BigInt(index + 1) }),
      ),
    )
    const lags = await agreement()
    expect(lags).toHaveLength(600)
    for (const { leaderSeqno, appliedSeqno } of lags) {
      expect([1n, 2n, 3n]).toContain(leaderSeqno)
      expect([1n, 2n, 3n]).toContain(appliedSeqno)
    }
    // They have the same registers, not just the same seqnos.
    for (const worker of workers) {
      await worker.call('updateMany', { ...all, gate: newGate(), threads: 1, seqno: 50n })
      for (const { appliedSeqno } of gauge.collectMetrics()) expect(appliedSeqno).toBe(50n)
      for (let shard = 0; shard < 300; shard++)
        gauge.updateAppliedSeqno(`${round}-${shard}`, 9, 'r1')
      expect(byName(await worker.call('collect'))).toEqual(byName(gauge.collectMetrics()))
    }
    for (let shard = 0; shard < 300; shard++) gauge.remove(`${round}-${shard}`)
    expect(await agreement()).toEqual([])
  }
})

it('threads that add and remove the same followers all the time agree in the end', async () => {
  const workers = [start(), start(), start()]
  const gate = newGate()
  const churns = workers.map((worker) => worker.call('churn', { gate, threads: 3, rounds: 20_000 }))
  const end = Promise.all(churns).then(() => 'end')
  while ((await Promise.race([end, new Promise(setImmediate)])) !== 'end') gauge.collectMetrics()
  await agreement()
  for (let shard = 0; shard < 5; shard++) gauge.remove(`churn-${shard}`)
  expect(await agreement()).toEqual([])
})

it('a worker that is terminated leaves the others unharmed, and what it has added', async () => {
  const shared = gauge.share()
  const [worker, witness] = [start(shared), start(shared)]
  const count = newGate()
  void worker.call('addForEver', count)
  await eventually(() => expect(Atomics.load(count, 0)).toBeGreaterThan(1000))
  await worker.terminate()
  threads.shift()

  const added = Atomics.load(count, 0)
  // One more may be there, that it did not come to count.
  const lags = await agreement()
  expect(lags.length - added).toBeLessThanOrEqual(1)
  expect(lags.length - added).toBeGreaterThanOrEqual(0)
  gauge.updateAppliedSeqno('endless-0', 3)
  expect(await witness.call('lagSeqno', 'endless-0')).toBe(4)
  // One that takes its place, with what was shared long ago, knows all of it.
  start(shared)
  expect(await agreement()).toHaveLength(lags.length)
  for (const { shard } of lags) gauge.remove(shard)
  expect(await agreement()).toEqual([])
})

it('a worker may share with others what was shared with it', async () => {
  const first = start()
  await first.call('updateLeader', 'a', 5n)
  const second = start(await first.call('share'))
  await second.call('updateLeader', 'b', 6n)
  expect(await agreement()).toHaveLength(2)
})
