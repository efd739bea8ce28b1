import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { GaugeWorker } from '../support/gauge-worker.js'

const built = await useBuiltPackage()

let main: ReplicationLagGauge
let workers: GaugeWorker[]
beforeEach(() => {
  main = new ReplicationLagGauge()
  workers = []
})
afterEach(() => Promise.all(workers.map((worker) => worker.terminate())))

function startWorker(): GaugeWorker {
  const worker = new GaugeWorker(built)
  workers.push(worker)
  return worker
}

/** A worker that publishes to the main thread. */
async function startPublisher(): Promise<GaugeWorker> {
  const worker = startWorker()
  main.subscribe(worker.port)
  await worker.call('publish')
  return worker
}

it('the main thread reports what a worker adds, stores and removes', async () => {
  const worker = await startPublisher()
  main.updateLeaderSeqno('a', 9)
  await worker.call('updateApplied', 'a', 4n, 'r1')
  await eventually(() => expect(main.lagSeqno('a', 'r1')).toBe(5))
  await worker.call('updateApplied', 'a', 7n, 'r1')
  expect(main.lagSeqno('a', 'r1')).toBe(2)
  await worker.call('remove', 'a', 'r1')
  await eventually(() => expect(main.collectMetrics()).toEqual([]))
})

it('a worker reports what the main thread stores', async () => {
  main.updateLeaderSeqno('a', 9)
  main.updateAppliedSeqno('a', 4, 'r1')
  const worker = startWorker()
  main.publish(worker.port)
  await worker.call('subscribe')
  const lag = { shard: 'a', replica: 'r1', lagSeqno: 5, leaderSeqno: 9, appliedSeqno: 4 }
  await eventually(async () => expect(await worker.call('collect')).toMatchObject([lag]))
  main.updateAppliedSeqno('a', 2n ** 64n - 1n, 'r1')
  expect(await worker.call('collect')).toMatchObject([{ appliedSeqno: 2 ** 64 }])
})

it('a worker that is terminated leaves its followers, until another takes its place', async () => {
  main.updateLeaderSeqno('a', 9)
  const worker = await startPublisher()
  await worker.call('updateApplied', 'a', 4n, 'r1')
  await eventually(() => expect(main.lagSeqno('a', 'r1')).toBe(5))
  await worker.terminate()
  await eventually(() => expect(main.collectMetrics()).toMatchObject([{ connected: false }]))
  main.updateLeaderSeqno('a', 19)
  expect(main.lagSeqno('a', 'r1')).toBe(15)

  const next = await startPublisher()
  await next.call('updateApplied', 'a', 5n, 'r1')
  await eventually(() => {
    expect(main.collectMetrics()).toMatchObject([{ lagSeqno: 14, connected: true }])
  })
})

it('neither publishing nor subscribing keeps a worker running', async () => {
  const worker = await startPublisher()
  await worker.call('subscribe')
  await worker.call('finish')
  expect(await worker.ended).toBe(0)
})

it('a seqno is never torn', async () => {
  const seqnos = [0x1234_5678_1234_5678n, 0xfedc_ba98_fedc_ba98n]
  const stop = new Int32Array(new SharedArrayBuffer(4))
  main.updateAppliedSeqno('a', 0)
  const worker = await startPublisher()
  await worker.call('updateLeader', 'a', seqnos[0] as bigint)
  await eventually(() => expect(main.collectMetrics()).toHaveLength(1))
  const stored = worker.call('storeInTurn', 'a', seqnos, stop)
  const seen = new Map<bigint | undefined, number>()
  // Most reads find the one that the read before has found.
  const isEnough = () => seqnos.every((seqno) => (seen.get(seqno) ?? 0) > 10_000)
  for (let reads = 0; reads < 10_000_000 && !isEnough(); reads++) {
    const seqno = main.leaderSeqno('a')
    seen.set(seqno, (seen.get(seqno) ?? 0) + 1)
  }
  Atomics.store(stop, 0, 1)
  await stored
  expect([...seen.keys()].sort()).toEqual(seqnos)
})
