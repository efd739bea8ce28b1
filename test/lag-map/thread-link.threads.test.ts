import { once } from 'node:events'
import { MessageChannel, Worker } from 'node:worker_threads'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'

const built = await useBuiltPackage()

let main: ReplicationLagGauge
beforeEach(() => {
  main = new ReplicationLagGauge()
})

/** A thread with a `gauge` of its own and one end of a channel, `port`, which evaluates what it receives. */
const PROGRAM = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { implementation, port, stop } = workerData
  const { ReplicationLagGauge } = require(implementation)
  const gauge = new ReplicationLagGauge()
  parentPort.on('message', (code) => parentPort.postMessage(eval(code)))`

/** Starts a thread, which ends with the test. It uses the compiled package, because workers cannot load TypeScript. */
function startWorker(stop?: Int32Array) {
  const { port1, port2 } = new MessageChannel()
  const { implementation } = built
  const workerData = { implementation, port: port2, stop }
  const worker = new Worker(PROGRAM, { eval: true, workerData, transferList: [port2] })
  onTestFinished(async () => {
    await worker.terminate()
  })
  return {
    worker,
    /** This thread's end of the channel. */
    port: port1,
    /** Evaluates an expression in the thread. */
    evaluate: async (code: string): Promise<unknown> => {
      worker.postMessage(code)
      return ((await once(worker, 'message')) as unknown[])[0]
    },
  }
}

/** A thread that publishes to the main thread. */
async function startPublisher(stop?: Int32Array) {
  const started = startWorker(stop)
  main.subscribe(started.port)
  await started.evaluate('void gauge.publish(port)')
  return started
}

it('the main thread reports what a worker adds, stores and removes', async () => {
  const { evaluate } = await startPublisher()
  main.updateLeaderSeqno('a', 9)
  await evaluate(`gauge.updateAppliedSeqno('a', 4, 'r1')`)
  await eventually(() => expect(main.lagSeqno('a', 'r1')).toBe(5))
  await evaluate(`gauge.updateAppliedSeqno('a', 7, 'r1')`)
  expect(main.lagSeqno('a', 'r1')).toBe(2)
  await evaluate(`gauge.remove('a', 'r1')`)
  await eventually(() => expect(main.collectMetrics()).toEqual([]))
})

it('a worker reports what the main thread stores', async () => {
  main.updateLeaderSeqno('a', 9)
  main.updateAppliedSeqno('a', 4, 'r1')
  const { port, evaluate } = startWorker()
  main.publish(port)
  await evaluate('gauge.subscribe(port)')
  const lag = { shard: 'a', replica: 'r1', lagSeqno: 5, leaderSeqno: 9, appliedSeqno: 4 }
  const collect = () => evaluate('gauge.collectMetrics()')
  await eventually(async () => expect(await collect()).toMatchObject([lag]))
  main.updateAppliedSeqno('a', 2n ** 64n - 1n, 'r1')
  expect(await collect()).toMatchObject([{ appliedSeqno: 2 ** 64 }])
})

it('a worker that is terminated leaves its followers, until another takes its place', async () => {
  main.updateLeaderSeqno('a', 9)
  const { worker, evaluate } = await startPublisher()
  await evaluate(`gauge.updateAppliedSeqno('a', 4, 'r1')`)
  await eventually(() => expect(main.lagSeqno('a', 'r1')).toBe(5))
  await worker.terminate()
  await eventually(() => expect(main.collectMetrics()).toMatchObject([{ connected: false }]))
  main.updateLeaderSeqno('a', 19)
  expect(main.lagSeqno('a', 'r1')).toBe(15)

  const next = await startPublisher()
  await next.evaluate(`gauge.updateAppliedSeqno('a', 5, 'r1')`)
  await eventually(() => {
    expect(main.collectMetrics()).toMatchObject([{ lagSeqno: 14, connected: true }])
  })
})

it('neither publishing nor subscribing keeps a worker running', async () => {
  const { worker, evaluate } = await startPublisher()
  const ended = once(worker, 'exit')
  await evaluate('gauge.subscribe(port)')
  await evaluate('void parentPort.unref()')
  expect(await ended).toEqual([0])
})

it('a seqno is never torn', async () => {
  const seqnos = [0x1234_5678_1234_5678n, 0xfedc_ba98_fedc_ba98n]
  const stop = new Int32Array(new SharedArrayBuffer(4))
  main.updateAppliedSeqno('a', 0)
  const { evaluate } = await startPublisher(stop)
  await evaluate(`gauge.updateLeaderSeqno('a', ${seqnos[0]}n)`)
  await eventually(() => expect(main.collectMetrics()).toHaveLength(1))
  const stored = evaluate(`
    while (Atomics.load(stop, 0) === 0) {
      for (const seqno of [${seqnos.map((seqno) => `${seqno}n`).join()}]) gauge.leader('a').store(seqno)
    }`)
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
