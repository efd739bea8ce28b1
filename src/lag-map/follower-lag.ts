import type { CollectedFollower } from './collect.js'

/** What a gauge knew of one follower at one moment. `JSON.stringify` writes its seqnos as decimal strings. */
export interface FollowerLag {
  /** The shard's name. */
  readonly shard: string
  /** The follower's name; absent for a shard's one unnamed follower. */
  readonly replica?: string
  /** Leader seqno − applied seqno, signed, saturated at ±(2^53 − 1). */
  readonly lagSeqno: number
  /** The lag in seconds, 0 or more; absent where it is not known. */
  readonly lagSeconds?: number
  /** Whether it is connected to its leader; absent for the application's own followers in this thread. */
  readonly connected?: boolean
  /** The newest seqno in the leader's log. */
  readonly leaderSeqno: bigint
  /** The newest seqno that the follower has applied; absent while it has applied nothing. */
  readonly appliedSeqno?: bigint
  /** The newest seqno that the follower has received; absent where it is not known. */
  readonly receivedSeqno?: bigint
  /** The oldest seqno that the leader keeps for the follower; absent where it is not known. */
  readonly retainedSeqno?: bigint
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] }

/** Adds the serialization to a snapshot. */
class FollowerLagSnapshot {
  toJSON(): object {
    const fields = Object.entries(this).map(([name, value]: [string, unknown]) => [
      name,
      typeof value === 'bigint' ? String(value) : value,
    ])
    return Object.fromEntries(fields) as object
  }
}

/** Copies a collected follower; `undefined` if its lag is not known. */
export function followerLag(collected: CollectedFollower): FollowerLag | undefined {
  const { attributes, lagSeqno, lagSeconds, connected, leaderSeqno, appliedSeqno } = collected
  const { receivedSeqno, retainedSeqno } = collected.follower?.status ?? {}
  if (lagSeqno === undefined || leaderSeqno === undefined) return undefined
  const lag: Mutable<FollowerLag> = Object.assign(new FollowerLagSnapshot(), {
    ...attributes,
    lagSeqno,
    leaderSeqno,
  })
  if (lagSeconds !== undefined) lag.lagSeconds = lagSeconds
  if (connected !== undefined) lag.connected = connected
  if (appliedSeqno !== undefined) lag.appliedSeqno = appliedSeqno
  if (receivedSeqno !== undefined) lag.receivedSeqno = receivedSeqno
  if (retainedSeqno !== undefined) lag.retainedSeqno = retainedSeqno
  return lag
}
