/**
 * A position in a shard's log: an unsigned 64-bit integer, 0 … 2^64 − 1.
 * Pass a `bigint`, or a `number` that is a non-negative safe integer (0 … 2^53 − 1); a `bigint` is what you get back.
 */
export type Seqno = bigint | number

/** What a seqno is, for messages. */
export const EXPECTED_SEQNO = 'a bigint from 0 to 2^64-1 or a non-negative safe integer'

const MAX_LAG = BigInt(Number.MAX_SAFE_INTEGER)

/**
 * The 64-bit value of a seqno.
 *
 * @returns the value as a `bigint`, or `undefined` for what is no seqno: NaN, a negative, a fraction, an unsafe number,
 * a `bigint` over 2^64 − 1, or no number at all. Never throws.
 */
export function parseSeqno(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return BigInt.asUintN(64, value) === value ? value : undefined
  return Number.isSafeInteger(value) && (value as number) >= 0 ? BigInt(value as number) : undefined
}

/**
 * Leader seqno − applied seqno: subtracted exactly, signed, then saturated at ±(2^53 − 1) so that it is an exact `number`.
 * A negative lag is information: the two were read at different moments, or the histories diverged.
 */
export function lagBetween(leaderSeqno: bigint, appliedSeqno: bigint): number {
  const lag = leaderSeqno - appliedSeqno
  if (lag > MAX_LAG) return Number.MAX_SAFE_INTEGER
  if (lag < -MAX_LAG) return -Number.MAX_SAFE_INTEGER
  return Number(lag)
}
