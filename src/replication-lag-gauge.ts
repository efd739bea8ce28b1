import { AtomicSeqno } from './atomic-seqno.js'
import { LeaderSamples } from './leader-samples.js'
import { monotonicClock, type Clock } from './monotonic-clock.js'
import { DoubleAttachment } from './double-attachment.js'
import { optionError, refuseUnknown } from './option-errors.js'
import { followerId, parseName, type FollowerId, type ReplicaId, type ShardId } from './follower.js'
import { Rejections } from './rejections.js'
import { ReplicationState, type Follower, type ShardFollowers } from './replication-state.js'
import { lagBetween, MAX_SEQNO, parseSeqno, type Seqno } from './seqno.js'
import { SeqnoSlabs } from './seqno-slabs.js'
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

/** Called for every follower whose lag is known. */
type FollowerVisitor = (
  follower: FollowerId,
  leaderSeqno: bigint,
  appliedSeqno: bigint | undefined,
  leader: Leader,
) => void

/** A shard's leader and the register of its seqno. */
interface Leader {
  readonly shard: string
  readonly register: number
  handle: AtomicSeqno | undefined
  /** The state's record of the shard, kept so that a collection needs no look-up. */
  followers: ShardFollowers | undefined
  /** The follower that is reported while the leader alone is known. */
  unseen: FollowerId | undefined
  /** Its index among the samples; -1 before the first. */
  sample: number
  /** Whether its positions come from a source, so that they are news when it was polled, and at no other time. */
  isPolled: boolean
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
  readonly #leaders = new Map<string, Leader>()
  readonly #registers = new SeqnoSlabs()
  readonly #rejections = new Rejections()
  readonly #clock: Clock
  /** There once somebody has asked for lag in seconds. */
  #samples: LeaderSamples | undefined

  /** @internal The sources that are polled into this gauge. */
  readonly sources = new Set<SourceRecord>()

  /** @internal Who collects from this gauge. */
  readonly attachments = new DoubleAttachment()

  /**
   * @param state what the followers have applied, where someone else keeps it up to date; it is read at every collection.
   * @throws TypeError if `state` is no ReplicationState, or an option cannot work.
   */
  constructor(
    state: ReplicationState = new ReplicationState(),
    options: ReplicationLagGaugeOptions = {},
  ) {
    // Not instanceof: a program may hold the ESM and the CommonJS build of this package at the same time.
    if (typeof (state as Partial<ReplicationState> | null)?.followersOf !== 'function') {
      throw optionError('state', 'a ReplicationState', state)
    }
    const { clock, ...unknown } = options
    refuseUnknown(unknown)
    if (clock !== undefined && typeof clock !== 'function') {
      throw optionError('clock', 'a function that returns milliseconds', clock)
    }
    this.#state = state
    this.#clock = monotonicClock(clock)
  }

  /**
   * Says what the newest seqno in the leader's log is.
   * Never throws: an update that cannot be taken changes nothing, is told once through `diag`, and counted.
   *
   * @param seqno 0 … 2^64 − 1; lower than before is taken too (a leader may be restored).
   */
  updateLeaderSeqno(shard: ShardId, seqno: Seqno): void {
    const value = parseSeqno(seqno)
    const leader = this.#find(shard)
    if (value !== undefined && leader) {
      this.#registers.store(leader.register, value)
      return
    }
    const name = this.#parseShard(shard)
    if (name === undefined) return
    if (value === undefined) this.#rejections.seqno(seqno, 'leader', { shard: name })
    else this.#registers.store(this.#add(name).register, value)
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
    const name = this.#parseShard(shard)
    if (name === undefined) return new AtomicSeqno()
    const leader = this.#leaders.get(name) ?? this.#add(name)
    return (leader.handle ??= new AtomicSeqno(
      undefined,
      this.#registers.slab(leader.register),
      this.#registers.indexInSlab(leader.register),
      (value) => this.#rejections.seqno(value, 'leader', { shard: name }),
    ))
  }

  /** A handle of a follower's applied seqno: {@link ReplicationState.applied} of the gauge's state. */
  applied(shard: ShardId, replica?: ReplicaId): AtomicSeqno {
    return this.#state.applied(shard, replica)
  }

  /**
   * The lag of one follower, as {@link collectMetrics} would tell it: 0 for a shard or follower that was never seen, the
   * leader seqno if nothing was applied yet. Never throws.
   */
  lagSeqno(shard: ShardId, replica?: ReplicaId): number {
    const pair = this.#read(shard, replica)
    return pair ? lagBetween(pair.leaderSeqno, pair.appliedSeqno) : 0
  }

