import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lagBetween, parseSeqno } from '../src/seqno.js'
import { BAD_SEQNOS } from './support/bad-input.js'

const MAX_SEQNO = 2n ** 64n - 1n
const MAX_LAG = BigInt(Number.MAX_SAFE_INTEGER)
const seqno = fc.bigInt({ min: 0n, max: MAX_SEQNO })
/** Pairs that are anywhere, and pairs whose difference is near where it saturates, or near 0. */
const pair = fc.oneof(
  fc.tuple(seqno, seqno),
  fc
    .tuple(seqno, fc.constantFrom(0n, MAX_LAG, -MAX_LAG), fc.bigInt({ min: -3n, max: 3n }))
    .map(([a, gap, jitter]) => [a, a - gap + jitter] as [bigint, bigint])
    .filter(([, b]) => b >= 0n && b <= MAX_SEQNO),
)

describe('parseSeqno', () => {
  it('takes every u64 as a bigint, unchanged', () => {
    fc.assert(fc.property(seqno, (value) => parseSeqno(value) === value))
  })

  it('takes every non-negative safe integer as a number', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (value) => parseSeqno(value) === BigInt(value)))
  })

  it.each([0, -0, 0n])('takes 0 (%s)', (zero) => {
    expect(parseSeqno(zero)).toBe(0n)
  })

  it('refuses every bigint outside of u64', () => {
    const outside = fc.oneof(fc.bigInt({ max: -1n }), fc.bigInt({ min: MAX_SEQNO + 1n }))
    fc.assert(fc.property(outside, (value) => parseSeqno(value) === undefined))
  })

  it('refuses every number that is no non-negative safe integer', () => {
    const bad = fc.double().filter((value) => !(Number.isSafeInteger(value) && value >= 0))
    fc.assert(fc.property(bad, (value) => parseSeqno(value) === undefined))
  })

  it.each(BAD_SEQNOS)('refuses %s', (_, value) => {
    expect(parseSeqno(value)).toBeUndefined()
  })
})

describe('lagBetween', () => {
  it('is the exact signed difference, saturated at ±(2^53 − 1), over the whole u64 range', () => {
    fc.assert(
      fc.property(pair, ([leader, applied]) => {
        const lag = lagBetween(leader, applied)
        const exact = leader - applied
        expect(Number.isSafeInteger(lag)).toBe(true)
        if (exact > MAX_LAG) expect(lag).toBe(Number.MAX_SAFE_INTEGER)
        else if (exact < -MAX_LAG) expect(lag).toBe(-Number.MAX_SAFE_INTEGER)
        else expect(BigInt(lag)).toBe(exact)
      }),
      { numRuns: 1000 },
    )
  })

  it('changes sign when leader and follower change places', () => {
    fc.assert(fc.property(pair, ([a, b]) => lagBetween(a, b) === 0 - lagBetween(b, a)))
  })

  it.each([
    [100n, 0n, 100],
    [0n, 100n, -100],
    [2n ** 53n, 1n, Number.MAX_SAFE_INTEGER],
    [2n ** 53n, 0n, Number.MAX_SAFE_INTEGER],
    [MAX_SEQNO, MAX_SEQNO - 1n, 1],
    [MAX_SEQNO, 0n, Number.MAX_SAFE_INTEGER],
    [0n, MAX_SEQNO, -Number.MAX_SAFE_INTEGER],
  ])('of leader %s and applied %s is %s', (leader, applied, lag) => {
    expect(lagBetween(leader, applied)).toBe(lag)
  })
})
