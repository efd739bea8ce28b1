import fc from 'fast-check'
import { AtomicSeqno, type Seqno } from 'opentelemetry-instrumentation-replication-lag'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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
