/** How old the oldest entry is that a leader has and a follower has not applied. */
export interface SeqnoAge {
  /** Seconds, 0 or more, never NaN; 0 when the follower has applied all that the leader has. */
  readonly seconds: number
  /** True where nobody remembers when that entry was written: it is at least this old. */
  readonly atLeast: boolean
}

/** The follower has applied all that the leader has. */
export const CAUGHT_UP: SeqnoAge = Object.freeze({ seconds: 0, atLeast: false })

/** There is an entry to apply, and nothing tells since when. */
export const UNKNOWN_AGE: SeqnoAge = Object.freeze({ seconds: 0, atLeast: true })

/**
 * The age for a shard that has no history, because at its last sample no follower was behind.
 * What a history with only that sample would say, without the cost of making one.
 *
 * The entry was written between then and now. Entries are taken to have been written at a steady pace, so with n of
 * them since the sample, n − k still to apply, it is (k + 1) / n of that time after the sample: off by no more than
 * that time.
 *
 * @param sampledSeqno the leader seqno at the last sample, 0 … 2^64 − 1.
 * @param sampledAt when that was, in ms.
 * @param appliedSeqno what the follower has applied, 0 … 2^64 − 1.
 * @param leaderSeqno the leader seqno now, 0 … 2^64 − 1; lower than at the sample means that nothing is known.
 * @param now in ms; what is not after the sample counts as its time.
 */
export function ageSince(
  sampledSeqno: bigint,
  sampledAt: number,
  appliedSeqno: bigint,
  leaderSeqno: bigint,
  now: number,
): SeqnoAge {
  if (appliedSeqno >= leaderSeqno) return CAUGHT_UP
  if (leaderSeqno < sampledSeqno) return UNKNOWN_AGE
  const passed = now - sampledAt
  const seconds = passed > 0 && Number.isFinite(passed) ? passed / 1000 : 0
  if (appliedSeqno < sampledSeqno) return { seconds, atLeast: true }
  const written = Number(leaderSeqno - sampledSeqno)
  return { seconds: (seconds * Number(leaderSeqno - appliedSeqno - 1n)) / written, atLeast: false }
}
