import { parentPort, workerData } from 'node:worker_threads'
import { AtomicSeqno } from 'opentelemetry-instrumentation-replication-lag'

/**
 * @typedef {object} Task
 * @property {import('opentelemetry-instrumentation-replication-lag').SharedSeqno[]} own one register of each thread
 * @property {import('opentelemetry-instrumentation-replication-lag').SharedSeqno} common that all threads store to
 * @property {number} thread
 * @property {number} rounds
 * @property {Int32Array} gate
 */

// One of several threads that store to shared registers and read those of the others all the while. It ends with what
// it saw that nobody can have stored, or that went back.

/** @type {unknown} */
const task = workerData
const { own, common, thread, rounds, gate } = /** @type {Task} */ (task)
const registers = own.map((shared) => AtomicSeqno.attach(shared))
const commonRegister = AtomicSeqno.attach(common)
const seen = registers.map(() => 0n)
/** @type {string[]} */
const wrong = []

Atomics.add(gate, 0, 1)
// All of them, and the one that has started them.
while (Atomics.load(gate, 0) <= own.length);
for (let round = 1; round <= rounds; round++) {
  registers[thread]?.store(twice(round))
  commonRegister.store(twice(thread * 2 ** 24 + round))
  const other = round % registers.length
  const seqno = registers[other]?.load() ?? 0n
  if (!isTwice(seqno) || seqno < (seen[other] ?? 0n)) wrong.push(`${other}: ${seqno}`)
  seen[other] = seqno
  const shared = commonRegister.load()
  const low = Number(shared & 0xff_ff_ffn)
  const writer = Number((shared >> 24n) & 0xffn)
  if (!isTwice(shared) || writer >= own.length || low < 1 || low > rounds)
    wrong.push(`common: ${shared}`)
}
parentPort?.postMessage(wrong)

/** The same 32 bits in both halves, so that a torn seqno shows. @param {number} half */
function twice(half) {
  return (BigInt(half) << 32n) | BigInt(half)
}

/** @param {bigint} seqno */
function isTwice(seqno) {
  return seqno >> 32n === (seqno & 0xff_ff_ff_ffn)
}
