import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
  ReplicationPoller,
  type FollowerLag,
  type ShardReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Link, turnOfEventLoop } from '../support/link.js'
import { ScriptedSource } from '../support/scripted-source.js'
import {
  Book,
  followerKey,
  Model,
  RETENTION_MILLIS,
  type Reported,
} from '../support/several-writers-model.js'

// Two sources, the application and two threads report the same shards. The package and its model are driven side by side.

const SHARDS = ['a', 'b']
const REPLICAS = [undefined, 'r1', 'r2']
const FOLLOWERS = SHARDS.flatMap((shard) =>
  REPLICAS.map((replica) => ({ shard, replica, key: followerKey(shard, replica) })),
)

/** A replicated log, as it really is. */
class Log {
  leaderSeqno = 100n
  epoch = 1
  readonly applied = new Map(REPLICAS.map((replica) => [replica, 90n]))

  /** Another node becomes the leader. Positions of the new epoch are far from those of the old one. */
  failOver(): void {
    this.epoch++
    this.leaderSeqno = 100_000n * BigInt(this.epoch)
    for (const replica of REPLICAS) this.applied.set(replica, this.leaderSeqno - 10n)
  }
}

/** A thread of the application. It stores positions when they change. */
interface Host {
  /** How many entries of the log it does not know yet, so that all hosts differ. */
  readonly delay: bigint
  readonly gauge: ReplicationLagGauge
  readonly model: Model
}

interface Thread extends Host {
  readonly link: Link
  /** Its entries, as the main thread knows them. */
  book: Book
  isPublishing: boolean
}

interface Source {
  readonly scripted: ScriptedSource
  readonly book: Book
  /** Reads that were answered. */
  readonly settled: Set<object>
}

/** What a source sees of one shard in one read. */
interface View {
  readonly shard: string
  readonly followers: readonly {
    readonly replica: string | undefined
    readonly connected: boolean
    readonly hasPosition: boolean
  }[]
  readonly removed: readonly string[]
}

class SeveralWriters {
  private readonly logs = new Map(SHARDS.map((shard) => [shard, new Log()]))
  private readonly main: Host = { delay: 0n, gauge: new ReplicationLagGauge(), model: new Model() }
  private readonly threads = new Map<string, Thread>()
  private readonly sources = new Map<string, Source>()
  private readonly poller = new ReplicationPoller({
    gauge: this.main.gauge,
    retentionMillis: RETENTION_MILLIS,
  })
  private readonly producer = new ReplicationLagMetricProducer({
    gauge: this.main.gauge,
    positions: true,
  })
  private isPolling = false

  constructor() {
    this.setPolling(true)
    for (const name of SOURCES) this.addSource(name)
    for (const name of THREADS) this.startThread(name)
  }

  async end(): Promise<void> {
    this.poller.stop()
    for (const { link } of this.threads.values()) await link.close()
    vi.clearAllTimers()
  }

  wait(millis: number): void {
    vi.advanceTimersByTime(millis)
  }

  write(shard: string, entries: bigint): void {
    this.log(shard).leaderSeqno += entries
    this.storeEverywhere(shard)
  }

  apply(shard: string, replica: string | undefined): void {
    const { applied, leaderSeqno } = this.log(shard)
    applied.set(replica, leaderSeqno)
    this.storeEverywhere(shard)
  }

  failOver(shard: string): void {
    this.log(shard).failOver()
    this.storeEverywhere(shard)
  }

  addLeader(host: string, shard: string, hasPosition: boolean): void {
    const { gauge, model, delay } = this.host(host)
    const leaderSeqno = this.log(shard).leaderSeqno - delay
    gauge.leader(shard)
    const leader = model.application.leader(shard)
    if (!hasPosition) return
    gauge.updateLeaderSeqno(shard, leaderSeqno)
    leader.seqno = leaderSeqno
  }

  addFollower(host: string, shard: string, replica: string | undefined, hasPosition: boolean) {
    const { gauge, model, delay } = this.host(host)
    const applied = this.applied(shard, replica) - delay
    gauge.applied(shard, replica)
    const follower = model.application.follower(followerKey(shard, replica))
    if (!hasPosition) return
    gauge.updateAppliedSeqno(shard, applied, replica)
    follower.seqno = applied
  }

