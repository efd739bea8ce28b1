import { AtomicSeqno } from './atomic-seqno.js'
import { DoubleAttachment } from './double-attachment.js'
import { followerId, parseName, type FollowerId, type ReplicaId, type ShardId } from './follower.js'
import { slowestAppliedSeqno } from './follower-map.js'
import { LeaderMap, type Leader } from './leader-map.js'
import { LeaderSamples } from './leader-samples.js'
import { Members } from './members.js'
import { monotonicClock, type Clock } from './monotonic-clock.js'
import { checkObject, hasMethods, optionError, refuseUnknown } from './option-errors.js'
import { PositionReader, type FollowerVisitor } from './positions.js'
import { Rejections } from './rejections.js'
import { ReplicationState } from './replication-state.js'
import { Sampler } from './sampler.js'
import { lagBetween, parseSeqno, type Seqno } from './seqno.js'
import { openSharedGauge, sharedGauge, type SharedReplicationLagGauge } from './shared-gauge.js'
import type { SourceRecord } from './source-record.js'

/** What a gauge knew of one follower at one moment. */
export interface FollowerLag {
  /** The shard's name. */
  readonly shard: string
  /** The follower's name; absent for a shard's one unnamed follower. */
  readonly replica?: string
  /** Leader seqno − applied seqno, signed, saturated at ±(2^53 − 1). */
  readonly lagSeqno: number
  /** The newest seqno in the leader's log. */
  readonly leaderSeqno: bigint
  /** The newest seqno that the follower has applied; absent while it has applied nothing. */
  readonly appliedSeqno?: bigint
}

/** Options of {@link ReplicationLagGauge}. */
export interface ReplicationLagGaugeOptions {
  /**
   * A clock in milliseconds that does not go back, to measure lag in seconds by. Default: `performance.now`.
   * It is for tests; it is never read on the update path.
   */
  readonly clock?: () => number
}

/**
 * The lag map: how far every follower of every shard is behind its leader.
 *
 * Update it from the code that writes the log and from the code that applies it; any number of readers collect from it.
 * Updates and collections never throw, never do I/O and never block.
 *
 * A follower is reported as soon as its shard's leader seqno is known. A shard that no follower was seen of has one
 * unnamed follower that has applied nothing, so its lag is the whole leader seqno.
 */
