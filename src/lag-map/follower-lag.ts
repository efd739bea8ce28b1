import type { Feed, Follower, FollowerAttributes, Leader } from './feed.js'
import { lagBetween, toNumber } from './seqno.js'

/** @internal What the feeds say about one follower at one moment. */
export class CollectedFollower {
  attributes: FollowerAttributes = { shard: '' }
  follower: Follower | undefined = undefined
  leader: Leader | undefined = undefined
  /** `undefined` while no feed knows the leader. */
  leaderSeqno: bigint | undefined = undefined
  /** `undefined` while it has applied nothing. */
  appliedSeqno: bigint | undefined = undefined
  /** Leader seqno − applied seqno; `undefined` where it is not known. */
  lagSeqno: number | undefined = undefined

  constructor(
    public feed: Feed,
    private readonly now: number,
  ) {}

  /** The lag in seconds; `undefined` where it is not known. */
  get lagSeconds(): number | undefined {
    if (this.lagSeqno === undefined) return undefined
    if (this.lagSeqno <= 0) return 0
    const { samples, feed } = this.leader as Leader
    const { comparedWith, appliedUpTo } = this.follower?.status ?? {}
    // Measure a source's lag as of its last reading. Otherwise it would grow until the next one.
    const asOf = feed.writer === 'source' ? (comparedWith ?? samples?.last)?.at : undefined
    return samples?.secondsBehind(
      this.leaderSeqno as bigint,
      appliedUpTo ?? this.appliedSeqno ?? 0n,
      asOf ?? this.now,
    )
  }

  /** Leader seqno − received seqno; `undefined` where it is not known. */
  get receiveLagSeqno(): number | undefined {
    return this.distanceTo(this.follower?.status?.receivedSeqno)
  }

  /** Leader seqno − the oldest seqno that is kept for the follower; `undefined` where it is not known. */
  get retainedSeqno(): number | undefined {
    return this.distanceTo(this.follower?.status?.retainedSeqno)
  }

  /** Whether the follower is connected to its leader; `undefined` for the application's own followers in this thread. */
  get connected(): boolean | undefined {
    const { follower, feed } = this
    return follower && feed.writer !== 'application' ? isConnected(feed, follower) : undefined
  }

  /** @param follower `undefined` for the unnamed follower of a leader for which no feed has a follower. */
  set(feed: Feed, follower: Follower | undefined, leader: Leader | undefined): void {
    this.attributes = follower ? follower.attributes : { shard: (leader as Leader).shard }
    this.feed = feed
    this.follower = follower
    this.leader = leader
    // Load the follower first: what it applies between the two loads would look like negative lag.
    const applied = (this.appliedSeqno = follower?.load())
    const status = follower?.status
    const seqno = (this.leaderSeqno = status?.comparedWith?.leaderSeqno ?? leader?.load())
    // A source's follower is reported once it has a position. Any other follower without one has applied nothing.
    const isKnown = seqno !== undefined && (applied !== undefined || feed.writer !== 'source')
    this.lagSeqno =
      isKnown && leader && !status?.isDiverged ? lagBetween(seqno, applied ?? 0n) : undefined
  }

  private distanceTo(seqno: bigint | undefined): number | undefined {
    const { leaderSeqno } = this
    if (leaderSeqno === undefined || seqno === undefined) return undefined
    return lagBetween(leaderSeqno, seqno)
  }
}

/** @internal Whether a follower is connected to its leader. */
export function isConnected(feed: Feed, { status }: Follower): boolean {
  return status ? status.isConnected : feed.isOpen
}

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
