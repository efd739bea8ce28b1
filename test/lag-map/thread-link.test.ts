import { EventEmitter, once } from 'node:events'
import { MessageChannel, Worker } from 'node:worker_threads'
import fc from 'fast-check'
import {
  ReplicationLagGauge,
  ReplicationPoller,
  type SubscribeOptions,
  type ThreadPort,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { ODD_NAMES } from '../support/bad-input.js'
import { recordDiag, type DiagRecorder } from '../support/diag.js'
import { Link } from '../support/link.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'

// A gauge stands for a thread here. thread-link.threads.test.ts has a few tests with real threads.

let main: ReplicationLagGauge
let worker: ReplicationLagGauge
let links: Link[]
let logged: DiagRecorder
beforeEach(() => {
  main = new ReplicationLagGauge()
  worker = new ReplicationLagGauge()
  links = []
  logged = recordDiag()
})
afterEach(async () => {
  await Promise.all(links.map((link) => link.close()))
  logged.stop()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

/** Publishes one gauge to another, and waits until the first entries are there. */
async function connect(
  publisher = worker,
  subscriber = main,
  options?: SubscribeOptions,
): Promise<Link> {
  const link = new Link(publisher, subscriber, options)
  links.push(link)
  await link.delivered()
  return link
}

/** Ends the thread of a publisher. */
async function end(link: Link): Promise<void> {
  links.splice(links.indexOf(link), 1)
  await link.close()
}

/** Stops the clock and the timers of the package, but not the delivery of messages. */
function stopClock(): void {
  vi.useFakeTimers({
    toFake: ['performance', 'Date', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'],
  })
}

function expectWithin(value: number | undefined, min: number, max: number): void {
  expect(value).toBeGreaterThanOrEqual(min)
  expect(value).toBeLessThanOrEqual(max)
}

describe('a subscriber', () => {
  it('reports what was there before, without waiting for anything else', async () => {
    worker.updateLeaderSeqno('a', 10)
    worker.updateAppliedSeqno('a', 7)
    worker.updateLeaderSeqno('b', 10)
    worker.updateAppliedSeqno('b', 4, 'r1')
    await connect()
    expect(main.collectMetrics()).toMatchObject([
      { shard: 'a', lagSeqno: 3, connected: true, leaderSeqno: 10, appliedSeqno: 7 },
      {
        ...{ shard: 'b', replica: 'r1', lagSeqno: 6, connected: true },
        ...{ leaderSeqno: 10, appliedSeqno: 4 },
      },
    ])
  })

  it('reports what is added later, and no longer what is removed', async () => {
    const link = await connect()
    worker.updateLeaderSeqno('a', 10)
    worker.updateAppliedSeqno('a', 7, 'r1')
    worker.updateAppliedSeqno('a', 8, 'r2')
    await link.delivered()
    expect(main.lagSeqno('a', 'r1')).toBe(3)
    expect(main.lagSeqno('a', 'r2')).toBe(2)
    worker.remove('a', 'r1')
    await link.delivered()
    expect(main.collectMetrics()).toMatchObject([{ replica: 'r2', lagSeqno: 2 }])
    worker.remove('a')
    await link.delivered()
    expect(main.collectMetrics()).toEqual([])
  })

  it('follows an entry that is removed and added again under its name', async () => {
    worker.updateLeaderSeqno('a', 10)
    worker.updateAppliedSeqno('a', 7, 'r1')
    const link = await connect()
    worker.remove('a')
    worker.updateLeaderSeqno('a', 20)
    worker.updateAppliedSeqno('a', 15, 'r1')
    await link.delivered()
    expect(main.lagSeqno('a', 'r1')).toBe(5)
    worker.updateLeaderSeqno('a', 21)
    worker.updateAppliedSeqno('a', 20, 'r1')
    expect(main.lagSeqno('a', 'r1')).toBe(1)
  })

  it('sees at once what is stored, through handles and by name', async () => {
    const leader = worker.leader('a')
    const applied = worker.applied('a', 'r1')
    await connect()
    leader.store(10)
    applied.store(7)
    expect(main.lagSeqno('a', 'r1')).toBe(3)
    worker.updateLeaderSeqno('a', 11)
    worker.updateAppliedSeqno('a', 11, 'r1')
    expect(main.lagSeqno('a', 'r1')).toBe(0)
  })

  it.each([
    ['0', 0n],
    ['2^64 − 1', 2n ** 64n - 1n],
  ])('reports the seqno %s as stored', async (_, seqno) => {
    worker.leader('a').store(seqno)
    worker.applied('a').store(seqno)
    await connect()
    expect(main.lagSeqno('a')).toBe(0)
    expect([main.leaderSeqno('a'), main.appliedSeqno('a')]).toEqual([seqno, seqno])
  })

  it('knows a handle that nothing was stored through as a follower that has applied nothing', async () => {
    worker.leader('unknown')
    worker.applied('unknown')
    worker.updateLeaderSeqno('a', 9)
    worker.applied('a')
    await connect()
    expect(main.collectMetrics()).toEqual([
      { shard: 'unknown', connected: true },
      { shard: 'a', lagSeqno: 9, connected: true, leaderSeqno: 9 },
    ])
  })

  it.each(ODD_NAMES)('keeps odd names as they are: %s', async (_, name) => {
    worker.updateLeaderSeqno(name, 9)
    worker.updateAppliedSeqno(name, 2, name)
    await connect()
    expect(main.collectMetrics()).toMatchObject([{ shard: name, replica: name, lagSeqno: 7 }])
  })

  it('does not own what it reports: it cannot be removed there, and its updates are not shared', async () => {
    worker.updateLeaderSeqno('a', 9)
    worker.updateAppliedSeqno('a', 2, 'r1')
    await connect()
    expect(main.remove('a')).toBe(false)
    expect(main.remove('a', 'r1')).toBe(false)
    main.updateAppliedSeqno('a', 3, 'r2')
    expect(main.lagSeqno('a', 'r1')).toBe(7)
    expect(main.lagSeqno('a', 'r2')).toBe(6)
    expect(worker.collectMetrics()).toHaveLength(1)
  })

  it('keeps its own entries next to those of several publishers', async () => {
    const other = new ReplicationLagGauge()
    worker.updateAppliedSeqno('a', 1, 'r1')
    other.updateAppliedSeqno('a', 2, 'r2')
    await connect(worker)
    await connect(other)
    main.updateAppliedSeqno('a', 3, 'r3')
    main.updateLeaderSeqno('a', 9)
    const lags = main.collectMetrics().map(({ replica, lagSeqno }) => [replica, lagSeqno])
    expect(Object.fromEntries(lags)).toEqual({ r1: 8, r2: 7, r3: 6 })
  })

  it('reports a follower that both threads have once, as it knows it itself', async () => {
    worker.updateAppliedSeqno('a', 1, 'r1')
    await connect()
    main.updateLeaderSeqno('a', 9)
    main.updateAppliedSeqno('a', 5, 'r1')
    expect(main.collectMetrics()).toMatchObject([{ replica: 'r1', lagSeqno: 4 }])
    main.remove('a', 'r1')
    expect(main.collectMetrics()).toMatchObject([{ replica: 'r1', lagSeqno: 8 }])
  })

  it('believes the thread that was subscribed to last about a follower that two publish', async () => {
    const other = new ReplicationLagGauge()
    worker.updateAppliedSeqno('a', 1, 'r1')
    other.updateAppliedSeqno('a', 2, 'r1')
    await connect(worker)
    await connect(other)
    main.updateLeaderSeqno('a', 9)
    expect(main.collectMetrics()).toMatchObject([{ replica: 'r1', lagSeqno: 7 }])
    expect(main.lagSeqno('a', 'r1')).toBe(7)
  })

  it('compares followers with the leader of their own thread once that has a position', async () => {
    const leader = worker.leader('a')
    worker.updateAppliedSeqno('a', 3)
    await connect()
    main.updateLeaderSeqno('a', 10)
    expect(main.lagSeqno('a')).toBe(7)
    leader.store(5)
    expect(main.lagSeqno('a')).toBe(2)
  })

  it('measures the lag in seconds of its own follower by a leader in another thread', async () => {
    stopClock()
    const leader = worker.leader('a')
    leader.store(10)
    main.updateAppliedSeqno('a', 10)
    await connect()
    expect(main.lagSeconds('a')).toBe(0)
    vi.advanceTimersByTime(2000)
    leader.store(11)
    vi.advanceTimersByTime(5000)
    expectWithin(main.lagSeconds('a'), 4, 5)
  })

  it('measures the lag in seconds of a follower that has applied nothing, next to its own', async () => {
    stopClock()
    main.updateLeaderSeqno('a', 10)
    main.updateAppliedSeqno('a', 10, 'own')
    worker.applied('a', 'r1')
    await connect()
    expect(main.lagSeconds('a', 'own')).toBe(0)
    vi.advanceTimersByTime(30_000)
    expectWithin(main.lagSeconds('a', 'r1'), 29, 30)
  })

  it('compares followers no longer with a leader that was removed', async () => {
    main.updateLeaderSeqno('a', 10)
    worker.updateAppliedSeqno('a', 7, 'r1')
    await connect()
    expect(main.collectMetrics()).toMatchObject([{ replica: 'r1', lagSeqno: 3 }])
    main.remove('a')
    expect(main.collectMetrics()).toEqual([
      { shard: 'a', replica: 'r1', connected: true, appliedSeqno: 7 },
    ])
  })
})

describe('a publisher', () => {
  it('has several subscribers', async () => {
    const other = new ReplicationLagGauge()
    worker.updateLeaderSeqno('a', 9)
    worker.updateAppliedSeqno('a', 2, 'r1')
    const first = await connect(worker, main)
    const second = await connect(worker, other)
    first.unpublish()
    worker.updateAppliedSeqno('a', 5, 'r2')
    await first.delivered()
    await second.delivered()
    expect(main.collectMetrics()).toEqual([])
    expect(other.collectMetrics()).toMatchObject([{ lagSeqno: 7 }, { lagSeqno: 4 }])
  })

  it('can subscribe to its subscriber', async () => {
    const there = await connect(worker, main)
    const back = await connect(main, worker)
    main.updateLeaderSeqno('a', 9)
    worker.updateAppliedSeqno('a', 4)
    await there.delivered()
    await back.delivered()
    expect(main.lagSeqno('a')).toBe(5)
    expect(worker.lagSeqno('a')).toBe(5)
  })

  it('does not pass on what it subscribed to', async () => {
    const other = new ReplicationLagGauge()
    worker.updateLeaderSeqno('a', 9)
    worker.updateAppliedSeqno('a', 4)
    await connect(worker, main)
    await connect(main, other)
    main.updateLeaderSeqno('b', 1)
    main.updateAppliedSeqno('b', 1)
    await links[1]?.delivered()
    expect(main.collectMetrics()).toHaveLength(2)
    expect(other.collectMetrics()).toMatchObject([{ shard: 'b' }])
  })

  it('does not publish what its sources report', async () => {
    const source = new ScriptedSource()
    const poller = new ReplicationPoller({ gauge: worker, sources: [source] })
    const link = await connect()
    poller.start()
    await vi.waitFor(() => expect(source.reads).toHaveLength(1))
    source.last.answer(reading('a', 9, { r1: 4 }))
    await vi.waitFor(() => expect(worker.lagSeqno('a', 'r1')).toBe(5))
    worker.updateLeaderSeqno('b', 1)
    worker.updateAppliedSeqno('b', 1)
    await link.delivered()
    expect(main.collectMetrics()).toMatchObject([{ shard: 'b' }])
    poller.stop()
  })

  it('removes its entries from the subscriber when it stops publishing', async () => {
    main.updateLeaderSeqno('a', 9)
    main.updateAppliedSeqno('a', 9, 'own')
    worker.updateAppliedSeqno('a', 4, 'before')
    const link = await connect()
    expect(main.collectMetrics()).toHaveLength(2)
    worker.updateAppliedSeqno('a', 5, 'at the same time')
    link.unpublish()
    worker.updateAppliedSeqno('a', 5, 'after')
    await link.delivered()
    expect(main.collectMetrics()).toMatchObject([{ replica: 'own' }])
    expect(main.lagSeqno('a', 'before')).toBe(0)
  })

  it('leaves nothing that counts when it stops publishing, neither a leader nor a follower', async () => {
    stopClock()
    worker.updateLeaderSeqno('a', 9)
    main.updateLeaderSeqno('b', 5)
    worker.updateAppliedSeqno('b', 2)
    const link = await connect()
    vi.advanceTimersByTime(1000)
    expect(main.collectMetrics()).toMatchObject([{ shard: 'b', lagSeqno: 3 }, { shard: 'a' }])
    link.unpublish()
    await link.delivered()
    expect(main.collectMetrics()).toEqual([{ shard: 'b', lagSeqno: 5, leaderSeqno: 5 }])
  })

  it('can publish again at the same port', async () => {
    worker.updateLeaderSeqno('a', 9)
    worker.updateAppliedSeqno('a', 4)
    const link = await connect()
    const { unpublish } = link
    unpublish()
    worker.remove('a')
    worker.updateLeaderSeqno('b', 9)
    worker.updateAppliedSeqno('b', 2)
    link.publish()
    // It has ended already.
    unpublish()
    await link.delivered()
    expect(main.collectMetrics()).toMatchObject([{ shard: 'b', lagSeqno: 7 }])
  })

  it('goes on without its subscriber', async () => {
    const link = await connect()
    const closed = once(link.port1, 'close')
    links = []
    link.port2.close()
    await closed
    worker.updateLeaderSeqno('a', 9)
    worker.updateAppliedSeqno('a', 4)
    await link.delivered()
    link.unpublish()
    expect(worker.lagSeqno('a')).toBe(5)
    expect(logged.messages).toEqual([])
  })

  it('and a subscriber do not keep the process running', () => {
    const { port1, port2 } = new MessageChannel()
    main.subscribe(port2)
    worker.publish(port1)
    // The types of Node 20 lack `hasRef`.
    const isReferenced = (port: object) => (port as { hasRef(): boolean }).hasRef()
    expect([port1, port2].map(isReferenced)).toEqual([false, false])
    port1.close()
  })
})

it('publishing throws where there is no shared memory', () => {
  vi.stubGlobal('SharedArrayBuffer', undefined)
  const { port1 } = new MessageChannel()
  worker.updateLeaderSeqno('a', 9)
  expect(() => worker.publish(port1)).toThrow('publish: this environment has no SharedArrayBuffer')
  expect(worker.lagSeqno('a')).toBe(9)
  port1.close()
})

describe('a leader from another thread', () => {
  it('counts as one without followers only after a second', async () => {
    stopClock()
    await connect()
    worker.updateLeaderSeqno('a', 9)
    await links[0]?.delivered()
    vi.advanceTimersByTime(999)
    expect(main.collectMetrics()).toEqual([])
    expect(main.lagSeqno('a')).toBe(0)
    vi.advanceTimersByTime(1)
    expect(main.collectMetrics()).toMatchObject([{ shard: 'a', lagSeqno: 9, leaderSeqno: 9 }])
    expect(main.lagSeqno('a')).toBe(9)
  })

  it.each([true, false])('comes before that of a source (thread first: %s)', async (isFirst) => {
    const source = new ScriptedSource()
    const poller = new ReplicationPoller({ gauge: main })
    onTestFinished(() => poller.stop())
    worker.updateLeaderSeqno('a', 11)
    if (isFirst) await connect()
    poller.start()
    poller.add(source)
    await vi.waitFor(() => source.last.answer(reading('a', 10, {})))
    main.updateAppliedSeqno('a', 4, 'own')
    if (!isFirst) {
      await vi.waitFor(() => expect(main.lagSeqno('a', 'own')).toBe(6))
      await connect()
    }
    expect(main.lagSeqno('a', 'own')).toBe(7)
  })

  it('does not count as one without followers when another thread has one', async () => {
    stopClock()
    worker.updateLeaderSeqno('a', 9)
    await connect()
    const other = new ReplicationLagGauge()
    other.updateAppliedSeqno('a', 8, 'r1')
    await connect(other)
    vi.advanceTimersByTime(10_000)
    expect(main.collectMetrics()).toMatchObject([{ replica: 'r1', lagSeqno: 1 }])
  })

  it('does not count as one without followers after its last named follower was removed', async () => {
    stopClock()
    worker.updateLeaderSeqno('a', 9)
    worker.updateAppliedSeqno('a', 8, 'r1')
    const link = await connect()
    worker.remove('a', 'r1')
    await link.delivered()
    const late = new ReplicationLagGauge()
    await connect(worker, late)
    vi.advanceTimersByTime(10_000)
    for (const gauge of [worker, main, late]) expect(gauge.collectMetrics()).toEqual([])
  })
})

describe('when the other thread ends', () => {
  it('keeps its followers with their last position until the retention time is over', async () => {
    stopClock()
    main.updateLeaderSeqno('a', 10)
    worker.updateAppliedSeqno('a', 7, 'r1')
    await end(await connect(worker, main, { retentionMillis: 60_000 }))
    worker.updateAppliedSeqno('a', 10, 'r1')
    main.updateLeaderSeqno('a', 30)
    vi.advanceTimersByTime(59_999)
    expect(main.collectMetrics()).toMatchObject([{ replica: 'r1', connected: false }])
    vi.advanceTimersByTime(1)
    expect(main.collectMetrics()).toEqual([])
    expect(main.lagSeqno('a', 'r1')).toBe(0)
  })

  it('again and again, keeps the last position that one of them had', async () => {
    stopClock()
    main.updateLeaderSeqno('a', 10)
    for (const applied of [5, 7]) {
      const first = new ReplicationLagGauge()
      first.updateAppliedSeqno('a', applied, 'r1')
      await end(await connect(first, main, { retentionMillis: 60_000 }))
    }
    vi.advanceTimersByTime(30_000)
    for (let restart = 0; restart < 3; restart++) {
      const crashed = new ReplicationLagGauge()
      crashed.applied('a', 'r1')
      crashed.leader('a')
      await end(await connect(crashed, main, { retentionMillis: 60_000 }))
      expect(main.collectMetrics()).toMatchObject([{ replica: 'r1', lagSeqno: 3 }])
    }
    vi.advanceTimersByTime(30_000)
    expect(main.collectMetrics()).toEqual([])
  })

  it('again and again, keeps the last leader that one of them had', async () => {
    stopClock()
    for (const seqno of [8, 9]) {
      const leader = new ReplicationLagGauge()
      leader.updateLeaderSeqno('a', seqno)
      leader.updateAppliedSeqno('b', 1)
      await end(await connect(leader))
    }
    const crashed = new ReplicationLagGauge()
    crashed.leader('a')
    await end(await connect(crashed))
    main.updateAppliedSeqno('a', 4, 'r1')
    expect(main.collectMetrics()).toMatchObject([{ lagSeqno: 5 }, { shard: 'b' }])
  })

  it('again, its entries replace those that an earlier one left', async () => {
    stopClock()
    for (const [seqno, retentionMillis] of [
      [5, 60_000],
      [7, 10_000],
    ] as const) {
      const publisher = new ReplicationLagGauge()
      publisher.updateLeaderSeqno('a', seqno + 10)
      publisher.updateAppliedSeqno('a', seqno, 'r1')
      await end(await connect(publisher, main, { retentionMillis }))
    }
    main.updateAppliedSeqno('a', 1, 'own')
    expect(main.collectMetrics()).toMatchObject([{ lagSeqno: 16 }, { lagSeqno: 10 }])
    vi.advanceTimersByTime(10_000)
    expect(main.collectMetrics()).toEqual([])
  })

  it('compares its followers with the leader of this thread, even if it had one', async () => {
    main.updateLeaderSeqno('a', 10)
    worker.updateLeaderSeqno('a', 8)
    worker.updateAppliedSeqno('a', 7, 'r1')
    const link = await connect()
    expect(main.lagSeqno('a', 'r1')).toBe(1)
    await end(link)
    expect(main.lagSeqno('a', 'r1')).toBe(3)
    main.updateLeaderSeqno('a', 20)
    expect(main.lagSeqno('a', 'r1')).toBe(13)
  })

  it('does not report the lag that it left behind forever', async () => {
    stopClock()
    worker.updateLeaderSeqno('a', 10)
    worker.updateAppliedSeqno('a', 7, 'r1')
    worker.updateLeaderSeqno('lone', 10)
    await end(await connect())
    vi.advanceTimersByTime(3_599_999)
    expect(main.collectMetrics()).toMatchObject([{ lagSeqno: 3, connected: false }])
    vi.advanceTimersByTime(1)
    expect(main.collectMetrics()).toEqual([])
  })

  it('still compares the followers of a third thread with its leader', async () => {
    stopClock()
    const other = new ReplicationLagGauge()
    worker.updateLeaderSeqno('a', 10)
    other.updateAppliedSeqno('a', 7, 'r1')
    await connect(other)
    await end(await connect(worker, main, { retentionMillis: 60_000 }))
    other.updateAppliedSeqno('a', 8, 'r1')
    expect(main.collectMetrics()).toMatchObject([{ lagSeqno: 2, connected: true }])
    vi.advanceTimersByTime(60_000)
    expect(main.collectMetrics()).toEqual([
      { shard: 'a', replica: 'r1', connected: true, appliedSeqno: 8 },
    ])
  })

  it('forgets its entries at once if the retention time is 0', async () => {
    main.updateLeaderSeqno('a', 10)
    worker.updateAppliedSeqno('a', 7, 'r1')
    await end(await connect(worker, main, { retentionMillis: 0 }))
    expect(main.collectMetrics()).toEqual([])
  })

  it('shows no spike when a thread that was started again has stored nothing yet', async () => {
    main.updateLeaderSeqno('a', 1000)
    worker.updateAppliedSeqno('a', 990, 'r1')
    await end(await connect())
    const restarted = new ReplicationLagGauge()
    const applied = restarted.applied('a', 'r1')
    await connect(restarted)
    expect(main.collectMetrics()).toMatchObject([{ lagSeqno: 10, connected: false }])
    expect(main.lagSeqno('a', 'r1')).toBe(10)
    applied.store(991)
    expect(main.collectMetrics()).toMatchObject([{ lagSeqno: 9, connected: true }])
    expect(main.lagSeqno('a', 'r1')).toBe(9)
  })

  it('can collect inside the close event of the port', async () => {
    main.updateLeaderSeqno('a', 10)
    worker.updateAppliedSeqno('a', 7, 'r1')
    const { port1, port2 } = new MessageChannel()
    const collected: unknown[] = []
    // Before the gauge has heard of it, and after.
    port2.on('close', () => collected.push(...main.collectMetrics()))
    main.subscribe(port2)
    port2.on('close', () => collected.push(...main.collectMetrics()))
    worker.publish(port1)
    await vi.waitFor(() => expect(main.lagSeqno('a', 'r1')).toBe(3))
    const closed = once(port2, 'close')
    port1.close()
    await closed
    expect(collected).toMatchObject([
      { lagSeqno: 3, connected: true },
      { lagSeqno: 3, connected: false },
    ])
  })
})

describe('bad arguments', () => {
  const NO_PORTS: [string, unknown][] = [
    ['undefined', undefined],
    ['null', null],
    ['a number', 7],
    ['an object', {}],
    ['an event emitter', new EventEmitter()],
    ['a port of another kind', { postMessage: () => undefined, addEventListener: () => undefined }],
  ]

  it('publish and subscribe throw for a Worker, whose end they would not notice', () => {
    const worker = new Worker('', { eval: true })
    onTestFinished(async () => {
      await worker.terminate()
    })
    const message = 'port: expected a MessagePort, got a Worker'
    expect(() => main.publish(worker)).toThrow(message)
    expect(() => main.subscribe(worker)).toThrow(message)
  })

  it.each(NO_PORTS)('publish and subscribe throw for %s instead of a port', (_, port) => {
    expect(() => main.publish(port as ThreadPort)).toThrow(/^port: expected a MessagePort, got /)
    expect(() => main.subscribe(port as ThreadPort)).toThrow(/^port: expected a MessagePort, got /)
  })

  it.each([
    ['options', 7, 'options: expected an object, got 7'],
    ['options', null, 'options: expected an object, got null'],
    ['retentionMillis', { retentionMillis: -1 }, 'retentionMillis: expected a number of milli'],
    ['retentionMillis', { retentionMillis: NaN }, 'retentionMillis: expected a number of milli'],
    ['retentionMillis', { retentionMillis: '1' }, 'retentionMillis: expected a number of milli'],
    ['retentionMillis', { retentionMillis: null }, 'retentionMillis: expected a number of milli'],
  ])('subscribe throws for invalid %s: %o', (_, options, message) => {
    const { port1 } = new MessageChannel()
    expect(() => main.subscribe(port1, options as SubscribeOptions)).toThrow(TypeError)
    expect(() => main.subscribe(port1, options as SubscribeOptions)).toThrow(message)
    port1.close()
  })

  it('subscribe logs an option that does not exist', async () => {
    await connect(worker, main, { retention: 1 } as SubscribeOptions)
    expect(logged.matching('warn', 'subscribe: unknown option "retention"')).toHaveLength(1)
  })
})

describe('a message that is not from this package', () => {
  /** What the main thread reports all the while. */
  const LAG = { shard: 'a', replica: 'r1', lagSeqno: 3, leaderSeqno: 10, appliedSeqno: 7 }

  /** A port at which anything can be posted to a subscribed gauge that reports {@link LAG}. */
  async function connectRaw(): Promise<Link> {
    worker.updateLeaderSeqno('a', 10)
    worker.updateAppliedSeqno('a', 7, 'r1')
    return connect()
  }

  /** Posts messages of which `count` changes are invalid, and checks that they have no effect but a log line. */
  async function expectRejected(link: Link, messages: readonly unknown[], count: number) {
    const before = main.rejectedUpdates
    for (const message of messages) link.port1.postMessage(message)
    await link.delivered()
    expect(main.rejectedUpdates - before).toBe(count)
    expect(main.collectMetrics()).toMatchObject([{ ...LAG, connected: true }])
    expect(logged.messages).toHaveLength(1)
    expect(logged.matching('warn', 'subscribe: expected a message from publish()')).toHaveLength(1)
  }

  it('is logged once, counted and ignored, of whatever type', async () => {
    const link = await connectRaw()
    const messages = fc.oneof(
      fc.anything(),
      fc.record({ replicationLag: fc.anything(), changes: fc.anything() }),
      fc.record({ replicationLag: fc.constantFrom(0, 2, '1'), changes: fc.constant([]) }),
      fc.record({
        replicationLag: fc.constant(1),
        changes: fc.anything().filter((changes) => !Array.isArray(changes) && changes !== 'end'),
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(messages, { minLength: 1 }), (batch) =>
        expectRejected(link, batch, batch.length),
      ),
    )
  })

  it('may have one invalid field, and the rest is applied', async () => {
    const link = await connectRaw()
    const isName = (value: unknown) =>
      typeof value === 'string' && value.length > 0 && value.length <= 1024 && value.isWellFormed()
    const notName = fc
      .oneof(fc.anything(), fc.constantFrom('', 'x'.repeat(1025), 'a\uD800'))
      .filter((value) => !isName(value))
    const notIndex = fc.oneof(
      fc.anything().filter((value) => typeof value !== 'number'),
      fc.constantFrom(-1, 0.5, 64, 2 ** 32, NaN),
    )
    const notMemory = fc.oneof(
      fc.anything(),
      fc.constantFrom(0, 8, 575, 577).map((size) => new SharedArrayBuffer(size)),
      fc.constant(new ArrayBuffer(576)),
    )
    const memory = new SharedArrayBuffer(576)
    const valid = fc.tuple<[...unknown[]]>(
      fc.boolean(),
      fc.constant('a'),
      fc.constantFrom('r1', 'r2', undefined),
      fc.constant(memory),
      fc.nat({ max: 63 }),
    )
    const invalidFields = [
      fc.anything().filter((value) => typeof value !== 'boolean'),
      notName,
      notName.filter((name) => name !== undefined),
      notMemory,
      notIndex,
    ]
    const invalidField = fc.oneof(
      ...invalidFields.map((values, index) => values.map((value) => ({ index, value }))),
    )
    const invalid = fc.oneof(
      fc.anything().filter((change) => !Array.isArray(change)),
      fc.tuple(valid, invalidField).map(([change, { index, value }]) => change.with(index, value)),
      fc.tuple(valid, fc.constantFrom(0, 1, 4)).map(([change, length]) => change.slice(0, length)),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(invalid, { minLength: 1 }), (changes) =>
        expectRejected(link, [{ replicationLag: 1, changes }], changes.length),
      ),
    )
    const changes = [[], [false, 'a', 'r1', memory, 3], {}]
    link.port1.postMessage({ replicationLag: 1, changes })
    await link.delivered()
    expect(main.lagSeqno('a', 'r1')).toBe(10)
  })

  it('may remove what is not there', async () => {
    const link = await connectRaw()
    const removed = [
      [true, 'b', undefined],
      [false, 'b', undefined],
      [false, 'a', 'r2'],
    ]
    link.port1.postMessage({ replicationLag: 1, changes: removed })
    await link.delivered()
    expect(main.collectMetrics()).toMatchObject([{ ...LAG, connected: true }])
    expect(main.rejectedUpdates).toBe(0)
  })
})
