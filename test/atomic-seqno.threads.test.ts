import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { AtomicSeqno } from 'opentelemetry-instrumentation-replication-lag'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { eventually } from './support/eventually.js'
import { buildThreads } from './support/built-package.js'

const THREADS = 4
const ROUNDS = 300_000
/** Many times as many as it takes: a thread that fails must not leave this one reading. */
const MAX_READS = 100_000_000

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'replication-lag-threads-'))
  await buildThreads(folder)
})
afterAll(() => rm(folder, { recursive: true }))

it('four threads at once tear, lose and invent no seqno, and none goes back', async () => {
  const own = Array.from({ length: THREADS }, () => new AtomicSeqno())
  const common = new AtomicSeqno()
  common.store(0x1_0000_0001n)
  const task = {
    own: own.map((register) => register.share()),
    common: common.share(),
    rounds: ROUNDS,
    gate: new Int32Array(new SharedArrayBuffer(4)),
  }
  const program = join(folder, 'test/threads/seqnos.mjs')
  const workers = own.map((_, thread) => new Worker(program, { workerData: { ...task, thread } }))
  // One that cannot start would leave the others waiting for it.
  onTestFinished(async () => {
    await Promise.all(workers.map((worker) => worker.terminate()))
  })
  const reports = workers.map(async (worker) => {
    const [wrong] = (await once(worker, 'message')) as [string[]]
    return wrong
  })

  // This thread reads as well, as one that collects, from before they begin until they have ended.
  await eventually(() => expect(Atomics.load(task.gate, 0)).toBe(THREADS))
  Atomics.add(task.gate, 0, 1)
  const last = (BigInt(ROUNDS) << 32n) | BigInt(ROUNDS)
  const seen = own.map(() => 0n)
  const wrong: string[] = []
  for (let reads = 0; reads < MAX_READS && seen.some((seqno) => seqno !== last); reads++) {
    for (const [thread, register] of own.entries()) {
      const seqno = register.load()
      const isTorn = seqno >> 32n !== (seqno & 0xffff_ffffn)
      if (isTorn || seqno < (seen[thread] ?? 0n)) wrong.push(`${thread}: ${seqno}`)
      seen[thread] = seqno
    }
  }
  expect(wrong).toEqual([])
  expect(seen).toEqual(own.map(() => last))
  expect(await Promise.all(reports)).toEqual(own.map(() => []))
  // Whoever stored last: it is the last seqno of one of them.
  expect(Number(common.load() & 0xff_ffffn)).toBe(ROUNDS)
})