  remove(host: string, shard: string, replica: string | undefined): void {
    const { gauge, model } = this.host(host)
    gauge.remove(shard, replica)
    if (replica === undefined) model.application.removeShard(shard)
    else model.application.followers.delete(followerKey(shard, replica))
  }

  startThread(name: string): void {
    if (this.threads.has(name)) return
    const delay = BigInt(THREADS.indexOf(name) + 1)
    const thread = { delay, gauge: new ReplicationLagGauge(), model: new Model() }
    const link = new Link(thread.gauge, this.main.gauge, { retentionMillis: RETENTION_MILLIS })
    const book = this.main.model.add(new Book('thread'))
    this.main.model.subscribe(book, thread.model)
    this.threads.set(name, { ...thread, link, book, isPublishing: true })
  }

  async endThread(name: string): Promise<void> {
    const thread = this.threads.get(name)
    if (!thread) return
    this.threads.delete(name)
    this.main.model.close(thread.book, performance.now())
    await thread.link.close()
  }

  setPublishing(name: string, isPublishing: boolean): void {
    const thread = this.threads.get(name)
    if (!thread || thread.isPublishing === isPublishing) return
    thread.isPublishing = isPublishing
    const { link, model } = thread
    if (isPublishing) {
      link.publish()
      this.main.model.subscribe(thread.book, model)
    } else {
      link.unpublish()
      this.main.model.remove(thread.book)
      thread.book = this.main.model.add(new Book('thread'))
    }
  }

  setPolling(isPolling: boolean): void {
    this.isPolling = isPolling
    if (isPolling) this.poller.start()
    else this.poller.stop()
    if (isPolling) return
    for (const { book } of this.sources.values()) book.freshUntil = -Infinity
  }

  addSource(name: string): void {
    if (this.sources.has(name)) return
    const scripted = new ScriptedSource(name)
    this.poller.add(scripted)
    const book = this.main.model.add(new Book('source'))
    this.sources.set(name, { scripted, book, settled: new Set() })
  }

  removeSource(name: string): void {
    const source = this.sources.get(name)
    if (!source) return
    this.poller.remove(name)
    this.sources.delete(name)
    this.main.model.remove(source.book)
  }

  /** Answers the next read of a source, or the one that hangs. */
  async answer(name: string, views: readonly View[], complete: boolean): Promise<void> {
    const next = await this.nextRead(name)
    if (!next) return
    const { source, read } = next
    const shards = views.map((view) => this.see(view))
    const found = { shards, complete }
    if (!read.signal.aborted) source.book.apply(found, performance.now())
    read.answer(found)
  }

  async miss(name: string): Promise<void> {
    const next = await this.nextRead(name)
    next?.read.fail(new Error('cannot be read'))
  }

  /** What is reported must be what the model says. */
  async expectAgreement(): Promise<void> {
    await this.update()
    const { gauge, model } = this.main
    const now = performance.now()
    this.expectLags(this.main)
    expectEqual(
      FOLLOWERS.map(({ shard, replica }) => gauge.lagSeqno(shard, replica)),
      FOLLOWERS.map(({ key }) => model.lagSeqno(key, now)),
    )
    expectEqual(await this.collected(), {
      connections: model.connections(now),
      leaders: model.leaders(now),
    })
  }

  /** A thread knows only its own entries. */
  expectAgreementInThreads(): void {
    for (const thread of this.threads.values()) this.expectLags(thread)
  }

  /** Waits until everything has arrived in both. */
  async update(): Promise<void> {
    await turnOfEventLoop()
    for (const { link } of this.threads.values()) await link.delivered()
    for (const { model } of this.hosts.values()) model.update(performance.now())
  }

  private expectLags({ gauge, model }: Host): void {
    const lags = gauge.collectMetrics().flatMap(toReported)
    const expected = model.collect(performance.now())
    expectEqual(new Map(lags), expected)
    // None is reported twice.
    expect(lags.length).toBe(expected.size)
  }

