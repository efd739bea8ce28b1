import fc from 'fast-check'
import {
  ReplicationLagGauge,
  type AtomicSeqno,
  type SharedReplicationLagGauge,
} from 'opentelemetry-instrumentation-replication-lag'
import { beforeEach, expect, it, vi } from 'vitest'
import { networks, type PeerChannel } from './support/simulated-channel.js'

vi.mock('../src/peer-channel.js', () => import('./support/simulated-channel.js'))
vi.mock('node:crypto', () => ({ randomUUID: () => `${ids.next().value}` }))

// Threads are gauges of one thread here. That a thread goes on before it can know what another has just done is
// simulated: by messages that it misses.

/** Ids decide which thread wins, so they are the same when a sequence is run again. */
let ids = numbers(1)
function* numbers(seed: number): Generator<number, never> {
  for (;;) yield (seed = (seed * 48_271) % 2_147_483_647)
}

let now = 0
beforeEach(() => {
  // Every operation takes a second, so that no register is kept back for long.
  vi.spyOn(performance, 'now').mockImplementation(() => now)
})

type Side = 'leader' | 'applied'
type Key = readonly [side: Side, shard: string, replica?: string | undefined]

interface Thread {
  readonly gauge: ReplicationLagGauge
  readonly channels: readonly PeerChannel[]
  /** Each taken when it was first needed. */
  readonly handles: Map<string, AtomicSeqno>
}

/** Several threads that share a gauge. */
class Threads {
  readonly #running: Thread[] = []
  readonly #shared: SharedReplicationLagGauge
  #ended = 0

  constructor(seed: number) {
    networks.clear()
    ids = numbers(seed)
    const gauge = new ReplicationLagGauge()
    this.#shared = gauge.share()
    this.#add(gauge)
    while (this.#running.length < 3) this.attach()
  }

  /** One more begins, with what was shared at first. */
  attach(): void {
    if (this.#running.length < 5) this.#add(ReplicationLagGauge.attach(this.#shared))
  }

  /** One ends, unless one has: what that one has not heard of yet, it cannot settle any more. */
  end(thread: number): void {
    if (this.#ended++ > 0) return
    const [ended] = this.#running.splice(thread % this.#running.length, 1)
    for (const channel of ended?.channels ?? []) channel.close()
  }

  #add(gauge: ReplicationLagGauge): void {
    const channels = [...networks.values()].flatMap((network) => network.at(-1) ?? [])
    this.#running.push({ gauge, channels, handles: new Map() })
  }

  #thread(thread: number): Thread {
    return this.#running[thread % this.#running.length] as Thread
  }

  gauge(thread: number): ReplicationLagGauge {
    return this.#thread(thread).gauge
  }

  store(thread: number, [side, shard, replica]: Key, seqno: bigint): void {
    const gauge = this.gauge(thread)
    if (side === 'leader') gauge.updateLeaderSeqno(shard, seqno)
    else gauge.updateAppliedSeqno(shard, seqno, replica)
  }

  storeBound(thread: number, key: Key, seqno: bigint): void {
    const { gauge, handles } = this.#thread(thread)
    const [side, shard, replica] = key
    const take = () => (side === 'leader' ? gauge.leader(shard) : gauge.applied(shard, replica))
    const handle = handles.get(nameOf(key)) ?? take()
    handles.set(nameOf(key), handle)
    handle.store(seqno)
  }

  remove(thread: number, [, shard, replica]: Key): void {
    this.gauge(thread).remove(shard, replica)
  }

  /** Does something; what the others have done arrives just after the thread first looked. */
  late(thread: number, act: () => void): void {
    const { channels } = this.#thread(thread)
    for (const channel of channels) channel.missesNextDrain = true
    act()
    for (const channel of channels) channel.missesNextDrain = false
  }

  /** All messages arrive, and their answers, and are heard. */
  comeToRest(): void {
    do for (const { gauge } of this.#running) gauge.collectMetrics()
    while (deliverAll())
  }

  /** What each thread would report. */
  views() {
    return this.#running.map(({ gauge }) => {
      const seqnos = new Map<string, bigint>()
      gauge.forEachLeader((shard, seqno) => seqnos.set(nameOf(['leader', shard]), seqno))
      gauge.forEachApplied(({ shard, replica }, seqno) =>
        seqnos.set(nameOf(['applied', shard, replica]), seqno),
      )
      const lags = gauge.collectMetrics().map((lag) => Object.entries(lag).sort().join())
      return { seqnos, lags: lags.sort() }
    })
  }
}

const nameOf = ([side, shard, replica]: Key) => JSON.stringify([side, shard, replica])
const channels = () => [...networks.values()].flat()

