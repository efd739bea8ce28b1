import type { ReplicaId, ShardId } from '../follower.js'
import type { Seqno } from '../seqno.js'

/**
 * An adapter that reads leader and applied seqnos out of a running system.
 * The instrumentation polls it: one read at a time, each with a deadline.
 */
export interface ReplicationSource {
  /** The `source` attribute of its metrics; each source of an instrumentation has its own. */
  readonly name: string
  /**
   * Reads the positions once.
   *
   * @param signal aborted when the deadline has passed or polling stops. Give up then and settle: there is no next read
   * before this one has settled.
   * @returns what was read; it rejects with an error that says what to do when the system cannot be read.
   */
  read(signal: AbortSignal): Promise<ReplicationReading>
}

/** What a source found in one read. */
export interface ReplicationReading {
  /** Every shard that was seen. */
  readonly shards: readonly ShardReading[]
  /** Why there is nothing to report, where that is worth knowing. Told at debug level when it changes. */
  readonly note?: string
}

/** One shard in a reading. */
export interface ShardReading {
  readonly shard: ShardId
  /** The newest seqno in the leader's log. */
  readonly leaderSeqno: Seqno
  /**
   * Every follower that the system knows of. One that was in an earlier reading and is not in this one has disconnected:
   * it is measured from its last known position for the retention time.
   */
  readonly followers: readonly FollowerReading[]
  /** Followers of earlier readings that are none any more, as the system says: forgotten at once. Default: none. */
  readonly removed?: readonly ReplicaId[]
  /**
   * What identifies the history that the seqnos belong to, if the system has that: a term, a timeline, a replication id.
   * When it changes, all that was known of the shard is forgotten: seqnos of two histories cannot be compared.
   */
  readonly epoch?: string
}

/** One follower in a reading. */
export interface FollowerReading {
  /** Its name, the same in every reading. Leave it out where the shard can have only one follower. */
  readonly replica?: ReplicaId
  /** The newest seqno that it has applied. Leave it out while that is unknown: the follower keeps its last known one. */
  readonly appliedSeqno?: Seqno
  /** Whether it is connected to its leader. Default: true. */
  readonly connected?: boolean
  /** What is wrong with it, and what to do. Told at warn level when it changes. */
  readonly problem?: string
}
