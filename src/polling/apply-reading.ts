import type { Feed, Follower, Leader } from '../lag-map/feed.js'
import type { Feeds } from '../lag-map/feeds.js'
import { EXPECTED_SEQNO, parseSeqno } from '../lag-map/seqno.js'
import type { Sampling } from '../lag-map/seqno-history.js'
import type { FollowerReading, ReplicationReading, ShardReading } from '../sources/source.js'
import { formatValue, log } from '../support/log.js'
import { EXPECTED_NAME, parseName } from '../support/names.js'

/** How often to read, how long a read may take, and how long to keep a follower that has disconnected. */
export type PollTimes = Readonly<
  Record<'pollIntervalMillis' | 'pollTimeoutMillis' | 'retentionMillis', number>
>

/**
 * Replaces what a source said before by a new reading. An invalid row is left out, counted, and logged once for each kind.
 * @throws TypeError if it is not a reading at all. Nothing has changed then.
 */
export function applyReading(
  feeds: Feeds,
  feed: Feed,
  reading: ReplicationReading,
  times: PollTimes,
): void {
  const rows = (reading as Partial<ReplicationReading> | null | undefined)?.shards
  if (!Array.isArray(rows)) {
    throw new TypeError(`expected a reading with an array of shards, got ${formatValue(reading)}`)
  }
  new ReadingWriter(feeds, feed, times).write([...(rows as readonly ShardReading[])])
}

/** Thrown to leave out a row, once it has been counted and logged. */
const INVALID_ROW = new Error('the row is invalid')

/** Writes one reading into its feed. */
class ReadingWriter {
  /** Stands for this reading: leaders and followers refer to the one that they were last in. */
  private readonly sampling: Sampling = { at: performance.now() }

  constructor(
    private readonly feeds: Feeds,
    private readonly feed: Feed,
    private readonly times: PollTimes,
  ) {}

  write(rows: readonly ShardReading[]): void {
    const { feed, times, sampling } = this
    for (const row of rows) this.attempt('shards', () => this.writeShard(row))
    this.disconnectOthers()
    feed.isUp = true
    feed.lastSuccessSeconds = Date.now() / 1000
    feed.readAt = sampling.at
    const freshMillis = 3 * times.pollIntervalMillis + times.pollTimeoutMillis
    feed.freshUntil = sampling.at + Math.max(15_000, freshMillis)
  }

  private writeShard(row: ShardReading): void {
    const { shard: id, leaderSeqno, followers, removed = [], epoch } = row
    const { feed, sampling } = this
    const shard = this.expect('shard', parseName(id), EXPECTED_NAME, id)
    const seqno = this.expect('leaderSeqno', parseSeqno(leaderSeqno), EXPECTED_SEQNO, leaderSeqno)
    const rows = this.copyArray('followers', followers)
    const removedIds = this.copyArray('removed', removed)
    this.expectText('epoch', epoch)
    const known = feed.leaders.get(shard)
    const isFirst = known?.lastSampled !== sampling
    this.expectTrue('shard', isFirst, 'one row for each shard', shard)
    const isSameHistory = known?.epoch === epoch
    if (known && !isSameHistory) feed.removeShard(shard)
    const leader = known && isSameHistory ? known : feed.addLeader(shard)
    leader.epoch = epoch
    for (const each of rows) this.attempt('followers', () => this.writeFollower(shard, each))
    for (const replica of removedIds) this.attempt('removed', () => this.remove(shard, replica))
    leader.store(seqno)
    leader.note(seqno, this.slowestSeqno(leader), sampling)
  }

