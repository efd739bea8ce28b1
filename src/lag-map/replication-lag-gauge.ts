import { hasMethods, optionError } from '../support/option-errors.js'
import { parseName, type ReplicaId, type ShardId } from '../support/names.js'
import { AtomicSeqno } from './atomic-seqno.js'
import { collect, collectOne } from './collect.js'
import type { Leader } from './feed.js'
import { Feeds } from './feeds.js'
import { followerLag, type FollowerLag } from './follower-lag.js'
import { removedHandle, ReplicationState } from './replication-state.js'
import { startSampling } from './sampling.js'
import { parseSeqno, type Seqno } from './seqno.js'
import { publish, subscribe, type SubscribeOptions, type ThreadPort } from './thread-link.js'

/**
 * The lag map: how far every follower of every shard is behind its leader. Update it from the code that writes the log and
 * from the code that applies it. Updates and collections never throw, never do I/O and never block.
 *
 * A follower is reported as soon as the leader seqno of its shard is known. A shard that no follower was seen of counts as
 * one unnamed follower that has applied nothing, so its lag is the whole leader seqno.
 */
export class ReplicationLagGauge {
  /** @internal */
  readonly feeds: Feeds

  /** @throws TypeError if `state` is not a ReplicationState. */
  constructor(private readonly state = new ReplicationState()) {
    if (!hasMethods(state, 'appliedSeqno', 'setAppliedSeqno', 'applied', 'remove')) {
      throw optionError('state', 'a ReplicationState', state)
    }
    this.feeds = new Feeds(state.inside.feed, state.inside.rejected)
  }

  /**
   * Sets the newest seqno in the leader's log, and adds the leader if it is new.
   * Never throws: an invalid update changes nothing, is logged once and counted in {@link rejectedUpdates}.
   * @param seqno 0 … 2^64 − 1. It may be lower than before, because a leader can be restored.
   */
  updateLeaderSeqno(shard: ShardId, seqno: Seqno): void {
    const value = parseSeqno(seqno)
    if (value === undefined) this.feeds.rejected.seqno(seqno, 'leader', shard)
    // Strings can be looked up unparsed: invalid names are never added.
    else
      (this.feeds.application.leaders.get(shard as string) ?? this.findOrAdd(shard))?.store(value)
  }

  /** Sets what a follower has applied: {@link ReplicationState.setAppliedSeqno} of the gauge's state. */
  updateAppliedSeqno(shard: ShardId, seqno: Seqno, replica?: ReplicaId): void {
    this.state.setAppliedSeqno(shard, seqno, replica)
  }

  /**
   * Returns a handle of the shard's leader seqno for hot paths, the same one each time. The leader is reported from the
   * first store on. The handle of a removed shard has no effect: call this again for a new one.
   * Never throws: for an invalid name the handle has no effect.
   */
  leader(shard: ShardId): AtomicSeqno {
    const leader = this.findOrAdd(shard)
    if (!leader) return removedHandle()
    return (leader.handle ??= new AtomicSeqno(leader, (value) => {
      this.feeds.rejected.seqno(value, 'leader', leader.shard)
    }))
  }

  /** Returns a handle of a follower's applied seqno: {@link ReplicationState.applied} of the gauge's state. */
  applied(shard: ShardId, replica?: ReplicaId): AtomicSeqno {
    return this.state.applied(shard, replica)
  }

  /**
   * Returns the lag of one follower, signed, saturated at ±(2^53 − 1): the leader seqno if it has applied nothing yet, the
   * last known lag if its source can no longer be read, 0 for a shard or follower that was never seen. Never throws.
   */
  lagSeqno(shard: ShardId, replica?: ReplicaId): number {
    return this.collectOne(shard, replica)?.collected.lagSeqno ?? 0
  }

  /**
   * Returns the lag of one follower in seconds: the age of the oldest entry that the leader has and the follower has not
   * applied. It is 0 when the follower has caught up, even if the leader has been idle for long. Never throws.
   *
   * `undefined` where it is not known: for a follower that was never seen, has diverged, or whose source cannot be read,
   * and until a second after the first call or attachment. A readiness probe should fail then.
   */
  lagSeconds(shard: ShardId, replica?: ReplicaId): number | undefined {
    startSampling(this.feeds)
    const one = this.collectOne(shard, replica)
    return one?.isFresh ? one.collected.lagSeconds : undefined
  }

  /** Returns the exact newest seqno in a shard's log, whichever writer reports it. `undefined` if it is not known. Never throws. */
  leaderSeqno(shard: ShardId): bigint | undefined {
    const name = parseName(shard)
    return name === undefined
      ? undefined
      : this.feeds.leaderOfShard(name, performance.now())?.load()
  }

  /** Returns the exact newest seqno that a follower has applied, like {@link leaderSeqno}. */
  appliedSeqno(shard: ShardId, replica?: ReplicaId): bigint | undefined {
    return this.collectOne(shard, replica)?.collected.appliedSeqno
  }

  /** Returns a snapshot of every follower that may be reported. Never throws. */
  collectMetrics(): FollowerLag[] {
    startSampling(this.feeds)
    const lags: FollowerLag[] = []
    collect(this.feeds, performance.now(), true, (collected) => {
      const lag = followerLag(collected)
      if (lag) lags.push(lag)
    })
    return lags
  }

  /**
   * Removes a follower of the application; without `replica`, the shard with its leader and all its followers. What sources
   * and other threads report stays.
   * @returns whether there was anything to remove.
   */
  remove(shard: ShardId, replica?: ReplicaId): boolean {
    const name = parseName(shard)
    if (name === undefined) return false
    if (replica !== undefined) return this.state.remove(name, replica)
    // The leader first: without its followers it would count as a leader without followers.
    const hadLeader = this.feeds.application.removeLeader(name)
    return this.state.remove(name) || hadLeader
  }

  /**
   * Publishes what the application reports in this thread, now and later, to a gauge in another thread, which calls
   * {@link subscribe} with the other end of a dedicated `MessageChannel`. What sources report is not published.
   * @param port is not closed by this gauge, and does not keep the process alive.
   * @returns a function that ends it and removes the entries from the other gauge.
   * @throws TypeError if `port` is not a MessagePort, Error in an environment without SharedArrayBuffer.
   */
  publish(port: ThreadPort): () => void {
    return publish(this.feeds.application, this.state.inside.feed, port)
  }

  /**
   * Reports what another thread publishes, next to the application's own entries. When the other thread ends, its
   * followers keep their last position until the retention time is over, so that their lag grows with their leader.
   * @throws TypeError if `port` is not a MessagePort, or an option is invalid.
   */
  subscribe(port: ThreadPort, options?: SubscribeOptions): void {
    subscribe(this.feeds, port, options)
  }

  /** How many updates and messages of other threads were rejected because they were not valid. */
  get rejectedUpdates(): number {
    return this.feeds.rejected.count
  }

  private collectOne(shard: ShardId, replica: ReplicaId | undefined) {
    const shardName = parseName(shard)
    const replicaName = parseName(replica)
    if (shardName === undefined || (replica !== undefined && replicaName === undefined))
      return undefined
    return collectOne(this.feeds, shardName, replicaName, performance.now())
  }

  private findOrAdd(shard: ShardId): Leader | undefined {
    const name = parseName(shard)
    const { application } = this.feeds
    if (name !== undefined) return application.leaders.get(name) ?? application.addLeader(name)
    this.feeds.rejected.name(shard, 'shard')
    return undefined
  }
}
