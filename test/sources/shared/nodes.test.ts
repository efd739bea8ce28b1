import { once } from 'node:events'
import { connect } from 'node:net'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Nodes, type Question, type Survey } from '../../../src/sources/shared/nodes.js'

/** What a node answers: who leads, as it knows, and when it looked at its position. */
interface Answer {
  readonly leader: string
  readonly readAt: number
}

/** A system whose nodes are asked. Its clock is that of the fake timers. */
class System {
  /** How long each node takes. Half of it is the way of the question. */
  readonly delays = new Map<string, number>()
  /** The names of the nodes, as they were asked. */
  asked: string[] = []
  readonly open = new Map<string, number>()
  readonly nodes: Nodes<Answer>

  constructor(
    /** Returns which nodes lead, as one of them knows it. */
    public leader: (name: string) => string,
    delays: Readonly<Record<string, number>>,
  ) {
    this.nodes = new Nodes<Answer>((answers) => {
      const led = [...answers].filter(([name, { leader }]) => leader === name)
      return led.map(([name]) => name)
    })
    for (const [name, delay] of Object.entries(delays)) {
      this.delays.set(name, delay)
      this.nodes.set(name, this.question(name))
    }
  }

  question(name: string): Question<Answer> {
    return async (signal) => {
      this.asked.push(name)
      const open = (this.open.get(name) ?? 0) + 1
      this.open.set(name, open)
      expect(open).toBe(1)
      try {
        const delay = this.delays.get(name) ?? 0
        if (delay < 0) throw new Error('refused')
        await wait(delay / 2, signal)
        const answer = { leader: this.leader(name), readAt: performance.now() }
        await wait(delay / 2, signal)
        return answer
      } finally {
        this.open.set(name, 0)
      }
    }
  }

  async read(timeoutMillis?: number): Promise<Survey<Answer> & { readonly tookMillis: number }> {
    this.asked = []
    const startedAt = performance.now()
    const survey = await settled(this.nodes.read(new AbortController().signal, timeoutMillis))
    return Object.assign(survey, { tookMillis: performance.now() - startedAt })
  }

  /** Reads at the interval of a poller. */
  async readAfter(millis: number, timeoutMillis?: number) {
    await vi.advanceTimersByTimeAsync(millis)
    return this.read(timeoutMillis)
  }
}

async function wait(millis: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error))
    if (millis < Infinity) setTimeout(resolve, millis)
  })
}

/** Lets the fake clock run until a promise has settled. */
async function settled<T>(promise: Promise<T>): Promise<T> {
  const state = { isSettled: false }
  const settle = () => (state.isSettled = true)
  promise.then(settle, settle)
  while (!state.isSettled) await vi.advanceTimersByTimeAsync(1)
  return promise
}

/** How long after a follower its leader was asked, at most. */
function gap(survey: Survey<Answer>, leader: string, follower: string): number {
  const position = survey.answers.get(follower)?.answer?.readAt ?? NaN
  return (survey.leaderWhen(leader, follower)?.answer.readAt ?? NaN) - position
}

const LED_BY_A = () => 'a'

/** A system led by a, which was read once. The others take 2 ms, unless they are given. */
async function started(delays: Readonly<Record<string, number>> = { a: 2, b: 2, c: 2 }) {
  const system = new System(LED_BY_A, delays)
  await system.read()
  return system
}

