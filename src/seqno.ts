/**
 * A position in a shard's log: an unsigned 64-bit integer, 0 … 2^64 − 1.
 * Pass a `bigint`, or a `number` that is a non-negative safe integer (0 … 2^53 − 1); a `bigint` is what you get back.
 */
export type Seqno = bigint | number

/** What a seqno is, for messages. */
export const EXPECTED_SEQNO = 'a bigint from 0 to 2^64-1 or a non-negative safe integer'

/** The highest seqno. */
export const MAX_SEQNO = 2n ** 64n - 1n

const MAX_LAG = Number.MAX_SAFE_INTEGER
const TWO_TO_52 = 2 ** 52
const double = new Float64Array(1)
const doubleBits = new BigUint64Array(double.buffer)

/**
 * The 64-bit value of a seqno.
 *
 * @returns the value as a `bigint`, or `undefined` for what is no seqno: NaN, a negative, a fraction, an unsafe number,
 * a `bigint` over 2^64 − 1, or no number at all. Never throws.
 */
export function parseSeqno(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return BigInt.asUintN(64, value) === value ? value : undefined
  if (!Number.isSafeInteger(value) || (value as number) < 0) return undefined
  return toBigInt(value as number)
}

/**
 * `BigInt(value)` of a non-negative safe integer. BigInt() is a call out of optimised code, this is not: below 2^52 the
 * integer is the low 52 bits of the double 2^52 + value.
 */
function toBigInt(value: number): bigint {
  if (value >= TWO_TO_52) return BigInt(value)
  double[0] = TWO_TO_52 + value
  return BigInt.asUintN(52, doubleBits[0] as bigint)
}

/** To take two seqnos apart into words of 32 bits: subtracting bigints would allocate one for each point of a collection. */
const pair = new BigUint64Array(2)
const words = new Uint32Array(pair.buffer)
pair[0] = 1n
/** Where in its two words a seqno has the upper one, 0 or 1: that depends on the machine, as does where this 1 is. */
export const UPPER_WORD = words[0] as number

/**
 * Leader seqno − applied seqno: subtracted exactly, signed, then saturated at ±(2^53 − 1) so that it is an exact `number`.
 * A negative lag is information: the two were read at different moments, or the histories diverged.
 */
export function lagBetween(leaderSeqno: bigint, appliedSeqno: bigint): number {
  pair[0] = leaderSeqno
  pair[1] = appliedSeqno
  const upper = word(UPPER_WORD) - word(UPPER_WORD + 2)
  // Exact up to 2^53, and what is rounded beyond is saturated.
  const lag = upper * 2 ** 32 + (word(1 - UPPER_WORD) - word(3 - UPPER_WORD))
  return Math.max(-MAX_LAG, Math.min(MAX_LAG, lag))
}

function word(index: number): number {
  return words[index] as number
}
