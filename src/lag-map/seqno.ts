/**
 * A position in a shard's log: an unsigned 64-bit integer, 0 … 2^64 − 1.
 * Pass a `bigint`, or a `number` that is a non-negative safe integer (0 … 2^53 − 1). You always get a `bigint` back.
 */
export type Seqno = bigint | number

/** What a seqno must be, for error messages. */
export const EXPECTED_SEQNO = 'a bigint from 0 to 2^64-1 or a non-negative safe integer'

const TWO_TO_52 = 2 ** 52
/** The bits of the double 2^52. */
const TWO_TO_52_BITS = 0x4330_0000_0000_0000n
const double = new Float64Array(1)
const doubleBits = new BigUint64Array(double.buffer)

/**
 * Returns the 64-bit value of a seqno, or `undefined` for anything else: NaN, a negative number, a fraction, an unsafe
 * integer, a `bigint` over 2^64 − 1, and every other type. Never throws.
 */
export function parseSeqno(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return BigInt.asUintN(64, value) === value ? value : undefined
  if (!Number.isSafeInteger(value) || (value as number) < 0) return undefined
  return toBigInt(value as number)
}

/**
 * `BigInt(value)` of a non-negative safe integer. V8 does not inline `BigInt()`, but it inlines this: below 2^52 the
 * integer is the low 52 bits of the double 2^52 + value.
 */
function toBigInt(value: number): bigint {
  if (value >= TWO_TO_52) return BigInt(value)
  double[0] = TWO_TO_52 + value
  return BigInt.asUintN(52, doubleBits[0] as bigint)
}

/** `Number(value)` of a seqno or a difference: the reverse of {@link toBigInt}. */
export function toNumber(value: bigint): number {
  if (BigInt.asUintN(52, value) !== value) return Number(value)
  doubleBits[0] = TWO_TO_52_BITS + value
  return (double[0] as number) - TWO_TO_52
}

/**
 * Leader seqno − applied seqno: subtracted exactly, signed, then saturated at ±(2^53 − 1) so that it is an exact `number`.
 * It is negative if the follower was read later than its leader, or if their histories diverged.
 */
export function lagBetween(leaderSeqno: bigint, appliedSeqno: bigint): number {
  const distance = distanceBetween(leaderSeqno, appliedSeqno)
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, distance))
}

/** Seqno − other seqno, exact up to ±2^53, beyond that rounded to the nearest `number`. */
export function distanceBetween(seqno: bigint, other: bigint): number {
  return toNumber(seqno - other)
}