describe('nodes', () => {
  beforeEach(() => vi.useFakeTimers())
  afterEach(() => vi.useRealTimers())

  it('asks each follower once, and the leader once after them, from the second read on', async () => {
    const system = await started({ a: 2, b: 2, c: 4 })
    const survey = await system.read()
    expect(system.asked).toEqual(['b', 'c', 'a'])
    expect(gap(survey, 'a', 'b')).toBeLessThanOrEqual(5)
    expect(gap(survey, 'a', 'c')).toBeLessThanOrEqual(5)
    expect(survey.failures).toEqual(new Map())
    expect([...survey.answers.keys()]).toEqual(['a', 'b', 'c'])
    expect(survey.tookMillis).toBeLessThan(20)
  })

  it('finds the leader in the first read, and asks it again after its followers', async () => {
    const system = new System(LED_BY_A, { a: 2, b: 20 })
    const survey = await system.read()
    expect(system.asked).toEqual(['a', 'b', 'a'])
    expect(gap(survey, 'a', 'b')).toBeGreaterThanOrEqual(0)
    expect(survey.last('a')?.answer).toBe(survey.newest.get('a'))
    expect(survey.leaderWhen('b', 'a')).toBeUndefined()
    expect(survey.leaderWhen('a', 'no node')).toBeUndefined()
  })

  it.each([
    ['hangs', Infinity],
    ['fails slowly', 1500],
    ['is 300 ms away', 300],
    ['takes longer than a read', 7000],
  ])('compares the others with their leader as it was, while a node %s', async (_, delay) => {
    const system = await started({ a: 2, b: 2, c: 2, d: 2 })
    system.delays.set('c', delay)
    for (let read = 0; read < 4; read++) {
      const survey = await system.readAfter(3000)
      for (const name of ['b', 'd']) {
        expect(gap(survey, 'a', name)).toBeGreaterThanOrEqual(0)
        expect(gap(survey, 'a', name)).toBeLessThanOrEqual(60)
      }
    }
  })

  it('does not wait for a node that failed the last time, and sees that it recovers at its first read', async () => {
    const system = await started()
    system.delays.set('c', Infinity)
    const first = await system.read()
    expect(first.tookMillis).toBeGreaterThanOrEqual(2000)
    expect(first.tookMillis).toBeLessThan(2100)
    expect(String(first.failures.get('c'))).toBe('Error: no answer in time')
    const second = await system.readAfter(3000)
    expect(second.tookMillis).toBeLessThan(80)
    // Its question is aborted after the timeout, and the same failure is reported all the time.
    expect(second.failures).toEqual(first.failures)
    system.delays.set('c', 40)
    const third = await system.readAfter(5000)
    expect(third.failures.size).toBe(0)
    expect(gap(third, 'a', 'c')).toBeLessThan(60)
    system.delays.set('c', 300)
    expect((await system.readAfter(5000)).failures.size).toBe(0)
  })

  it.each([4990, 5000, 5005, 5010])(
    'sees that a node that hung recovers at the first read, when polled every %i ms',
    async (interval) => {
      const system = await started({ a: 2, b: 2 })
      system.delays.set('b', Infinity)
      const startedAt = performance.now()
      for (let read = 0; read < 3; read++) {
        const dueAt = startedAt + read * 5000
        const survey = await system.readAfter(Math.max(0, dueAt - performance.now()))
        expect(survey.failures.has('b')).toBe(true)
      }
      system.delays.set('b', 2)
      // The open question ends at about this time.
      const survey = await system.readAfter(startedAt + 10_000 + interval - performance.now())
      if (interval >= 5000) expect(survey.failures.has('b')).toBe(false)
      expect((await system.readAfter(5000)).failures.size).toBe(0)
    },
  )

  it('waits for a leader that takes half of the time, and asks it once from the second read on', async () => {
    const system = await started({ a: 2500, b: 2, c: 2 })
    await system.readAfter(5000)
    const survey = await system.readAfter(5000)
    expect(system.asked).toEqual(['b', 'c', 'a'])
    expect(survey.failures.size).toBe(0)
    expect(survey.leaderWhen('a', 'c')).toBeDefined()
  })

  it('uses a late answer in the next read, once', async () => {
    const system = await started({ a: 2, b: 2 })
    system.delays.set('b', 3000)
    const first = await system.read()
    expect(first.failures.has('b')).toBe(true)
    await vi.advanceTimersByTimeAsync(1500)
    system.delays.set('b', Infinity)
    const second = await system.read()
    expect(second.answers.get('b')?.answer).toBeDefined()
    expect(gap(second, 'a', 'b')).toBeGreaterThan(0)
    const third = await system.readAfter(5000)
    expect(third.answers.get('b')).toEqual({ error: new Error('no answer in time') })
  })

  it('uses the answer to an open question of an earlier read', async () => {
    const system = await started({ a: 2, b: 2 })
    system.delays.set('b', 3000)
    const first = await system.read()
    system.delays.set('b', Infinity)
    const second = await system.readAfter(2990 - first.tookMillis)
    expect(system.asked).toEqual(['a'])
    expect(second.leaderWhen('a', 'b')).toBeDefined()
  })

  it('does not use a late answer of a leader as its position, and asks it again', async () => {
    const system = await started({ a: 2, b: 2 })
    system.delays.set('a', 4100)
    const first = await system.read()
    expect(first.tookMillis).toBeGreaterThanOrEqual(4000)
    expect(first.tookMillis).toBeLessThan(4100)
    system.delays.set('a', Infinity)
    const second = await system.readAfter(4090 - first.tookMillis)
    expect(system.asked).toEqual(['b', 'a'])
    expect(second.newest.has('a')).toBe(true)
    expect(second.last('a')).toBeUndefined()
    expect(second.leaderWhen('a', 'b')).toBeUndefined()
    expect(second.failures.has('a')).toBe(true)
  })

  it.each([20, 100, 500, 5000, 60_000])(
    'ends in time with a timeout of %i ms, whichever node hangs',
    async (timeout) => {
      for (const name of ['a', 'b', 'c']) {
        const system = new System(LED_BY_A, { a: 0, b: 0, c: 0 })
        for (const delay of [0, Infinity, Infinity, 0, 0]) {
          system.delays.set(name, delay)
          const survey = await system.readAfter(timeout, timeout)
          expect(survey.tookMillis).toBeLessThan(timeout)
          if (name !== 'a') expect(survey.leaderWhen('a', name === 'b' ? 'c' : 'b')).toBeDefined()
        }
      }
    },
  )

  it('finds a new leader within the same read', async () => {
    const system = await started()
    system.leader = () => 'b'
    const survey = await system.read()
    expect(new Set(system.asked)).toEqual(new Set(['a', 'b', 'c']))
    expect(gap(survey, 'b', 'a')).toBeGreaterThanOrEqual(0)
    expect(gap(survey, 'b', 'c')).toBeGreaterThanOrEqual(0)
    // It keeps to that one while none is found.
    for (const leader of ['b', '']) {
      system.leader = () => leader
      await system.read()
      expect(system.asked).toEqual(['a', 'c', 'b'])
    }
  })

  it('finds the new leader while the old one hangs, and does not wait for that as for a leader', async () => {
    const system = await started()
    system.leader = () => 'b'
    system.delays.set('a', Infinity)
    const survey = await system.read()
    expect(survey.tookMillis).toBeLessThan(2100)
    expect(gap(survey, 'b', 'c')).toBeLessThanOrEqual(60)
    // It waits for a new leader longer, when it is slow.
    system.leader = () => 'c'
    system.delays.set('c', 2200)
    expect((await system.read(6000)).leaderWhen('c', 'b')).toBeDefined()
  })

  it.each([6, 300, Infinity])(
    'pairs several leaders with each other while one takes %d ms',
    async (delay) => {
      const system = new System((name) => name, { a: 2, b: 2, c: delay })
      for (let read = 0; read < 4; read++) {
        const survey = await system.readAfter(5000)
        expect(gap(survey, 'a', 'b')).toBeLessThanOrEqual(60)
        expect(gap(survey, 'b', 'a')).toBeLessThanOrEqual(60)
        if (read === 0 || delay === Infinity) continue
        // Half of the way to the slow one cannot be avoided.
        expect(gap(survey, 'c', 'a')).toBeLessThanOrEqual(delay / 2 + 60)
        expect(gap(survey, 'a', 'c')).toBeLessThanOrEqual(delay / 2 + 60)
      }
    },
  )

  it('asks a leader that fails no more than once in a read', async () => {
    const system = await started({ a: 2, b: 2 })
    system.delays.set('a', -1)
    const survey = await system.read()
    expect(system.asked).toEqual(['b', 'a'])
    expect(survey.answers.get('a')).toEqual({ error: new Error('refused') })
    expect(survey.tookMillis).toBeLessThan(20)
    expect((await system.readAfter(1)).failures).toEqual(new Map([['a', new Error('refused')]]))
  })

  it('keeps the first answer of a leader that fails when it is asked again', async () => {
    const system = new System(LED_BY_A, { a: 2, b: 20 })
    const reading = system.nodes.read(new AbortController().signal)
    await vi.advanceTimersByTimeAsync(10)
    system.delays.set('a', -1)
    const survey = await settled(reading)
    expect(survey.answers.get('a')?.answer).toBeDefined()
    expect(survey.failures).toEqual(new Map([['a', new Error('refused')]]))
  })

  it('rejects with the reason at once, and aborts open questions, when the signal is aborted', async () => {
    const system = await started()
    system.delays.set('b', 300)
    let aborted: unknown
    system.nodes.set('c', async (signal) => {
      signal.addEventListener('abort', () => {
        aborted = signal.reason
      })
      return new Promise<Answer>(() => undefined) // It ignores the signal.
    })
    const controller = new AbortController()
    const reading = system.nodes.read(controller.signal)
    await vi.advanceTimersByTimeAsync(10)
    controller.abort(new Error('stopped'))
    await expect(reading).rejects.toThrow('stopped')
    expect(aborted).toEqual(new Error('stopped'))
    await expect(system.nodes.read(controller.signal)).rejects.toThrow('stopped')
    // That is not a failure of a node.
    const survey = await system.read()
    expect([...survey.failures]).toEqual([['c', new Error('no answer in time')]])
    expect(vi.getTimerCount()).toBe(1) // The question that never ends.
  })

  it('asks a node that is replaced or added from the next read on, and a removed one no more', async () => {
    const system = new System(LED_BY_A, { a: 2, b: Infinity })
    const reading = system.read()
    system.nodes.delete('b')
    system.nodes.delete('c')
    expect([...(await reading).answers.keys()]).toEqual(['a', 'b'])
    system.nodes.set('c', system.question('c'))
    expect(system.nodes.has('b')).toBe(false)
    expect([...(await system.read()).answers.keys()]).toEqual(['a', 'c'])
    system.nodes.delete('a')
    // A single node is read once.
    await system.read()
    expect(system.asked).toEqual(['c'])
    system.nodes.delete('c')
    expect((await system.read()).answers.size).toBe(0)
  })
})

