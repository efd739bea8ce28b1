import { tell } from './diagnostics.js'
import { followerId, parseName, type FollowerId } from './follower.js'
import type { ReplicationLagGauge } from './replication-lag-gauge.js'
import { parseSeqno } from './seqno.js'
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

/** The followers of one shard by replica name; `undefined` stands for the unnamed one. */
interface ShardRecord {
  readonly epoch: string | undefined
  /** Whether the map has the shard from this source. */
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
  readonly #gauge: ReplicationLagGauge
  readonly #retentionMillis: number
  readonly #shards = new Map<string, ShardRecord>()
  #readings = 0
  #misses = 0
  #isUp = false
  #lastSuccessSeconds: number | undefined
  #toldRow = false

  constructor(name: string, gauge: ReplicationLagGauge, retentionMillis: number) {
    this.name = name
    this.#gauge = gauge
    this.#retentionMillis = retentionMillis
  }

  /** Whether the last read succeeded. */
  get isUp(): boolean {
    return this.#isUp
  }

  /** When a read last succeeded, in seconds since 1970; `undefined` if none has. */
  get lastSuccessSeconds(): number | undefined {
    return this.#lastSuccessSeconds
  }

  /** Visits every follower of the source, also those whose position is not known. */
  forEachFollower(visit: (follower: FollowerId, isConnected: boolean) => void): void {
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

  /** Reports no lag of the source's followers until the next reading: what is known of them is not fresh. */
  withhold(): void {
    this.#setWithheld(true)
  }

  #setWithheld(isWithheld: boolean): void {
    for (const [shard, { sightings }] of this.#shards) {
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
      if (isObject(shard) && Array.isArray(shard.followers)) this.#applyShard(shard, now)
      else this.#refuse('a shard with an array of followers', shard)
    }
    this.#forget(now)
    this.#setWithheld(false)
    this.#misses = 0
    this.#isUp = true
    this.#lastSuccessSeconds = Date.now() / 1000
  }

  #applyShard({ shard, leaderSeqno, followers, epoch }: ShardReading, now: number): void {
    const name = parseName(shard)
    if (name === undefined) {
      // Told and counted by the map.
      this.#gauge.updateLeaderSeqno(shard, leaderSeqno)
      return
    }
    const record = this.#recordOf(name, epoch)
    for (const follower of followers) {
      if (isObject(follower)) this.#applyFollower(name, record, follower, now)
      else this.#refuse('a follower', follower)
    }
    // Without a measured follower, a leader seqno would read as the lag of one that has applied nothing.
    const isMeasured = [...record.sightings.values()].some((sighting) => sighting.isMeasured)
    if (!isMeasured) return
    record.isInMap = true
    this.#gauge.updateLeaderSeqno(name, leaderSeqno)
    this.#gauge.samplePolled(name)
  }

  /** The record of a shard; one of another epoch is forgotten, with all that the map has of the shard. */
  #recordOf(shard: string, epoch: string | undefined): ShardRecord {
    const known = this.#shards.get(shard)
    if (known && known.epoch === epoch) return known
    if (known?.isInMap) this.#gauge.remove(shard)
    const record: ShardRecord = { epoch, isInMap: false, sightings: new Map() }
    this.#shards.set(shard, record)
    return record
  }

  #applyFollower(
    shard: string,
    { sightings }: ShardRecord,
    { replica, appliedSeqno, connected = true, problem }: FollowerReading,
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
    for (const [shard, { sightings, isInMap }] of this.#shards) {
      for (const [replica, { seenAt, reading }] of sightings) {
        if (reading === this.#readings || now - seenAt < this.#retentionMillis) continue
        sightings.delete(replica)
        if (replica !== undefined) this.#gauge.remove(shard, replica)
      }
      if (sightings.size > 0) continue
      this.#shards.delete(shard)
      if (isInMap) this.#gauge.remove(shard)
    }
  }
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}
