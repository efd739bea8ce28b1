import { tell } from './diagnostics.js'
import { followerId, parseName, type FollowerId, type ReplicaId, type ShardId } from './follower.js'
import type { ReplicationLagGauge } from './replication-lag-gauge.js'
import { parseSeqno, type Seqno } from './seqno.js'
import { show } from './show.js'
import type { FollowerReading, ReplicationReading, ShardReading } from './sources/source.js'

/** After so many missed reads in a row, the lag of a source's followers is withheld: it is not known any more. */
const MISSES_UNTIL_WITHHELD = 3

/** One follower, as its source saw it last. */
interface Sighting {
  readonly id: FollowerId
  /** When it was last in a reading, in milliseconds of a monotonic clock … */
  seenAt: number
  /** … and in which. */
  reading: number
  isConnected: boolean
  /** Whether its position was ever known. */
  isMeasured: boolean
  problem: string | undefined
}

/** What a row tells of a shard. */
interface SeenShard {
  readonly shard: ShardId
  readonly leaderSeqno: Seqno
  readonly followers: readonly FollowerReading[]
  readonly removed: readonly ReplicaId[]
  readonly epoch: string | undefined
}

/** What a row tells of a follower. */
interface SeenFollower {
  readonly replica: ReplicaId | undefined
  readonly appliedSeqno: Seqno | undefined
  readonly connected: boolean
  readonly problem: string | undefined
}

/** The followers of one shard by replica name; `undefined` stands for the unnamed one. */
interface ShardRecord {
  readonly epoch: string | undefined
  /** In which reading it was last. */
  reading: number
  /** Whether the map has the leader from this source. */
  isInMap: boolean
  readonly sightings: Map<string | undefined, Sighting>
}

/**
 * What is known of one source: whether it can be read, and which followers it reports. It writes what was read into the
 * lag map.
 *
 * A follower that is no longer in the readings has disconnected: it keeps its last known position, so its lag grows with
 * its leader's log, until the retention time is over; then it is removed. (Removed at once, a cumulative reader would go
 * on to report the small lag that it had last.)
 */
export class SourceRecord {
  readonly name: string
  /** In milliseconds, 0 … Infinity. */
  retentionMillis: number
  readonly #gauge: ReplicationLagGauge
  readonly #shards = new Map<string, ShardRecord>()
  #readings = 0
  #misses = 0
  #isUp = false
  #isWithheld = false
  #lastSuccessSeconds: number | undefined
  #toldRow = false

  constructor(name: string, gauge: ReplicationLagGauge, retentionMillis: number) {
    this.name = name
    this.#gauge = gauge
    this.retentionMillis = retentionMillis
  }

  /** Whether the last read succeeded. */
  get isUp(): boolean {
    return this.#isUp
  }

  /** When a read last succeeded, in seconds since 1970; `undefined` if none has. */
  get lastSuccessSeconds(): number | undefined {
    return this.#lastSuccessSeconds
  }