  /** What the metric producer reports of connections and leaders. */
  private async collected() {
    const { resourceMetrics } = await this.producer.collect()
    const metrics = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
    const points = (name: string) =>
      metrics
        .filter(({ descriptor }) => descriptor.name === name)
        .flatMap(({ dataPoints }) => dataPoints)
        .map(({ attributes: { shard, replica }, value }) => {
          return [followerKey(shard as string, replica as string | undefined), value] as const
        })
    const connections = points('replication_follower_connected')
    const leaders = points('replication_leader_seqno')
    return {
      connections: new Map(connections.map(([key, value]) => [key, value === 1])),
      leaders: new Map(leaders.map(([shard, value]) => [shard, BigInt(value)])),
    }
  }

  /** The read that a source has not answered yet; it is waited for. */
  private async nextRead(name: string) {
    const source = this.sources.get(name)
    const last = () => source?.scripted.reads.at(-1)
    const isPending = () => !source?.settled.has(last() ?? source)
    for (let second = 0; this.isPolling && !isPending() && second < 10; second++) {
      this.wait(1000)
      await turnOfEventLoop()
    }
    const read = last()
    if (!source || !read || !isPending()) return undefined
    source.settled.add(read)
    return { source, read }
  }

  private see({ shard, followers, removed }: View): ShardReading {
    const { leaderSeqno, epoch } = this.log(shard)
    return {
      shard,
      leaderSeqno,
      epoch: `epoch ${epoch}`,
      removed: removed.filter((name) => followers.every(({ replica }) => replica !== name)),
      followers: followers.map(({ replica, connected, hasPosition }) => ({
        connected,
        ...(replica === undefined ? {} : { replica }),
        ...(hasPosition ? { appliedSeqno: this.applied(shard, replica) } : {}),
      })),
    }
  }

  private storeEverywhere(shard: string): void {
    for (const { gauge, model, delay } of this.hosts.values()) {
      const { leaders, followers } = model.application
      const leaderSeqno = this.log(shard).leaderSeqno - delay
      const leader = leaders.get(shard)
      if (leader?.seqno !== undefined) {
        leader.seqno = leaderSeqno
        gauge.updateLeaderSeqno(shard, leaderSeqno)
      }
      for (const replica of REPLICAS) {
        const follower = followers.get(followerKey(shard, replica))
        if (follower?.seqno === undefined) continue
        follower.seqno = this.applied(shard, replica) - delay
        gauge.updateAppliedSeqno(shard, follower.seqno, replica)
      }
    }
  }

  private get hosts(): Map<string, Host> {
    return new Map<string, Host>([['application', this.main], ...this.threads])
  }

  /** A thread that has ended is replaced by the main thread. */
  private host(name: string): Host {
    return this.threads.get(name) ?? this.main
  }

  private log(shard: string): Log {
    return this.logs.get(shard) as Log
  }

  private applied(shard: string, replica: string | undefined): bigint {
    return this.log(shard).applied.get(replica) as bigint
  }
}

/** What is reported of a follower with a lag. Its positions are small here. */
function toReported(lag: FollowerLag): [key: string, Reported][] {
  const { shard, replica, lagSeqno, connected, leaderSeqno = 0, appliedSeqno } = lag
  if (lagSeqno === undefined) return []
  const positions = {
    leaderSeqno: BigInt(leaderSeqno),
    appliedSeqno: appliedSeqno === undefined ? undefined : BigInt(appliedSeqno),
  }
  return [[followerKey(shard, replica), { lagSeqno, connected, ...positions }]]
}

/** `expect` alone takes most of the time. */
function expectEqual(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected)
}

const SOURCES = ['source 1', 'source 2']
const THREADS = ['thread 1', 'thread 2']

/** Something that happens. */
interface Step {
  run(writers: SeveralWriters): Promise<void> | void
}

