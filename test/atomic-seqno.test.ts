import fc from 'fast-check'
import {
  AtomicSeqno,
  ReplicationLagGauge,
  type Seqno,
  type SharedSeqno,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { BAD_SEQNOS } from './support/bad-input.js'
import { recordDiag, type DiagRecorder } from './support/diag.js'

let told: DiagRecorder
beforeEach(() => {
  told = recordDiag()
})
afterEach(() => {
  told.stop()
})

describe('AtomicSeqno', () => {
  it('is 0 at first', () => {
    expect(new AtomicSeqno().load()).toBe(0n)
  })

  it.each([7, 7n])('starts at what it is given (%s)', (initial) => {
    expect(new AtomicSeqno(initial).load()).toBe(7n)
  })

  it('holds what was stored last, over the whole u64 range', () => {
    const register = new AtomicSeqno()
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (seqno) => {
        register.store(seqno)
        expect(register.load()).toBe(seqno)
      }),
    )
  })

  it('takes safe integers as numbers', () => {
    const register = new AtomicSeqno()
    register.store(Number.MAX_SAFE_INTEGER)
    expect(register.load()).toBe(2n ** 53n - 1n)
  })

  it.each(BAD_SEQNOS)('keeps the old seqno when given %s, says so once and counts', (_, bad) => {
    const register = new AtomicSeqno(41n)
    register.store(bad as Seqno)
    register.store(bad as Seqno)
    expect(register.load()).toBe(41n)
    expect(register.rejectedUpdates).toBe(2)
    expect(told.matching('warn', 'seqno: expected')).toHaveLength(1)
  })

  it.each(BAD_SEQNOS.filter(([, bad]) => bad !== undefined))(
    'throws a TypeError that names the argument when it would start at %s',
    (_, bad) => {
      expect(() => new AtomicSeqno(bad as Seqno)).toThrow(TypeError)
      expect(() => new AtomicSeqno(bad as Seqno)).toThrow(/^initial: expected a bigint/)
    },
  )
})

describe('a register that is shared', () => {
  it('is the same register where it is attached', () => {
    const register = new AtomicSeqno(5)
    const attached = AtomicSeqno.attach(structuredClone(register.share()))
    expect(attached.load()).toBe(5n)
    attached.store(2n ** 64n - 1n)
    expect(register.load()).toBe(2n ** 64n - 1n)
    register.store(7)
    expect(attached.load()).toBe(7n)
  })

  it('is shared on by whoever has attached it', () => {
    const register = new AtomicSeqno()
    const second = AtomicSeqno.attach(AtomicSeqno.attach(register.share()).share())
    second.store(9)
    expect(register.load()).toBe(9n)
  })

  it('is told of nothing that is no seqno, but says so', () => {
    const attached = AtomicSeqno.attach(new AtomicSeqno(41n).share())
    attached.store(-1)
    expect(attached.load()).toBe(41n)
    expect(attached.rejectedUpdates).toBe(1)
    expect(told.matching('warn', 'seqno: expected')).toHaveLength(1)
  })

  it('may be that of a follower, until the follower is removed', () => {
    const gauge = new ReplicationLagGauge()
    gauge.updateLeaderSeqno('a', 9)
    const attached = AtomicSeqno.attach(gauge.applied('a', 'r1').share())
    attached.store(4)
    expect(gauge.lagSeqno('a', 'r1')).toBe(5)
    gauge.remove('a', 'r1')
    gauge.updateAppliedSeqno('b', 1)
    attached.store(6)
    expect(attached.load()).toBe(0n)
    expect(gauge.applied('b').load()).toBe(1n)
  })

  it('is not handed out again while another thread may be about to store to it', () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(0)
    onTestFinished(() => now.mockRestore())
    const gauge = new ReplicationLagGauge()
    const { index } = gauge.applied('a').share()
    const indexOf = (shard: string) => gauge.applied(shard).share().index
    gauge.remove('a')
    expect(indexOf('b')).not.toBe(index)
    now.mockReturnValue(1000)
    expect(indexOf('c')).toBe(index)
  })
})

function unreadable(): never {
  throw new Error('not to be read')
}

describe('attach', () => {
  const register = new AtomicSeqno()

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a number', 7],
    ['a string', 'register'],
    ['a register that was not shared', register],
    ['an object of something else', { layout: 1 }],
    ['an object of another kind', { ...register.share(), kind: 'lag' }],
    ['a layout that is no number', { ...register.share(), layout: NaN }],
    ['what cannot be read', new Proxy({}, { get: () => void unreadable() })],
    [
      'what can be read in part',
      {
        ...register.share(),
        get memory() {
          return unreadable()
        },
      },
    ],
    ['what a gauge shared', new ReplicationLagGauge().share()],
    ['what went through JSON', JSON.parse(JSON.stringify(register.share()))],
    ['memory that is not shared', { ...register.share(), memory: new ArrayBuffer(12) }],
    ['memory of another size', { ...register.share(), memory: new SharedArrayBuffer(13) }],
    ['a register past the end', { ...register.share(), index: 1 }],
    ['a register before the start', { ...register.share(), index: -1 }],
    ['no register', { ...register.share(), index: 'first' }],
    ['no generation', { ...register.share(), generation: undefined }],
    ['a generation that is none', { ...register.share(), generation: 1 }],
    ['a generation past the last', { ...register.share(), generation: 1e300 }],
  ])('throws a TypeError that says so when it is given %s', (_, shared) => {
    const attach = () => AtomicSeqno.attach(shared as SharedSeqno)
    expect(attach).toThrow(TypeError)
    expect(attach).toThrow(/^shared: expected what AtomicSeqno\.share\(\) gave, .*postMessage/)
  })

  it('throws a TypeError that says so when another major version has shared', () => {
    const attach = () => AtomicSeqno.attach({ ...register.share(), layout: 2 })
    expect(attach).toThrow(TypeError)
    expect(attach).toThrow(/^shared: expected layout 1, got 2.*another major version/)
  })
})

describe('in a process without shared memory', () => {
  beforeEach(() => {
    vi.stubGlobal('SharedArrayBuffer', undefined)
  })
  afterEach(() => {
    vi.unstubAllGlobals()
  })

  it('a register works as ever', () => {
    const alone = new AtomicSeqno(1)
    alone.store(2n ** 64n - 1n)
    expect(alone.load()).toBe(2n ** 64n - 1n)
  })

  it('share and attach throw a TypeError that says so', () => {
    const alone = new AtomicSeqno()
    expect(() => alone.share()).toThrow(TypeError)
    expect(() => alone.share()).toThrow(/^shared memory: this process has none/)
    expect(() => AtomicSeqno.attach({} as SharedSeqno)).toThrow(/^shared memory: this process/)
  })
})