function deliverAll(): boolean {
  return channels()
    .map((channel) => channel.deliverAll())
    .includes(true)
}

const thread = fc.nat({ max: 4 })
const key = fc.constantFrom<Key>(['leader', 'a'], ['applied', 'a'], ['applied', 'a', 'r1'])
const kind = <Kind extends string>(...kinds: Kind[]) => fc.constantFrom(...kinds)
const store = fc.record({ kind: kind('store', 'store late', 'store bound'), thread, key })
const remove = fc.record({ kind: kind('remove', 'remove late'), thread, key })
const collect = fc.record({ kind: kind('collect'), thread })
const attach = fc.record({ kind: kind('attach') })
const end = fc.record({ kind: kind('end'), thread })
const channel = fc.nat({ max: 9 })
const deliver = fc.record({ kind: kind('deliver'), from: channel, to: channel })

type Operation =

    | typeof store
    | typeof remove
    | typeof collect
    | typeof attach
    | typeof end
    | typeof deliver extends fc.Arbitrary<infer T>
    ? T
    : never
/** @param seqno is higher than every one before, as in a log. */
function run(threads: Threads, operation: Operation, seqno: bigint): void {
  now += 1000
  switch (operation.kind) {
    case 'store':
      threads.store(operation.thread, operation.key, seqno)
      break
    case 'store late':
      threads.late(operation.thread, () => threads.store(operation.thread, operation.key, seqno))
      break
    case 'store bound':
      threads.storeBound(operation.thread, operation.key, seqno)
      break
    case 'remove':
      threads.remove(operation.thread, operation.key)
      break
    case 'remove late':
      threads.late(operation.thread, () => threads.remove(operation.thread, operation.key))
      break
    case 'collect':
      threads.gauge(operation.thread).collectMetrics()
      break
    case 'attach':
      threads.attach()
      break
    case 'end':
      threads.end(operation.thread)
      break
    case 'deliver': {
      const from = channels()[operation.from]
      if (from) channels()[operation.to]?.deliver(from)
    }
  }
}

/** After this the threads must agree, and each follower must have a register of its own. */
function expectAgreement(threads: Threads): void {
  threads.comeToRest()
  const [first, ...others] = threads.views()
  for (const view of others) expect(view).toEqual(first)
  const unique = new Map([...(first?.seqnos ?? [])].map(([name], index) => [name, BigInt(index)]))
  for (const [name, seqno] of unique) {
    const [side, shard, replica] = JSON.parse(name) as [Side, string, string | null]
    threads.store(0, [side, shard, replica ?? undefined], seqno)
  }
  for (const view of threads.views()) expect(view.seqnos).toEqual(unique)
}

const seed = fc.integer({ min: 1, max: 1000 })
const manyRuns = { numRuns: 2000 }

it('no seqno is lost when threads add the same followers at the same time', () => {
  const operations = fc.array(fc.oneof({ arbitrary: store, weight: 5 }, collect, attach, end), {
    maxLength: 40,
  })
  fc.assert(
    fc.property(operations, seed, (sequence, seed) => {
      const threads = new Threads(seed)
      const stored = new Map<string, bigint>()
      for (const [index, operation] of sequence.entries()) {
        run(threads, operation, BigInt(index))
        if ('key' in operation) stored.set(nameOf(operation.key), BigInt(index))
        deliverAll()
      }
      threads.comeToRest()
      for (const { seqnos } of threads.views()) expect(seqnos).toEqual(stored)
      expectAgreement(threads)
    }),
    manyRuns,
  )
})

it('threads agree in the end when they add and remove the same followers at the same time', () => {
  const operations = fc.array(fc.oneof(store, remove, collect, attach), {
    maxLength: 60,
  })
  fc.assert(
    fc.property(operations, seed, (sequence, seed) => {
      const threads = new Threads(seed)
      for (const [index, operation] of sequence.entries()) {
        run(threads, operation, BigInt(index))
        deliverAll()
      }
      expectAgreement(threads)
    }),
    manyRuns,
  )
})

it('threads agree in the end, in whichever order and however late the messages of several arrive', () => {
  const operations = fc.array(
    fc.oneof(store, remove, collect, attach, { arbitrary: deliver, weight: 5 }),
    { maxLength: 100 },
  )
  fc.assert(
    fc.property(operations, seed, (sequence, seed) => {
      const threads = new Threads(seed)
      for (const [index, operation] of sequence.entries()) run(threads, operation, BigInt(index))
      expectAgreement(threads)
    }),
    manyRuns,
  )
})