/** How often a step happens, its name, its parameters, and what it does with them. */
function step<Parameters extends unknown[]>(
  weight: number,
  name: string,
  parameters: { [Index in keyof Parameters]: fc.Arbitrary<Parameters[Index]> },
  run: (writers: SeveralWriters, ...parameters: Parameters) => Promise<void> | void,
): fc.WeightedArbitrary<Step> {
  const arbitrary = fc.tuple<Parameters>(...parameters).map((values) => ({
    run: (writers: SeveralWriters) => run(writers, ...values),
    toString: () => `${name} ${values.map((value) => fc.stringify(value)).join(' ')}`,
  }))
  return { weight, arbitrary }
}

// Mostly one shard, so that more meets in it.
const shard = fc.constantFrom('a', 'a', 'a', 'b')
const replica = fc.constantFrom(...REPLICAS)
const source = fc.constantFrom(...SOURCES)
const thread = fc.constantFrom(...THREADS)
const host = fc.constantFrom('application', ...THREADS)
const flag = fc.boolean()
const views: fc.Arbitrary<View[]> = fc.uniqueArray(
  fc.record({
    shard,
    followers: fc.uniqueArray(fc.record({ replica, connected: flag, hasPosition: flag }), {
      selector: ({ replica }) => replica,
    }),
    removed: fc.subarray(['r1', 'r2']),
  }),
  { selector: ({ shard }) => shard },
)

const WRITE = step(3, 'write', [shard, fc.bigInt(1n, 9n)], (w, ...args) => w.write(...args))
const APPLY = step(3, 'apply', [shard, replica], (w, ...args) => w.apply(...args))
const LEADER = step(3, 'leader', [host, shard, flag], (w, ...args) => w.addLeader(...args))
const FOLLOWER = step(4, 'follower', [host, shard, replica, flag], (w, ...args) => {
  w.addFollower(...args)
})
const ANSWER = step(7, 'answer', [source, views, flag], (w, ...args) => w.answer(...args))
const FIRST_STEPS = [WRITE, APPLY, LEADER, FOLLOWER, ANSWER]
const ALL_STEPS = [
  ...FIRST_STEPS,
  step(4, 'wait', [fc.constantFrom(500, 1000, 6000, 21_000)], (w, millis) => w.wait(millis)),
  step(1, 'fail over', [shard], (w, ...args) => w.failOver(...args)),
  step(2, 'remove', [host, shard, replica], (w, ...args) => w.remove(...args)),
  step(1, 'end', [thread], (w, name) => w.endThread(name)),
  step(1, 'start', [thread], (w, name) => w.startThread(name)),
  step(1, 'publish', [thread, flag], (w, ...args) => w.setPublishing(...args)),
  step(1, 'miss', [source], (w, name) => w.miss(name)),
  step(1, 'poll', [flag], (w, isPolling) => w.setPolling(isPolling)),
  step(1, 'remove', [source], (w, name) => w.removeSource(name)),
  step(1, 'add', [source], (w, name) => w.addSource(name)),
]

const sequence = (kinds: typeof ALL_STEPS, maxLength: number) =>
  fc.array(fc.oneof(...kinds), { maxLength, size: 'max' })

/** A few entries at first. Then not every kind of step happens, so that each of the others meets others more often. */
const runs = (maxSteps: number) =>
  fc
    .subarray(ALL_STEPS, { minLength: 4 })
    .chain((kinds) => fc.tuple(sequence(FIRST_STEPS, 12), sequence(kinds, maxSteps)))

beforeEach(() => {
  // Not the delivery of messages between threads.
  vi.useFakeTimers({
    toFake: ['performance', 'Date', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'],
  })
})
afterEach(() => {
  vi.useRealTimers()
})

it('agrees with a simple model when sources, threads and the application report the same shards', async () => {
  await fc.assert(
    fc.asyncProperty(runs(60), async ([firstSteps, steps]) => {
      const writers = new SeveralWriters()
      try {
        for (const step of firstSteps) {
          await step.run(writers)
          await writers.update()
        }
        await writers.expectAgreement()
        for (const step of steps) {
          await step.run(writers)
          await writers.expectAgreement()
        }
        writers.expectAgreementInThreads()
      } finally {
        await writers.end()
      }
    }),
    { numRuns: 100 },
  )
})
