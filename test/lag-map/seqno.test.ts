import fc from 'fast-check'
import { ReplicationLagGauge, type Seqno } from 'opentelemetry-instrumentation-replication-lag'
import { beforeEach, describe, expect, it } from 'vitest'

const MAX_SEQNO = 2n ** 64n - 1n
const MAX_LAG = BigInt(Number.MAX_SAFE_INTEGER)
const seqno = fc.bigInt({ min: 0n, max: MAX_SEQNO })
/** Two seqnos anywhere, or with a difference near 0 or near where it saturates. */
const pair = fc.oneof(
  fc.tuple(seqno, seqno),
  fc
    .tuple(seqno, fc.constantFrom(0n, MAX_LAG, -MAX_LAG), fc.bigInt({ min: -3n, max: 3n }))
    .map(([a, gap, jitter]) => [a, a - gap + jitter] as [bigint, bigint])
    .filter(([, b]) => b >= 0n && b <= MAX_SEQNO),
)

let gauge: ReplicationLagGauge
beforeEach(() => {
  gauge = new ReplicationLagGauge()
})

/** Stores a value. If it is not accepted, the one before must still be there. */
function isAccepted(value: unknown): boolean {
  const handle = gauge.applied('a')
  handle.store(41)
  const accepted = handle.store(value as Seqno)
  expect(handle.load()).toBe(accepted ? BigInt(value as Seqno) : 41n)
  return accepted
}

describe('a seqno', () => {
  it('can be any bigint from 0 to 2^64 − 1', () => {
    fc.assert(fc.property(seqno, isAccepted))
  })

  it('can be any safe integer from 0 on', () => {
    fc.assert(fc.property(fc.maxSafeNat(), isAccepted))
    expect(isAccepted(Number.MAX_SAFE_INTEGER)).toBe(true)
  })

  it.each([0, -0, 0n])('can be 0 (%s)', (zero) => {
    expect(isAccepted(zero)).toBe(true)
  })

  it('cannot be a bigint outside of these', () => {
    const outside = fc.oneof(fc.bigInt({ max: -1n }), fc.bigInt({ min: MAX_SEQNO + 1n }))
    fc.assert(fc.property(outside, (value) => !isAccepted(value)))
  })

  it('cannot be a negative number, a fraction or an unsafe integer', () => {
    const bad = fc.double().filter((value) => !(Number.isSafeInteger(value) && value >= 0))
    fc.assert(fc.property(bad, (value) => !isAccepted(value)))
  })
})

describe('lag', () => {
  function lagBetween(leaderSeqno: bigint, appliedSeqno: bigint): number {
    gauge.updateLeaderSeqno('a', leaderSeqno)
    gauge.updateAppliedSeqno('a', appliedSeqno)
    return gauge.lagSeqno('a')
  }

  it('is the exact signed difference, saturated at ±(2^53 − 1)', () => {
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
})
