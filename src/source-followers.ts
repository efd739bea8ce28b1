import { show } from './show.js'
import { tell } from './diagnostics.js'
import { parseName } from './follower.js'
import type { ReplicationLagGauge } from './replication-lag-gauge.js'
import { parseSeqno } from './seqno.js'
import type { FollowerReading, ReplicationReading, ShardReading } from './sources/source.js'

/** When each follower of a shard was last in a reading; `undefined` stands for the unnamed one. */
type Sightings = Map<string | undefined, number>

/**
 * The followers that one source reports, written into the lag map.
 *
 * A follower that is no longer in the readings has disconnected: it keeps its last known position, so its lag grows with
 * its leader's log, until the retention time is over; then it is removed. (Removed at once, a cumulative reader would go
 * on to report the small lag that it had last.)
 */
export class SourceFollowers {
  readonly #gauge: ReplicationLagGauge
  readonly #retentionMillis: number
  readonly #shards = new Map<string, Sightings>()
  #toldRow = false

  constructor(gauge: ReplicationLagGauge, retentionMillis: number) {
    this.#gauge = gauge
    this.#retentionMillis = retentionMillis
  }

  /**
   * Takes a reading over into the lag map. A row that makes no sense is left out, told and counted by the map; the
   * others are taken.
   *
   * @param now milliseconds of a monotonic clock.
   * @throws TypeError if it is no reading at all; the map is as before then.
   */
  apply(reading: ReplicationReading, now: number): void {
    const shards = (reading as Partial<ReplicationReading> | null | undefined)?.shards
    if (!Array.isArray(shards)) {
      throw new TypeError(`expected a reading with an array of shards, got ${show(reading)}`)
    }
    for (const shard of shards as ShardReading[]) {
      if (isObject(shard) && Array.isArray(shard.followers)) this.#applyShard(shard, now)
      else this.#refuse('a shard with an array of followers', shard)
    }
    this.#forget(now)
  }

  #applyShard({ shard, leaderSeqno, followers }: ShardReading, now: number): void {
    const name = parseName(shard)
    let sightings = name === undefined ? undefined : this.#shards.get(name)
    for (const follower of followers) {
      if (!isObject(follower)) {
        this.#refuse('a follower', follower)
        continue
      }
      if (!this.#applyFollower(shard, follower, sightings)) continue
      sightings ??= new Map<string | undefined, number>()
      sightings.set(replicaName(follower), now)
    }
    if (name === undefined || !sightings) return
    this.#shards.set(name, sightings)
    // Without a follower, known now or before, a leader seqno would read as the lag of one that has applied nothing.
    this.#gauge.updateLeaderSeqno(name, leaderSeqno)
  }

  /** @returns whether the follower is one that is measured. */
  #applyFollower(
    shard: ShardReading['shard'],
    follower: FollowerReading,
    sightings: Sightings | undefined,
  ): boolean {
    const { replica, appliedSeqno } = follower
    if (appliedSeqno === undefined) return sightings?.has(replicaName(follower)) ?? false
    this.#gauge.updateAppliedSeqno(shard, appliedSeqno, replica)
    return (
      parseName(shard) !== undefined &&
      parseSeqno(appliedSeqno) !== undefined &&
      (replica === undefined || parseName(replica) !== undefined)
    )
  }

  #refuse(expected: string, row: unknown): void {
    if (!this.#toldRow) tell('warn', `reading: expected ${expected}, got ${show(row)} (told once)`)
    this.#toldRow = true
  }

  #forget(now: number): void {
    for (const [shard, sightings] of this.#shards) {
      for (const [replica, seenAt] of sightings) {
        if (seenAt === now || now - seenAt < this.#retentionMillis) continue
        sightings.delete(replica)
        if (replica !== undefined) this.#gauge.remove(shard, replica)
      }
      if (sightings.size > 0) continue
      this.#shards.delete(shard)
      this.#gauge.remove(shard)
    }
  }
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}

function replicaName({ replica }: FollowerReading): string | undefined {
  return replica === undefined ? undefined : parseName(replica)
}