describe('nodes behind sockets', () => {
  const closeAll: (() => void)[] = []
  afterEach(() => {
    for (const close of closeAll.splice(0)) close()
  })

  async function connectTo(port: number): Promise<Question<string>> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    closeAll.push(() => socket.destroy())
    return async (signal) => {
      socket.write('?')
      return String(((await once(socket, 'data', { signal })) as [Buffer])[0])
    }
  }

  /** Asks nodes, served by a worker, which is not blocked when the event loop of the test is. */
  async function connectToWorker(server: string, names = ['a', 'b', 'c']) {
    const worker = new Worker(server, { eval: true })
    closeAll.push(() => void worker.terminate())
    const [port] = (await once(worker, 'message')) as [number]
    const connectAs = async (name: string) => [name, await connectTo(port)] as const
    return Promise.all(names.map(connectAs))
  }

  it('takes no incident from an event loop that was blocked while answers arrived', async () => {
    const nodes = new Nodes(() => ['a'], await connectToWorker(ECHO_SERVER))
    const { signal } = new AbortController()
    await nodes.read(signal)
    for (let read = 0; read < 2; read++) {
      const reading = nodes.read(signal)
      block(2100)
      const survey = await reading
      expect(survey.failures.size).toBe(0)
      expect(survey.leaderWhen('a', 'b')).toBeDefined()
    }
  })

  it('compares no position of before with one of after the event loop was blocked', async () => {
    const questions = await connectToWorker(CLOCK_SERVER)
    // The event loop is blocked once in a read, right after a question or an answer.
    let blockAfter: 'asking' | 'answering' | undefined
    const blockNow = (moment: typeof blockAfter) => {
      if (blockAfter !== moment) return
      blockAfter = undefined
      setImmediate(block, 600)
    }
    const ask =
      (question: Question<string>): Question<string> =>
      async (signal) => {
        const asking = question(signal)
        blockNow('asking')
        const answer = await asking
        blockNow('answering')
        return answer
      }
    const nodes = new Nodes(
      () => ['a'],
      questions.map(([name, question]) => [name, ask(question)] as const),
    )
    const { signal } = new AbortController()
    await nodes.read(signal)
    for (const moment of ['asking', 'answering'] as const) {
      blockAfter = moment
      const survey = await nodes.read(signal)
      for (const name of ['b', 'c']) {
        const leaderReadAt = Number(survey.leaderWhen('a', name)?.answer)
        expect(leaderReadAt - Number(survey.answers.get(name)?.answer)).toBeLessThan(300)
      }
    }
  })

  it('warns of no leak of listeners with 50 nodes', async () => {
    const warnings: Error[] = []
    const warn = (warning: Error) => warnings.push(warning)
    process.on('warning', warn)
    const names = Array.from({ length: 50 }, (_, n) => `${n}`)
    const nodes = new Nodes(() => ['0'], await connectToWorker(ECHO_SERVER, names))
    const { signal } = new AbortController()
    for (let read = 0; read < 12; read++) expect((await nodes.read(signal)).failures.size).toBe(0)
    await new Promise(setImmediate)
    process.off('warning', warn)
    expect(warnings).toEqual([])
  })
})

/** A server that is not blocked when the event loop is. */
const serverOf = (listener: string) => `
  const server = require('node:net').createServer((socket) => ${listener})
  server.listen(0, '127.0.0.1', () => {
    require('node:worker_threads').parentPort.postMessage(server.address().port)
  })
`
const ECHO_SERVER = serverOf('socket.pipe(socket)')
/** It answers with the time at which it was asked. */
const CLOCK_SERVER = serverOf("socket.on('data', () => socket.write(String(Date.now())))")

function block(millis: number): void {
  const end = performance.now() + millis
  while (performance.now() < end);
}
