import type { ReplicationReading } from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SourcePoller, type PollListener } from '../src/poller.js'
import { eventually } from './support/eventually.js'
import { recordDiag, type DiagRecorder } from './support/diag.js'
import { reading, ScriptedSource } from './support/scripted-source.js'

const EMPTY: ReplicationReading = { shards: [] }
const listener: PollListener = {
  onReading: (found) => void readings.push(found),
  onMiss: () => {
    misses++
  },
}
const INTERVAL = 1000
const TIMEOUT = 300

let told: DiagRecorder
let source: ScriptedSource
let readings: ReplicationReading[]
let misses: number
let poller: SourcePoller

beforeEach(() => {
  vi.useFakeTimers()
  told = recordDiag()
  source = new ScriptedSource()
  readings = []
  misses = 0
  poller = new SourcePoller(source, listener, {
    intervalMillis: INTERVAL,
    timeoutMillis: TIMEOUT,
  })
})
afterEach(() => {
  poller.stop()
  told.stop()
  vi.useRealTimers()
})

/** Lets time pass, with everything that happens in it. */
const pass = (millis: number) => vi.advanceTimersByTimeAsync(millis)

async function answer(found: ReplicationReading): Promise<void> {
  source.last.answer(found)
  await pass(0)
}

async function fail(error: unknown): Promise<void> {
  source.last.fail(error)
  await pass(0)
}

describe('a poller', () => {
  it('reads at once when it starts, and then once an interval, from start to start', async () => {
    poller.start()
    expect(source.reads).toHaveLength(1)
    await pass(200)
    await answer(EMPTY)
    await pass(INTERVAL - 201)
    expect(source.reads).toHaveLength(1)
    await pass(1)
    expect(source.reads).toHaveLength(2)
  })

  it('hands on what was read', async () => {
    const found = reading('a', 9, { r1: 4 })
    poller.start()
    await answer(found)
    expect(readings).toEqual([found])
  })

  it('reads once when it is started twice', () => {
    poller.start()
    poller.start()
    expect(source.reads).toHaveLength(1)
  })

  it('reads no more when it is stopped, and again when it is started', async () => {
    poller.start()
    await answer(EMPTY)
    poller.stop()
    await pass(10 * INTERVAL)
    expect(source.reads).toHaveLength(1)
    poller.start()
    expect(source.reads).toHaveLength(2)
  })

  it('keeps no timer that would keep the process alive, neither between reads nor during one', async () => {
    vi.useRealTimers()
    const before = refedTimers()
    poller.start()
    expect(source.reads).toHaveLength(1)
    expect(refedTimers()).toBeLessThanOrEqual(before)
    source.last.answer(EMPTY)
    await eventually(() => expect(readings).toHaveLength(1))
    expect(refedTimers()).toBeLessThanOrEqual(before)
  })
})

/** How many timers keep this process alive. */
function refedTimers(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
}

describe('a read past its deadline', () => {
  it('is aborted, and told', async () => {
    poller.start()
    await pass(TIMEOUT)
    expect(source.last.signal.aborted).toBe(true)
    expect(
      told.matching('error', '"scripted" cannot be read: no answer within 300 ms'),
    ).toHaveLength(1)
  })

  it('is followed by no other until it has settled, and its late answer is dropped', async () => {
    poller.start()
    await pass(10 * INTERVAL)
    expect(source.reads).toHaveLength(1)
    await answer(reading('a', 9, { r1: 4 }))
    expect(readings).toEqual([])
    await pass(0)
    expect(source.reads).toHaveLength(2)
  })

  it('is told once, also when the source then rejects because it was aborted', async () => {
    poller.start()
    await pass(TIMEOUT)
    await fail(new Error('aborted'))
    expect(told.matching('error')).toHaveLength(1)
  })
})