  private writeFollower(shard: string, row: FollowerReading): void {
    this.expectTrue('followers', typeof row === 'object', 'objects', row)
    const { replica, connected = true, problem, ...positions } = row
    const name = parseName(replica)
    if (replica !== undefined) this.expect('replica', name, EXPECTED_NAME, replica)
    this.expectTrue('connected', typeof connected === 'boolean', 'a boolean', connected)
    this.expectText('problem', problem)
    const table = this.feed.followers
    const known = table.find(shard, name)
    // One that comes back after its retention time is a new one.
    const isExpired = known?.isExpired(this.sampling.at)
    if (isExpired) table.remove(known)
    const follower = known && !isExpired ? known : table.add(shard, name)
    this.expectTrue('replica', !this.isInReading(follower), 'one row for each follower', name)
    const appliedSeqno = this.parsePosition('appliedSeqno', positions.appliedSeqno)
    if (appliedSeqno !== undefined) follower.store(appliedSeqno)
    if (problem !== undefined && problem !== follower.status?.problem) {
      const of = `${name === undefined ? '' : ` ${formatValue(name)}`} of shard ${formatValue(shard)}`
      log('warn', `source ${formatValue(this.feed.name)}: follower${of}: ${problem}`)
    }
    follower.status = {
      connected,
      receivedSeqno: this.parsePosition('receivedSeqno', positions.receivedSeqno),
      retainedSeqno: this.parsePosition('retainedSeqno', positions.retainedSeqno),
      problem,
      reading: this.sampling,
      keepUntil: undefined,
    }
  }

  private remove(shard: string, replica: unknown): void {
    const name = this.expect('removed', parseName(replica), EXPECTED_NAME, replica)
    const follower = this.feed.followers.find(shard, name)
    if (follower && !this.isInReading(follower)) this.feed.followers.remove(follower)
  }

  private isInReading({ status }: Follower): boolean {
    return status?.reading === this.sampling
  }

  /** What the slowest follower has applied that is compared with a leader, also of other feeds. */
  private slowestSeqno(leader: Leader): bigint | undefined {
    const isNoted = leader.slowestNoted && leader.slowestNoted === this.feeds.lastSampling
    let slowest = isNoted ? leader.slowestSeqno : undefined
    for (const follower of this.feed.followers.of(leader.shard)) {
      const applied = follower.load()
      if (applied !== undefined && (slowest === undefined || applied < slowest)) slowest = applied
    }
    return slowest
  }

  /** A follower that is not in the reading has disconnected. A leader goes once its shard has no follower left. */
  private disconnectOthers(): void {
    const { feed, sampling } = this
    for (const shard of feed.followers.shards.keys()) {
      for (const follower of feed.followers.of(shard)) {
        const { status } = follower
        if (!status || this.isInReading(follower)) continue
        status.connected = false
        status.keepUntil ??= sampling.at + this.times.retentionMillis
        if (follower.isExpired(sampling.at)) feed.followers.remove(follower)
      }
    }
    for (const [shard, { lastSampled }] of feed.leaders) {
      const isInReading = lastSampled === sampling
      if (!isInReading && !feed.followers.shards.has(shard)) feed.removeLeader(shard)
    }
  }

  /** An invalid position counts as unknown. */
  private parsePosition(field: string, value: unknown): bigint | undefined {
    const seqno = parseSeqno(value)
    if (seqno === undefined && value !== undefined) this.reject(field, EXPECTED_SEQNO, value)
    return seqno
  }

  private attempt(field: string, write: () => void): void {
    try {
      write()
    } catch (error) {
      // The row is not an object, or has a getter that throws.
      if (error !== INVALID_ROW) this.reject(field, 'rows that can be read', error)
    }
  }

  private expect<T>(field: string, parsed: T | undefined, expected: string, value: unknown): T {
    if (parsed !== undefined) return parsed
    this.reject(field, expected, value)
    throw INVALID_ROW
  }

  /** A copy: an array that throws while it is read must do so before anything is written. */
  private copyArray<T>(field: string, value: readonly T[]): T[] {
    const copy = Array.isArray(value) ? [...(value as readonly T[])] : undefined
    return this.expect(field, copy, 'an array', value)
  }

  private expectText(field: string, value: unknown): void {
    this.expectTrue(field, value === undefined || typeof value === 'string', 'a string', value)
  }

  private expectTrue(field: string, isValid: boolean, expected: string, value: unknown): void {
    this.expect(field, isValid || undefined, expected, value)
  }

  private reject(field: string, expected: string, value: unknown): void {
    const source = `source ${formatValue(this.feed.name)}`
    this.feeds.rejected.reject(
      `${source} ${field} ${expected}`,
      () => `${source}: ${field}: expected ${expected}, got ${formatValue(value)}`,
    )
  }
}
