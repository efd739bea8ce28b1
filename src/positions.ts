import { parseName, type FollowerId, type ReplicaId, type ShardId } from './follower.js'
import type { Follower, ShardFollowers } from './follower-map.js'
import type { Leader, LeaderMap } from './leader-map.js'
import type { Members } from './members.js'
import type { ReplicationState } from './replication-state.js'

/** Called for every follower whose lag is known. */
export type FollowerVisitor = (
  follower: FollowerId,
  leaderSeqno: bigint,
  appliedSeqno: bigint | undefined,
  leader: Leader,
) => void

/** Where a follower and its leader are. */
export interface Positions {
  readonly leader: Leader
  readonly leaderSeqno: bigint
  readonly appliedSeqno: bigint
  /** Whether it is not reported, because its source cannot be read. */
  readonly isWithheld: boolean
}

/** Reads the leaders of a gauge together with the followers of its state, by whatever thread they were added. */
export class PositionReader {
  readonly #leaders: LeaderMap
  readonly #members: Members<Leader>
  readonly #state: ReplicationState

  constructor(leaders: LeaderMap, members: Members<Leader>, state: ReplicationState) {
    this.#leaders = leaders
    this.#members = members
    this.#state = state
  }

  /** A shard's leader, if this thread knows it. */
  find(shard: ShardId): Leader | undefined {
    const name = typeof shard === 'string' ? shard : parseName(shard)
    return name === undefined ? undefined : this.#leaders.get(name)
  }

  /** Both positions of a follower; `undefined` where one of them is not known. */
  read(shard: ShardId, replica: ReplicaId | undefined): Positions | undefined {
    const positions = this.#read(shard, replica, false)
    if (positions) return positions
    // Another thread may have added it.
    this.catchUp()
    return this.#read(shard, replica, true)
  }

  /**
   * Visits every follower that is reported. The visitor may update and remove followers while it runs.
   *
   * @throws in the end, the first error of a visit: a state of the user's own may fail for one shard and not for others.
   */
  forEachFollower(visit: FollowerVisitor, withUnseen: boolean): void {
    this.catchUp()
    this.#leaders.beginCollection()
    let failure: { readonly error: unknown } | undefined
    for (const leader of this.#leaders) {
      try {
        const followers = this.followersOf(leader)
        if (followers?.unnamed) this.#visit(leader, followers.unnamed, visit)
        if (followers?.replicas) {
          for (const follower of followers.replicas.values()) this.#visit(leader, follower, visit)
        } else if (withUnseen && !followers?.unnamed && !this.#leaders.isNews(leader)) {
          const leaderSeqno = this.seqnoOf(leader)
          if (leaderSeqno !== undefined) visit(leader.id, leaderSeqno, undefined, leader)
        }
      } catch (error) {
        failure ??= { error }
      }
    }
    if (failure) throw failure.error
  }

  /**
   * Visits every leader.
   *
   * @throws in the end, the first error of a visit.
   */
  forEach(visit: (leader: Leader) => void): void {
    this.catchUp()
    let failure: { readonly error: unknown } | undefined
    for (const leader of this.#leaders) {
      try {
        visit(leader)
      } catch (error) {
        failure ??= { error }
      }
    }
    if (failure) throw failure.error
  }

  /** Visits every leader whose seqno is known and not withheld. */
  forEachLeader(visit: (shard: string, leaderSeqno: bigint) => void): void {
    this.forEach((leader) => {
      const leaderSeqno = leader.isWithheld ? undefined : this.seqnoOf(leader)
      if (leaderSeqno !== undefined) visit(leader.shard, leaderSeqno)
    })
  }

  seqnoOf(leader: Leader): bigint | undefined {
    const seqno = leader.load()
    if (seqno !== undefined || leader.isAlive) return seqno
    return this.#members.settle(leader) ? leader.load() : undefined
  }

  followersOf(leader: Leader): ShardFollowers | undefined {
    if (!leader.followers?.live) leader.followers = this.#state.followersOf(leader.shard)
    return leader.followers
  }

  /** Hears what other threads have done. */
  catchUp(): void {
    this.#members.catchUp()
    this.#state.catchUp()
  }

  #visit(leader: Leader, follower: Follower, visit: FollowerVisitor): void {
    // The follower first: read the other way round, what it applies in between would show as a negative lag.
    let appliedSeqno = follower.load()
    if (appliedSeqno === undefined && !follower.isAlive) {
      if (!this.#state.settle(follower)) return
      appliedSeqno = follower.load()
    }
    const leaderSeqno = follower.isWithheld ? undefined : this.seqnoOf(leader)
    if (leaderSeqno !== undefined) visit(follower.id, leaderSeqno, appliedSeqno, leader)
  }

  #read(
    shard: ShardId,
    replica: ReplicaId | undefined,
    withUnseen: boolean,
  ): Positions | undefined {
    const leader = this.find(shard)
    if (!leader) return undefined
    const { unnamed, replicas } = this.followersOf(leader) ?? {}
    const follower = replica === undefined ? unnamed : replicas?.get(parseName(replica) ?? '')
    const isUnseen = withUnseen && replica === undefined && !unnamed && !replicas
    if (!isUnseen && !follower?.isAlive) return undefined
    const appliedSeqno = follower?.load() ?? 0n
    const leaderSeqno = leader.load()
    const isWithheld = follower?.isWithheld ?? false
    return leaderSeqno === undefined ? undefined : { leader, leaderSeqno, appliedSeqno, isWithheld }
  }
}
