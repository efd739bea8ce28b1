import type { CollectedFollower } from './collect.js'
import { toNumber } from './seqno.js'

/**
 * What a gauge knew of one follower at one moment: the numbers of the metrics, under their names. A plain object, which can
 * be spread, cloned and written as JSON.
 */
export interface FollowerLag {
  /** The shard's name. */
  readonly shard: string
  /** The follower's name; absent for a shard's one unnamed follower. */
  readonly replica?: string
  /** Leader seqno − applied seqno, signed, saturated at ±(2^53 − 1); absent where it is not known. */
  readonly lagSeqno?: number
  /** The lag in seconds, 0 or more; absent where it is not known. */
  readonly lagSeconds?: number
  /** Leader seqno − received seqno; absent where it is not known. */
  readonly receiveLagSeqno?: number
  /** How much log the leader keeps for the follower, in seqnos; absent where it is not known. */
  readonly retainedSeqno?: number
  /** The newest seqno in the leader's log, rounded above 2^53; absent where it is not known. */
  readonly leaderSeqno?: number
  /** The newest seqno that the follower has applied, rounded above 2^53; absent while it has applied nothing. */
  readonly appliedSeqno?: number
  /** Whether it is connected to its leader; absent for the application's own followers in this thread. */
  readonly connected?: boolean
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] }

/** @internal Copies a collected follower; `undefined` if there is nothing to report of it. */
export function followerLag(collected: CollectedFollower): FollowerLag | undefined {
  const { attributes, lagSeqno, lagSeconds, connected, leaderSeqno, appliedSeqno } = collected
  if (lagSeqno === undefined && connected === undefined) return undefined
  const { shard, replica } = attributes
  const { receiveLagSeqno, retainedSeqno } = collected
  const lag: Mutable<FollowerLag> =
    lagSeqno !== undefined && leaderSeqno !== undefined && appliedSeqno !== undefined
      ? // What nearly every follower has is allocated at once, which halves the time of a snapshot.
        {
          shard,
          lagSeqno,
          leaderSeqno: toNumber(leaderSeqno),
          appliedSeqno: toNumber(appliedSeqno),
        }
      : {
          shard,
          ...(lagSeqno !== undefined && { lagSeqno }),
          ...(leaderSeqno !== undefined && { leaderSeqno: toNumber(leaderSeqno) }),
          ...(appliedSeqno !== undefined && { appliedSeqno: toNumber(appliedSeqno) }),
        }
  if (replica !== undefined) lag.replica = replica
  if (lagSeconds !== undefined) lag.lagSeconds = lagSeconds
  if (receiveLagSeqno !== undefined) lag.receiveLagSeqno = receiveLagSeqno
  if (retainedSeqno !== undefined) lag.retainedSeqno = retainedSeqno
  if (connected !== undefined) lag.connected = connected
  return lag
}