  /**
   * The lag of one follower in time: for how many seconds the leader has had the oldest entry that the follower has not
   * applied. 0 when it has caught up, also if the leader has been idle for long, and for what was never seen. Where the
   * entry is older than what is remembered, its age is at least what is returned. Never throws.
   *
   * `undefined` while that is not known: of a follower that is behind while nothing attached to the gauge measures seconds,
   * or in the first moments of its leader.
   */
  lagSeconds(shard: ShardId, replica?: ReplicaId): number | undefined {
    const pair = this.#read(shard, replica)
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
    const removed = this.#state.remove(shard, replica)
    const leader = replica === undefined ? this.#find(shard) : undefined
    if (!leader) return removed
    this.#leaders.delete(leader.shard)
    if (leader.handle) AtomicSeqno.detach(leader.handle)
    this.#registers.free(leader.register)
    if (leader.sample >= 0) this.#samples?.remove(leader.sample)
    return true
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
    for (const leader of this.#leaders.values()) {
      const followers = this.#followersOf(leader)
      if (followers?.unnamed) this.#visit(leader, followers.unnamed, visit)
      if (followers?.replicas) {
        for (const follower of followers.replicas.values()) this.#visit(leader, follower, visit)
      } else if (withUnseen && !followers?.unnamed && this.#registers.isWritten(leader.register)) {
        leader.unseen ??= followerId(leader.shard, undefined)
        visit(leader.unseen, this.#registers.load(leader.register), undefined, leader)
      }
    }
  }

  /** @internal Visits every follower whose lag in seconds is known. The same as {@link forEachFollower} otherwise. */
  forEachLagSeconds(
    visit: (follower: FollowerId, seconds: number) => void,
    withUnseen: boolean,
  ): void {
    const samples = this.#samples
    if (!samples) return
    const now = this.#clock()
    this.forEachFollower((follower, leaderSeqno, appliedSeqno = 0n, { sample }) => {
      const isBehind = appliedSeqno < leaderSeqno
      const seconds = isBehind ? samples.seconds(sample, leaderSeqno, appliedSeqno, now) : 0
      if (seconds !== undefined) visit(follower, seconds)
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
    for (const leader of this.#leaders.values()) {
      if (!leader.isPolled) this.#sample(samples, leader, withUnseen, now)
    }
  }

  /** @internal Remembers where a leader is that was polled just now. */
  samplePolled(shard: string): void {
    const leader = this.#leaders.get(shard)
    if (!leader) return
    leader.isPolled = true
    if (this.#samples) this.#sample(this.#samples, leader, false, this.#clock())
  }

  #sample(samples: LeaderSamples, leader: Leader, withUnseen: boolean, now: number): void {
    const { unnamed, replicas } = this.#followersOf(leader) ?? {}
    const isUnseen = !unnamed && !replicas
    let slowest = isUnseen && withUnseen ? 0n : MAX_SEQNO
    if (unnamed) slowest = this.#state.appliedSeqnoOf(unnamed) ?? 0n
    if (replicas) {
      for (const follower of replicas.values()) {
        const appliedSeqno = this.#state.appliedSeqnoOf(follower) ?? 0n
        if (appliedSeqno < slowest) slowest = appliedSeqno
      }
    }
    if (!this.#registers.isWritten(leader.register)) return
    if (leader.sample < 0) leader.sample = samples.add()
    samples.sample(leader.sample, this.#registers.load(leader.register), slowest, now)
  }

  /** Both positions of a follower that is reported; `undefined` for one that is not. */
  #read(
    shard: ShardId,
    replica: ReplicaId | undefined,
  ): { leader: Leader; leaderSeqno: bigint; appliedSeqno: bigint } | undefined {
    const leader = this.#find(shard)
    if (!leader) return undefined
    const followers = this.#followersOf(leader)
    const name = replica === undefined ? undefined : parseName(replica)
    const follower =
      replica === undefined ? followers?.unnamed : followers?.replicas?.get(name ?? '')
    const isUnseen = replica === undefined && !followers?.replicas
    if (!follower && !isUnseen) return undefined
    // The follower first: read the other way round, what it applies in between would show as a negative lag.
    const appliedSeqno = (follower && this.#state.appliedSeqnoOf(follower)) ?? 0n
    if (!this.#registers.isWritten(leader.register)) return undefined
    return { leader, leaderSeqno: this.#registers.load(leader.register), appliedSeqno }
  }

  /** @internal Visits every leader whose seqno is known; not one whose followers are all withheld. */
  forEachLeader(visit: (shard: string, leaderSeqno: bigint) => void): void {
    for (const leader of this.#leaders.values()) {
      const { unnamed, replicas } = this.#followersOf(leader) ?? {}
      const followers = [...(unnamed ? [unnamed] : []), ...(replicas?.values() ?? [])]
      const isWithheld = followers.length > 0 && followers.every((follower) => follower.isWithheld)
      if (isWithheld || !this.#registers.isWritten(leader.register)) continue
      visit(leader.shard, this.#registers.load(leader.register))
    }
  }

  /** @internal Visits every follower whose applied seqno is known, also where the leader is not. */
  forEachApplied(visit: (follower: FollowerId, appliedSeqno: bigint) => void): void {
    this.#state.forEachApplied(visit)
  }

  /** @internal Leaves a follower out of the reports, or puts it back in. */
  setWithheld(shard: string, replica: string | undefined, isWithheld: boolean): void {
    this.#state.setWithheld(shard, replica, isWithheld)
  }

  #visit(leader: Leader, follower: Follower, visit: FollowerVisitor): void {
    const { register } = leader
    const appliedSeqno = this.#state.appliedSeqnoOf(follower)
    if (follower.isWithheld || !this.#registers.isWritten(register)) return
    visit(follower.id, this.#registers.load(register), appliedSeqno, leader)
  }

  #followersOf(leader: Leader): ShardFollowers | undefined {
    if (!leader.followers?.live) leader.followers = this.#state.followersOf(leader.shard)
    return leader.followers
  }

  #find(shard: ShardId): Leader | undefined {
    const name = typeof shard === 'string' ? shard : parseName(shard)
    return name === undefined ? undefined : this.#leaders.get(name)
  }

  #parseShard(shard: ShardId): string | undefined {
    const name = parseName(shard)
    if (name === undefined) this.#rejections.name(shard, 'shard')
    return name
  }

  #add(shard: string): Leader {
    const leader: Leader = {
      shard,
      register: this.#registers.allocate(),
      handle: undefined,
      followers: undefined,
      unseen: undefined,
      sample: -1,
      isPolled: false,
    }
    this.#leaders.set(shard, leader)
    return leader
  }
}
