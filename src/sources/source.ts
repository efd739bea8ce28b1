import type { Seqno } from '../lag-map/seqno.js'
import type { ReplicaId, ShardId } from '../support/names.js'

/**
 * An adapter that reads leader and applied seqnos from a running system.
 * A poller reads it at an interval: one read at a time, each with a deadline.
 */
export interface ReplicationSource {
  /** The `source` attribute of its metrics. Each source of a gauge needs a name of its own. */
  readonly name: string
  /**
   * Reads the positions once.
   *
   * @param signal is aborted when the deadline has passed or polling stops. Settle soon after that: the next read starts
   * only when this one has settled.
   * @returns what was read. It rejects with an error that says what to do if the system cannot be read.
   */
  read(signal: AbortSignal): Promise<ReplicationReading>
}

/** What a source found in one read. It replaces what the source found before. */
export interface ReplicationReading {
  /** Every shard that the source sees. */
  readonly shards: readonly ShardReading[]
  /** Why there is nothing to report, where that helps. It is logged at debug level when it changes. */
  readonly note?: string
}

/** One shard in a reading. */
export interface ShardReading {
  readonly shard: ShardId
  /** The newest seqno in the leader's log. Read it after the followers' positions, or their lag can be negative. */
  readonly leaderSeqno: Seqno
  /**
   * Every follower that the system knows. A follower that was in an earlier reading and is not in this one has
   * disconnected: it keeps its last position until the retention time is over.
   */
  readonly followers: readonly FollowerReading[]
  /** Followers of earlier readings that the system has removed. They are not reported any more. Default: none. */
  readonly removed?: readonly ReplicaId[]
  /**
   * Names the history that the seqnos belong to, if the system has such a name: a term, a timeline, a replication id.
   * When it changes, the shard starts from scratch, because positions of two histories are not comparable.
   */
  readonly epoch?: string
}

/** One follower in a reading. */
export interface FollowerReading {
  /** Its name, the same in every reading. Leave it out where the shard can have only one follower. */
  readonly replica?: ReplicaId
  /** The newest seqno that it has applied. Leave it out while it is unknown: the follower keeps its last known one. */
  readonly appliedSeqno?: Seqno
  /** The newest seqno that it has received, applied or not, where the system knows it. */
  readonly receivedSeqno?: Seqno
  /** The oldest seqno that the leader keeps in its log for this follower, where the system knows it. */
  readonly retainedSeqno?: Seqno
  /** Whether it is connected to its leader. Default: true. */
  readonly connected?: boolean
  /** What is wrong with it, and what to do. It is logged as a warning when it changes. */
  readonly problem?: string
}