  /** Visits every follower of the source, also those whose position is not known; none while they are withheld. */
  forEachFollower(visit: (follower: FollowerId, isConnected: boolean) => void): void {
    if (this.#isWithheld) return
    for (const { sightings } of this.#shards.values()) {
      for (const { id, isConnected, reading } of sightings.values()) {
        visit(id, isConnected && reading === this.#readings)
      }
    }
  }

  /** The source could not be read, once more. */
  miss(): void {
    this.#isUp = false
    this.#misses++
    if (this.#misses === MISSES_UNTIL_WITHHELD) this.withhold()
  }

  /** Reports nothing of the source until the next reading, as it is not read for now: what is known is not fresh. */
  withhold(): void {
    this.#isUp = false
    this.#setWithheld(true)
  }

  /** Forgets all that the source has reported, as it is not read any more. */
  forget(): void {
    for (const [shard, record] of this.#shards) this.#forgetShard(shard, record)
  }

  #setWithheld(isWithheld: boolean): void {
    this.#isWithheld = isWithheld
    for (const [shard, { sightings, isInMap }] of this.#shards) {
      if (isInMap) this.#gauge.setLeaderWithheld(shard, isWithheld)
      for (const replica of sightings.keys()) this.#gauge.setWithheld(shard, replica, isWithheld)
    }
  }

  /**
   * Takes a reading over into the lag map. A row that makes no sense is left out, told and counted; the others are taken.
   *
   * @param now milliseconds of a monotonic clock.
   * @throws TypeError if it is no reading at all; the map is as before then.
   */
  apply(reading: ReplicationReading, now: number): void {
    const shards = (reading as Partial<ReplicationReading> | null | undefined)?.shards
    if (!Array.isArray(shards)) {
      throw new TypeError(`expected a reading with an array of shards, got ${show(reading)}`)
    }
    this.#readings++
    for (const shard of shards as ShardReading[]) {
      const fields = readShard(shard)
      if (fields) this.#applyShard(fields, now)
      else this.#refuse('a shard with an array of followers, and an epoch that is a string', shard)
    }
    this.#forget(now)
    this.#setWithheld(false)
    this.#misses = 0
    this.#isUp = true
    this.#lastSuccessSeconds = Date.now() / 1000
  }

  #applyShard({ shard, leaderSeqno, followers, removed, epoch }: SeenShard, now: number): void {
    const name = parseName(shard)
    if (name === undefined) {
      // Told and counted by the map.
      this.#gauge.updateLeaderSeqno(shard, leaderSeqno)
      return
    }
    const record = this.#recordOf(name, epoch, now)
    record.reading = this.#readings
    for (const follower of followers) {
      const fields = readFollower(follower)
      if (fields) this.#applyFollower(name, record, fields, now)
      else this.#refuse('a follower that is connected: true or false', follower)
    }
    for (const replica of removed) {
      const removedName = parseName(replica)
      if (removedName === undefined || !record.sightings.delete(removedName)) continue
      this.#removeFollower(name, removedName)
    }
    const isMeasured = [...record.sightings.values()].some((sighting) => sighting.isMeasured)
    if (!isMeasured) {
      // What others know of the shard is theirs.
      if (!record.isInMap && this.#gauge.knowsLeader(name)) return
      // Or else the leader seqno would read as the lag of a follower that has applied nothing.
      this.#gauge.nameFollowers(name)
    }
    record.isInMap = true
    this.#gauge.updateLeaderSeqno(name, leaderSeqno)
    this.#gauge.samplePolled(name)
  }

  /** The record of a shard; one of another epoch is forgotten, with all that the map has of the shard. */
  #recordOf(shard: string, epoch: string | undefined, now: number): ShardRecord {
    const known = this.#shards.get(shard)
    if (known && known.epoch === epoch) return known
    if (known?.isInMap) this.#gauge.remove(shard)
    const record: ShardRecord = { epoch, reading: 0, isInMap: false, sightings: new Map() }
    if (!known) this.#adopt(shard, record, now)
    this.#shards.set(shard, record)
    return record
  }

  /** Takes over the followers that a source has left behind, perhaps in a thread that has ended: nobody else would. */
  #adopt(shard: string, { sightings }: ShardRecord, now: number): void {
    for (const id of this.#gauge.followersFromSource(shard)) {
      if (this.#isElsewhere(shard, id.replica)) continue
      const sighting = { seenAt: now, reading: 0, isConnected: false, isMeasured: true }
      sightings.set(id.replica, { id, ...sighting, problem: undefined })
    }
  }

  #applyFollower(
    shard: string,
    { sightings }: ShardRecord,
    { replica, appliedSeqno, connected, problem }: SeenFollower,
    now: number,
  ): void {
    const name = replica === undefined ? undefined : parseName(replica)
    const before = sightings.get(name)
    if (before?.reading === this.#readings) {
      this.#refuse(`one row for the follower ${show(name)} of shard ${show(shard)}`, 'several')
      return
    }
    // Also with a name that is none: the map tells and counts it.
    if (appliedSeqno !== undefined) this.#gauge.updateAppliedSeqno(shard, appliedSeqno, replica)
    if (replica !== undefined && name === undefined) return
    if (!before) this.#gauge.markFromSource(shard, name)
    const isMeasured = parseSeqno(appliedSeqno) !== undefined
    sightings.set(name, {
      id: before?.id ?? followerId(shard, name),
      seenAt: now,
      reading: this.#readings,
      isConnected: connected,
      isMeasured: isMeasured || (before?.isMeasured ?? false),
      problem,
    })
    if (typeof problem === 'string' && problem !== before?.problem) {
      tell(
        'warn',
        `source ${show(this.name)}: follower ${show(name)} of shard ${show(shard)}: ${problem}`,
      )
    }
  }

  #refuse(expected: string, row: unknown): void {
    if (this.#toldRow) return
    this.#toldRow = true
    tell(
      'warn',
      `source ${show(this.name)}: expected ${expected}, got ${show(row)}; the row is left out (told once)`,
    )
  }

  #forget(now: number): void {
    for (const [shard, record] of this.#shards) {
      for (const [replica, { seenAt, reading }] of record.sightings) {
        if (reading === this.#readings || now - seenAt < this.retentionMillis) continue
        record.sightings.delete(replica)
        this.#removeFollower(shard, replica)
      }
      if (record.sightings.size === 0 && record.reading !== this.#readings) {
        this.#forgetShard(shard, record)
      }
    }
  }

  #forgetShard(shard: string, { sightings, isInMap }: ShardRecord): void {
    this.#shards.delete(shard)
    for (const replica of sightings.keys()) this.#removeFollower(shard, replica)
    const isReported = this.#others().some((source) => source.#shards.has(shard))
    if (isInMap && !isReported) this.#gauge.remove(shard)
  }

  #removeFollower(shard: string, replica: string | undefined): void {
    if (!this.#isElsewhere(shard, replica)) this.#gauge.removeFollower(shard, replica)
  }

  /** Whether another source reports the follower. */
  #isElsewhere(shard: string, replica: string | undefined): boolean {
    return this.#others().some((source) => source.#shards.get(shard)?.sightings.has(replica))
  }

  #others(): SourceRecord[] {
    return [...this.#gauge.sources].filter((source) => source !== this)
  }
}

/** What is known of a shard; `undefined` if it makes no sense, or cannot be read. */
function readShard(row: ShardReading): SeenShard | undefined {
  try {
    const { shard, leaderSeqno, followers, removed = [], epoch } = row
    if (
      !Array.isArray(followers) ||
      !Array.isArray(removed) ||
      !(epoch === undefined || typeof epoch === 'string')
    ) {
      return undefined
    }
    return { shard, leaderSeqno, followers, removed, epoch }
  } catch {
    return undefined
  }
}

/** The same of a follower. */
function readFollower(row: FollowerReading): SeenFollower | undefined {
  try {
    const { replica, appliedSeqno, connected = true, problem } = row
    return typeof connected === 'boolean'
      ? { replica, appliedSeqno, connected, problem }
      : undefined
  } catch {
    return undefined
  }
}
