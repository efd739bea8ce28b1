import { parseName, type ReplicaId, type ShardId } from '../support/names.js'
import { AtomicSeqno } from './atomic-seqno.js'
import { Feed, type Follower } from './feed.js'
import { RejectedUpdates } from './rejected-updates.js'
import { parseSeqno, type Seqno } from './seqno.js'

/**
 * The applied positions that the application reports. Share one between the code that applies entries and the
 * {@link ReplicationLagGauge} that compares it with the leaders.
 */
export class ReplicationState {
  /** @internal */
  readonly inside = { feed: new Feed('application'), rejected: new RejectedUpdates() }

  /** Returns the newest seqno that a follower has applied, `undefined` if it has applied nothing or was never seen. */
  appliedSeqno(shard: ShardId, replica?: ReplicaId): bigint | undefined {
    return this.find(shard, replica)?.load()
  }

  /**
   * Sets what a follower has applied, and adds the follower if it is new.
   * Never throws: an invalid update changes nothing, is logged once and counted in {@link rejectedUpdates}.
   * @param seqno 0 … 2^64 − 1. It may be lower than before, because a follower can be rebuilt.
   * @param replica the follower's name. Leave it out where the shard has only one follower.
   */
  setAppliedSeqno(shard: ShardId, seqno: Seqno, replica?: ReplicaId): void {
    const value = parseSeqno(seqno)
    if (value === undefined) this.inside.rejected.seqno(seqno, 'applied', shard, replica)
    else (this.find(shard, replica) ?? this.findOrAdd(shard, replica))?.store(value)
  }

  /**
   * Returns a handle of a follower's applied seqno for hot paths, the same one each time. Adds the follower if it is new; it
   * has then applied nothing. Handles of a removed follower have no effect: call this again for a new one.
   * Never throws: for an invalid name the handle has no effect.
   */
  applied(shard: ShardId, replica?: ReplicaId): AtomicSeqno {
    const follower = this.findOrAdd(shard, replica)
    if (!follower) return removedHandle()
    return (follower.handle ??= new AtomicSeqno(follower, (value) => {
      const { shard, replica } = follower.attributes
      this.inside.rejected.seqno(value, 'applied', shard, replica)
    }))
  }

  /** Removes a follower; without `replica`, every follower of the shard. Returns whether there was one. */
  remove(shard: ShardId, replica?: ReplicaId): boolean {
    const { feed } = this.inside
    const name = parseName(shard)
    if (name === undefined) return false
    if (replica === undefined) return feed.removeFollowers(name)
    return feed.removeFollower(this.find(name, replica))
  }

  /** How many updates were rejected because a seqno, shard or replica was not valid. */
  get rejectedUpdates(): number {
    return this.inside.rejected.count
  }

  private find(shard: ShardId, replica: ReplicaId | undefined): Follower | undefined {
    // Strings can be looked up unparsed: invalid names are never added.
    const shardName = typeof shard === 'string' ? shard : parseName(shard)
    const followers =
      shardName === undefined ? undefined : this.inside.feed.followers.get(shardName)
    if (replica === undefined) return followers?.unnamed
    const replicaName = typeof replica === 'string' ? replica : parseName(replica)
    return replicaName === undefined ? undefined : followers?.replicas?.get(replicaName)
  }

  private findOrAdd(shard: ShardId, replica: ReplicaId | undefined): Follower | undefined {
    const { feed, rejected } = this.inside
    const shardName = parseName(shard)
    const replicaName = parseName(replica)
    if (shardName === undefined) rejected.name(shard, 'shard')
    else if (replica !== undefined && replicaName === undefined) rejected.name(replica, 'replica')
    else {
      return feed.findFollower(shardName, replicaName) ?? feed.addFollower(shardName, replicaName)
    }
    return undefined
  }
}

/** A handle that has no effect. */
export function removedHandle(): AtomicSeqno {
  const handle = new AtomicSeqno()
  handle.cell.isRemoved = true
  return handle
}