export class ReplicationLagGauge {
  readonly #state: ReplicationState
  readonly #leaders = new LeaderMap(({ sample }) => {
    if (sample >= 0) this.#samples?.remove(sample)
  })
  readonly #rejections = new Rejections()
  readonly #members = new Members(this.#leaders, (value, id) =>
    this.#rejections.seqno(value, 'leader', id),
  )
  readonly #positions: PositionReader
  readonly #clock: Clock
  /** There once somebody has asked for lag in seconds. */
  #samples: LeaderSamples | undefined

  /** @internal The sources that are polled into this gauge. */
  readonly sources = new Set<SourceRecord>()

  /** @internal Who collects from this gauge. */
  readonly attachments = new DoubleAttachment()

  /** @internal Looks where the leaders are, for those who report lag in seconds. */
  readonly sampler = new Sampler(
    (withUnseen) => this.sample(withUnseen),
    () => this.#forgetSamples(),
  )

  /**
   * @param state what the followers have applied, where someone else keeps it up to date; it is read at every collection.
   * @throws TypeError if `state` is no ReplicationState, or an option cannot work.
   */
  constructor(
    state: ReplicationState = new ReplicationState(),
    options: ReplicationLagGaugeOptions = {},
  ) {
    if (!hasMethods(state, 'followersOf', 'catchUp', 'forEachApplied', 'setAppliedSeqno')) {
      throw optionError('state', 'a ReplicationState', state)
    }
    checkObject('options', options)
    const { clock, ...unknown } = options
    refuseUnknown(unknown)
    if (clock !== undefined && typeof clock !== 'function') {
      throw optionError('clock', 'a function that returns milliseconds', clock)
    }
    this.#state = state
    this.#positions = new PositionReader(this.#leaders, this.#members, state)
    this.#clock = monotonicClock(clock)
  }

  /**
   * The same lag map in this thread, after another one has shared it; with a state of its own, that is the same as the
   * other's state.
   *
   * @throws TypeError if `shared` is not what {@link share} gave, was shared by another major version of this package, or
   * the process has no shared memory.
   */
  static attach(shared: SharedReplicationLagGauge): ReplicationLagGauge {
    const { leaders, followers } = openSharedGauge(shared)
    const state = new ReplicationState()
    const gauge = new ReplicationLagGauge(state)
    state.join(followers)
    gauge.#members.join(leaders)
    return gauge
  }

  /**
   * The lag map for other threads of this process, any number of them, which call {@link attach} with it: plain data that
   * `postMessage` and `workerData` carry. It may be kept and used again for a thread that starts later.
   *
   * What either thread stores, the other reads at once; who was added or removed, it knows at its next collection or
   * update. A thread that ends leaves its leaders and followers behind. Not shared are the sources that are polled into
   * the gauge, and {@link rejectedUpdates}.
   *
   * @throws TypeError in a process that has no shared memory.
   */
  share(): SharedReplicationLagGauge {
    const followers = this.#state.share()
    return sharedGauge(this.#members.share(), followers)
  }

  /**
   * Says what the newest seqno in the leader's log is.
   * Never throws: an update that cannot be taken changes nothing, is told once through `diag`, and counted.
   *
   * @param seqno 0 … 2^64 − 1; lower than before is taken too (a leader may be restored).
   */
  updateLeaderSeqno(shard: ShardId, seqno: Seqno): void {
    const value = parseSeqno(seqno)
    if (value !== undefined && this.#positions.find(shard)?.store(value)) return
    const id = this.#parseShard(shard)
    if (!id) return
    if (value === undefined) this.#rejections.seqno(seqno, 'leader', id)
    else this.#members.update(id, value)
  }

  /** Says what a follower has applied: {@link ReplicationState.setAppliedSeqno} of the gauge's state. */
  updateAppliedSeqno(shard: ShardId, seqno: Seqno, replica?: ReplicaId): void {
    this.#state.setAppliedSeqno(shard, seqno, replica)
  }

  /**
   * A handle of the shard's leader seqno, for hot paths; the leader counts as seen with the first store.
   * Never throws: for a name that can be none it returns a register that belongs to nobody.
   * Once the shard is removed its handle writes nowhere that is read: take a new one.
   */
  leader(shard: ShardId): AtomicSeqno {
    const id = this.#parseShard(shard)
    return id ? this.#members.handle(id) : new AtomicSeqno()
  }

  /** A handle of a follower's applied seqno: {@link ReplicationState.applied} of the gauge's state. */
  applied(shard: ShardId, replica?: ReplicaId): AtomicSeqno {
    return this.#state.applied(shard, replica)
  }

  /**
   * The lag of one follower: 0 for a shard or follower that was never seen, the leader seqno if nothing was applied yet.
   * Of one whose source cannot be read, which {@link collectMetrics} leaves out, the last that was known. Never throws.
   */
  lagSeqno(shard: ShardId, replica?: ReplicaId): number {
    const pair = this.#positions.read(shard, replica)
    return pair ? lagBetween(pair.leaderSeqno, pair.appliedSeqno) : 0
  }

  /**
   * The lag of one follower in time: for how many seconds the leader has had the oldest entry that the follower has not
   * applied. 0 when it has caught up, also if the leader has been idle for long, and for what was never seen. Where the
   * entry is older than what is remembered, its age is at least what is returned. Never throws.
   *
   * `undefined` while that is not known: of a follower that is behind while nothing attached to the gauge measures seconds,
   * or in the first moments of its leader; and of one whose source cannot be read.
   */
  lagSeconds(shard: ShardId, replica?: ReplicaId): number | undefined {
    const pair = this.#positions.read(shard, replica)
    if (pair?.isWithheld) return undefined
    if (!pair || pair.appliedSeqno >= pair.leaderSeqno) return 0
    const { leader, leaderSeqno, appliedSeqno } = pair
    return this.#samples?.seconds(leader.sample, leaderSeqno, appliedSeqno, this.#clock())
  }

  /** All followers whose lag is known, as a copy: later updates do not change it. Never throws. */
  collectMetrics(): FollowerLag[] {
    const lags: FollowerLag[] = []
    this.forEachFollower((follower, leaderSeqno, appliedSeqno) => {
      const lagSeqno = lagBetween(leaderSeqno, appliedSeqno ?? 0n)
      lags.push(
        appliedSeqno === undefined
          ? { ...follower, lagSeqno, leaderSeqno }
          : { ...follower, lagSeqno, leaderSeqno, appliedSeqno },
      )
    })
    return lags
  }

  /**
   * Forgets a follower; without `replica`, the shard with its leader and all its followers.
   *
   * @returns whether there was anything to forget.
   */
  remove(shard: ShardId, replica?: ReplicaId): boolean {
    this.#members.catchUp()
    const leader = replica === undefined ? this.#positions.find(shard) : undefined
    // The leader first: in another thread it would for a moment look like one that no follower was seen of.
    if (leader) this.#members.remove(leader)
    return this.#state.remove(shard, replica) || leader !== undefined
  }

  /** How many updates of this gauge and its state were refused because a seqno, shard or replica was none. */
  get rejectedUpdates(): number {
    return this.#rejections.count + this.#state.rejectedUpdates
  }

  /**
   * @internal Visits every follower whose lag is known, without copying the map.
   * The visitor may update and remove followers while it runs.
   *
   * @param withUnseen whether a leader that no follower was seen of counts as having one.
   */
  forEachFollower(visit: FollowerVisitor, withUnseen = true): void {
    this.#positions.forEachFollower(visit, withUnseen)
  }

  /**
   * @internal The same as {@link forEachFollower}, with the lag in seqnos and in seconds; that is `undefined` where it is
   * not known.
   */
  forEachLag(
    visit: (follower: FollowerId, lagSeqno: number, lagSeconds: number | undefined) => void,
    withUnseen: boolean,
  ): void {
    const samples = this.#samples
    const now = samples ? this.#clock() : 0
    this.forEachFollower((follower, leaderSeqno, appliedSeqno = 0n, { sample }) => {
      const lagSeqno = lagBetween(leaderSeqno, appliedSeqno)
      const isBehind = lagSeqno > 0
      const seconds = isBehind ? samples?.seconds(sample, leaderSeqno, appliedSeqno, now) : 0
      visit(follower, lagSeqno, seconds)
    }, withUnseen)
  }

  /**
   * @internal Remembers where every leader is now, to measure lag in seconds by; but for those that are polled.
   *
   * @param withUnseen whether a leader that no follower was seen of counts as having one.
   */
  sample(withUnseen: boolean): void {
    const samples = (this.#samples ??= new LeaderSamples())
    const now = this.#clock()
    this.#positions.forEach((leader) => {
      if (leader.isPolled && leader.sample >= 0) {
        // Where it is since it was polled is not known; unless somebody else has said so.
        if (samples.isNewest(leader.sample, this.#positions.seqnoOf(leader))) return
        leader.isPolled = false
      }
      this.#sample(samples, leader, withUnseen, now)
    })
  }

  /** @internal Remembers where a leader is that was polled just now. */
  samplePolled(shard: string): void {
    const leader = this.#leaders.get(shard)
    if (!leader) return
    leader.isPolled = true
    if (this.#samples) this.#sample(this.#samples, leader, false, this.#clock())
  }

  /** @internal Visits every leader whose seqno is known and not withheld. */
  forEachLeader(visit: (shard: string, leaderSeqno: bigint) => void): void {
    this.#positions.forEachLeader(visit)
  }

  /** @internal Visits every follower whose applied seqno is known, also where the leader is not. */
  forEachApplied(visit: (follower: FollowerId, appliedSeqno: bigint) => void): void {
    this.#state.forEachApplied(visit)
  }

  /** @internal Whether there is a leader seqno of the shard. */
  knowsLeader(shard: string): boolean {
    return this.#positions.find(shard)?.load() !== undefined
  }

  /** @internal Says that the shard's followers have names: it has no unnamed one that nobody has seen. */
  nameFollowers(shard: string): void {
    this.#state.nameFollowers(shard)
  }

  /** @internal Forgets one follower, also the unnamed one, and nothing else of its shard. */
  removeFollower(shard: string, replica: string | undefined): void {
    this.#state.removeFollower(shard, replica)
  }

  /** @internal Says that a follower's positions come from a source. */
  markFromSource(shard: string, replica: string | undefined): void {
    this.#state.markFromSource(shard, replica)
  }

  /** @internal Those followers of a shard whose positions come from a source, be it one that is polled no more. */
  followersFromSource(shard: string): FollowerId[] {
    return this.#state.followersFromSource(shard)
  }

  /** @internal Leaves a leader out of the positions, or puts it back in. */
  setLeaderWithheld(shard: string, isWithheld: boolean): void {
    const leader = this.#positions.find(shard)
    if (leader) leader.isWithheld = isWithheld
  }

  /** @internal Leaves a follower out of the reports, or puts it back in. */
  setWithheld(shard: string, replica: string | undefined, isWithheld: boolean): void {
    this.#state.setWithheld(shard, replica, isWithheld)
  }

  #sample(samples: LeaderSamples, leader: Leader, withUnseen: boolean, now: number): void {
    const slowest = slowestAppliedSeqno(this.#positions.followersOf(leader), withUnseen)
    const leaderSeqno = this.#positions.seqnoOf(leader)
    if (leaderSeqno === undefined) return
    if (leader.sample < 0) leader.sample = samples.add()
    samples.sample(leader.sample, leaderSeqno, slowest, now)
  }

  #forgetSamples(): void {
    this.#samples = undefined
    for (const leader of this.#leaders) leader.sample = -1
  }

  #parseShard(shard: ShardId): FollowerId | undefined {
    const name = parseName(shard)
    if (name !== undefined) return followerId(name, undefined)
    this.#rejections.name(shard, 'shard')
    return undefined
  }
}