describe('a read that is missed', () => {
  it('is counted when it fails, when it is past its deadline, and when it is not even started', async () => {
    poller.start()
    await fail(new Error('refused'))
    expect(misses).toBe(1)
    await pass(INTERVAL + TIMEOUT)
    expect(misses).toBe(2)
    await pass(2 * INTERVAL)
    expect(misses).toBe(4)
    await fail(source.last.signal.reason)
    expect(misses).toBe(4)
    await pass(0)
    await answer(EMPTY)
    expect(misses).toBe(4)
  })

  it('is not counted once polling is stopped', async () => {
    poller.start()
    await pass(TIMEOUT)
    expect(misses).toBe(1)
    poller.stop()
    await pass(10 * INTERVAL)
    expect(misses).toBe(1)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a poller that is stopped during a read', () => {
  it('aborts it, drops what it brings and does not call that a failure', async () => {
    poller.start()
    poller.stop()
    expect(source.last.signal.aborted).toBe(true)
    await fail(source.last.signal.reason)
    expect(told.messages).toEqual([])
    await pass(10 * INTERVAL)
    expect(source.reads).toHaveLength(1)
  })

  it('and started again waits for it, then goes on', async () => {
    poller.start()
    poller.stop()
    poller.start()
    expect(source.reads).toHaveLength(1)
    await answer(EMPTY)
    expect(readings).toEqual([])
    await pass(INTERVAL)
    expect(source.reads).toHaveLength(2)
    await answer(EMPTY)
    expect(readings).toHaveLength(1)
  })
})

describe('a read that hangs while polling is stopped', () => {
  it('is neither told nor counted when its deadline would have passed', async () => {
    poller.start()
    await pass(TIMEOUT / 2)
    poller.stop()
    await pass(10 * TIMEOUT)
    expect(misses).toBe(0)
    expect(told.messages).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is missed for as long as it hangs once polling goes on', async () => {
    poller.start()
    poller.stop()
    poller.start()
    await pass(3 * INTERVAL)
    expect(misses).toBe(3)
    await answer(EMPTY)
    await pass(0)
    await answer(EMPTY)
    expect(misses).toBe(3)
    expect(readings).toHaveLength(1)
  })
})

describe('failures', () => {
  const refused = (port: number) =>
    Object.assign(new Error(`connect ECONNREFUSED :${port}`), { code: 'ECONNREFUSED' })

  it('are told once, however often they repeat, and so is the recovery', async () => {
    poller.start()
    for (let poll = 0; poll < 5; poll++) {
      await fail(refused(5000 + poll))
      await pass(INTERVAL)
    }
    expect(told.matching('error', 'cannot be read: connect ECONNREFUSED :5000')).toHaveLength(1)
    expect(told.matching('error')).toHaveLength(1)
    for (let poll = 0; poll < 3; poll++) {
      await answer(EMPTY)
      await pass(INTERVAL)
    }
    expect(told.matching('info', '"scripted" answers again')).toHaveLength(1)
  })

  it('are told again when they are of another kind', async () => {
    poller.start()
    await fail(refused(1))
    await pass(INTERVAL)
    await fail(new TypeError('no role'))
    expect(told.matching('error')).toHaveLength(2)
  })

  it.each([
    ['a string', 'out of order'],
    ['undefined', undefined],
    ['null', null],
    ['an error without a message', new Error()],
    [
      'an object that throws when it is looked at',
      new Proxy(new Error(), {
        get() {
          throw new Error('do not look')
        },
      }),
    ],
  ])('may be anything that can be thrown: %s', async (_, thrown) => {
    poller.start()
    await fail(thrown)
    expect(told.matching('error', '"scripted" cannot be read: ')).toHaveLength(1)
    await pass(INTERVAL)
    expect(source.reads).toHaveLength(2)
  })

  it('may be thrown before there is a promise', async () => {
    source.read = () => {
      throw new Error('at once')
    }
    poller.start()
    await pass(0)
    expect(told.matching('error', 'at once')).toHaveLength(1)
  })

  it('may be in taking over what was read', async () => {
    poller = new SourcePoller(
      source,
      {
        ...listener,
        onReading: () => {
          throw new TypeError('not a reading')
        },
      },
      { intervalMillis: INTERVAL, timeoutMillis: TIMEOUT },
    )
    poller.start()
    await answer(EMPTY)
    expect(told.matching('error', 'not a reading')).toHaveLength(1)
    await pass(INTERVAL)
    expect(source.reads).toHaveLength(2)
  })
})

describe('a note in a reading', () => {
  it('is told at debug level when it changes', async () => {
    poller.start()
    for (const note of ['standby', 'standby', 'primary', undefined, 'primary']) {
      await answer(note === undefined ? EMPTY : { shards: [], note })
      await pass(INTERVAL)
    }
    expect(told.matching('debug: ', 'source "scripted"').map((m) => m.split(': ').at(-1))).toEqual([
      'standby',
      'primary',
      'primary',
    ])
  })
})
