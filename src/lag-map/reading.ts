import type { ReplicaId, ShardId } from '../support/names.js'
import type { Seqno } from './seqno.js'

/** What a source found in one read. It replaces what the source found before. */
export interface ReplicationReading {
  /** Every shard that the source sees. */
  readonly shards: readonly ShardReading[]
  /**
   * Whether the source sees everything that exists. Then a shard or follower that is missing was removed, and is no longer
   * reported. Otherwise a missing follower has disconnected: it keeps its last position until the retention time is over.
   * @default false
   */
  readonly complete?: boolean | undefined
  /** Why there is nothing to report, where that helps. It is logged at debug level when it changes. */
  readonly note?: string | undefined
}

/** One shard in a reading. */
export interface ShardReading {
  readonly shard: ShardId
  /**
   * The newest seqno in the leader's log. Read it after the followers' positions: a follower that was read later can look
   * as if it were ahead. Leave it out while it cannot be read: the shard then becomes stale, and the others do not.
   */
  readonly leaderSeqno?: Seqno | undefined
  /**
   * Whether `leaderSeqno` is that of a node that follows another one itself, such as a cascading standby. A source that
   * reads the shard's leader then comes first for `replication_leader_seqno` and for followers without a leader.
   * @default false
   */
  readonly cascading?: boolean | undefined
  /**
   * Names the history that the seqnos belong to, if the system has such a name: a term, a timeline, a replication id.
   * When it changes, the shard starts from scratch, because positions of two histories are not comparable.
   */
  readonly epoch?: string | undefined
  /** Every follower that the system knows. */
  readonly followers: readonly FollowerReading[]
  /** Followers of earlier readings that were removed, for a source whose readings are not `complete`. Default: none. */
  readonly removed?: readonly ReplicaId[] | undefined
  /** What is wrong with the shard, and what to do. It is logged as a warning when it changes. */
  readonly problem?: string | undefined
}

/** One follower in a reading. */
export interface FollowerReading {
  /** Its name, the same in every reading. Leave it out where the shard can have only one follower. */
  readonly replica?: ReplicaId | undefined
  /** The newest seqno that it has applied. Leave it out while it is unknown: the follower keeps its last known one. */
  readonly appliedSeqno?: Seqno | undefined
  /**
   * Where the leader was when `appliedSeqno` was read. Give it where nodes answer at different times: the lag is measured
   * from it, so that a node that is slow to answer does not make the others look late.
   * @default the shard's `leaderSeqno`, now
   */
  readonly comparedWith?: LeaderMoment | undefined
  /**
   * Where `appliedSeqno` is a count and not a place in the log: the seqno up to which everything has been applied. The lag
   * in seconds is measured from it.
   * @default appliedSeqno
   */
  readonly appliedUpTo?: Seqno | undefined
  /**
   * Whether its position cannot be compared with its leader's: it is ahead, or on another history. It then has no lag and
   * counts as not connected.
   * @default false
   */
  readonly diverged?: boolean | undefined
  /** The newest seqno that it has received, applied or not, where the system knows it. */
  readonly receivedSeqno?: Seqno | undefined
  /** The oldest seqno that the leader keeps in its log for this follower, where the system knows it. */
  readonly retainedSeqno?: Seqno | undefined
  /**
   * Whether it is connected to its leader.
   * @default true
   */
  readonly connected?: boolean | undefined
  /** What is wrong with it, and what to do. It is logged as a warning when it changes. */
  readonly problem?: string | undefined
}

/** Where a leader was at one moment. */
export interface LeaderMoment {
  readonly leaderSeqno: Seqno
  /** In milliseconds, as `performance.now()`. */
  readonly at: number
}
