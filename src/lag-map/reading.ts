import { describeError, formatValue } from '../support/log.js'
import { EXPECTED_NAME, parseName, type ReplicaId, type ShardId } from '../support/names.js'
import type { FollowerStatus, ParsedMoment } from './feed.js'
import { EXPECTED_SEQNO, parseSeqno, type Seqno } from './seqno.js'

/** What a source found in one read. It replaces what the source found before. */
export interface ReplicationReading {
  /** Every shard that the source sees. */
  readonly shards: readonly ShardReading[]
  /**
   * Whether the source sees everything that exists. Then a shard or follower that is missing was removed, and is no longer
   * reported. Otherwise a missing follower has disconnected: it keeps its last position until the retention time is over.
   * @default false
   */
  readonly complete?: boolean | undefined
  /** Explains an empty reading. It is logged at debug level when it changes. */
  readonly note?: string | undefined
}

/** One shard in a reading. */
export interface ShardReading {
  readonly shard: ShardId
  /**
   * The newest seqno in the leader's log. Read it after the followers' positions: a follower that was read later can look
   * as if it were ahead. Leave it out while it cannot be read: the shard then becomes stale, and the others do not.
   */
  readonly leaderSeqno?: Seqno | undefined
  /**
   * Whether `leaderSeqno` is that of a node that follows another one itself, such as a cascading standby. A source that
   * reads the shard's leader then comes first for `replication_leader_seqno` and for followers without a leader.
   * @default false
   */
  readonly cascading?: boolean | undefined
  /**
   * Names the history that the seqnos belong to, if the system has such a name: a term, a timeline, a replication id.
   * When it changes, the shard starts from scratch, because positions of two histories are not comparable.
   */
  readonly epoch?: string | undefined
  /** Every follower that the system knows. */
  readonly followers: readonly FollowerReading[]
  /** Followers of earlier readings that were removed, for a source whose readings are not `complete`. Default: none. */
  readonly removed?: readonly ReplicaId[] | undefined
  /** What is wrong with the shard, and what to do. It is logged as a warning when it changes. */
  readonly problem?: string | undefined
}

/** One follower in a reading. */
export interface FollowerReading {
  /** Its name, the same in every reading. Leave it out where the shard can have only one follower. */
  readonly replica?: ReplicaId | undefined
  /** The newest seqno that it has applied. Leave it out while it is unknown: the follower keeps its last known one. */
  readonly appliedSeqno?: Seqno | undefined
  /**
   * Where the leader was when `appliedSeqno` was read. Give it where nodes answer at different times: the lag is measured
   * from it, so that a node that is slow to answer does not make the others look late.
   * @default the shard's `leaderSeqno`, now
   */
  readonly comparedWith?: LeaderMoment | undefined
  /**
   * Where `appliedSeqno` is a count and not a place in the log: the seqno up to which everything has been applied. The lag
   * in seconds is measured from it.
   * @default appliedSeqno
   */
  readonly appliedUpTo?: Seqno | undefined
  /**
   * Whether its position cannot be compared with its leader's: it is ahead, or on another history. It then has no lag and
   * counts as not connected.
   * @default false
   */
  readonly diverged?: boolean | undefined
  /** The newest seqno that it has received, applied or not, where the system knows it. */
  readonly receivedSeqno?: Seqno | undefined
  /** The oldest seqno that the leader keeps in its log for this follower, where the system knows it. */
  readonly retainedSeqno?: Seqno | undefined
  /**
   * Whether it is connected to its leader.
   * @default true
   */
  readonly connected?: boolean | undefined
  /** What is wrong with it, and what to do. It is logged as a warning when it changes. */
  readonly problem?: string | undefined
}

/** Where a leader was at one moment. */
export interface LeaderMoment {
  readonly leaderSeqno: Seqno
  /** In milliseconds, as `performance.now()`. */
  readonly at: number
}

/** @internal A valid reading. */
export interface ParsedReading {
  readonly shards: readonly ParsedShard[]
  readonly isComplete: boolean
  readonly note: string | undefined
}

/** @internal */
export interface ParsedShard {
  readonly shard: string
  readonly leaderSeqno: bigint | undefined
  readonly isCascading: boolean
  readonly epoch: string | undefined
  readonly followers: readonly ParsedFollower[]
  readonly removed: readonly string[]
  readonly problem: string | undefined
}

/** @internal */
export interface ParsedFollower {
  readonly replica: string | undefined
  readonly appliedSeqno: bigint | undefined
  /** Becomes the status of the follower. */
  readonly status: FollowerStatus
}

/** @internal @throws TypeError that names the shard, the follower and the field if the reading is not valid. */
export function parseReading(reading: ReplicationReading): ParsedReading {
  const { shards, complete, note } = expectObject(reading, 'reading')
  const rows = expectArray('shards', shards)
  const parsed = rows.map((row, index) => parseShard(row as ShardReading, index))
  expectDistinct(
    'shard',
    parsed.map(({ shard }) => shard),
  )
  return {
    shards: parsed,
    isComplete: expectBoolean('complete', complete) ?? false,
    note: expectString('note', note),
  }
}

function parseShard(row: ShardReading, index: number): ParsedShard {
  const fields = expectObject(row, 'shards', index)
  const shard = expectName('shard', fields.shard)
  try {
    const followers = expectArray('followers', fields.followers).map((follower, index) =>
      parseFollower(follower as FollowerReading, index),
    )
    if (followers.length > 1)
      expectDistinct(
        'replica',
        followers.map(({ replica }) => replica),
      )
    const removed = fields.removed === undefined ? [] : expectArray('removed', fields.removed)
    return {
      shard,
      leaderSeqno: expectSeqno('leaderSeqno', fields.leaderSeqno),
      isCascading: expectBoolean('cascading', fields.cascading) ?? false,
      epoch: expectString('epoch', fields.epoch),
      followers,
      removed: removed.map((replica) => expectName('removed', replica)),
      problem: expectString('problem', fields.problem),
    }
  } catch (error) {
    throw within(`shard ${formatValue(shard)}`, error)
  }
}

function parseFollower(row: FollowerReading, index: number): ParsedFollower {
  const fields = expectObject(row, 'followers', index)
  const { replica: id } = fields
  const replica = id === undefined ? undefined : expectName('replica', id)
  try {
    const isDiverged = expectBoolean('diverged', fields.diverged) ?? false
    return {
      replica,
      appliedSeqno: expectSeqno('appliedSeqno', fields.appliedSeqno),
      status: {
        isConnected: (expectBoolean('connected', fields.connected) ?? true) && !isDiverged,
        isDiverged,
        comparedWith: parseMoment(fields.comparedWith),
        appliedUpTo: expectSeqno('appliedUpTo', fields.appliedUpTo),
        receivedSeqno: expectSeqno('receivedSeqno', fields.receivedSeqno),
        retainedSeqno: expectSeqno('retainedSeqno', fields.retainedSeqno),
        problem: expectString('problem', fields.problem),
        reading: undefined,
        keepUntil: undefined,
      },
    }
  } catch (error) {
    throw within(replica === undefined ? 'follower' : `follower ${formatValue(replica)}`, error)
  }
}

function parseMoment(moment: LeaderMoment | undefined): ParsedMoment | undefined {
  if (moment === undefined) return undefined
  const { leaderSeqno, at } = expectObject(moment, 'comparedWith')
  const seqno = parseSeqno(leaderSeqno)
  if (seqno === undefined) throw fault('comparedWith.leaderSeqno', EXPECTED_SEQNO, leaderSeqno)
  if (typeof at === 'number' && at >= 0 && at < Infinity) return { leaderSeqno: seqno, at }
  throw fault('comparedWith.at', 'a time as performance.now()', at)
}

/** `Partial`, because what a source returns is not checked by its types. */
function expectObject<T extends object>(value: T, field: string, index?: number): Partial<T> {
  if (typeof value === 'object' && (value as T | null) !== null) return value
  throw fault(index === undefined ? field : `${field}[${index}]`, 'an object', value)
}

function expectArray(field: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw fault(field, 'an array', value)
}

function expectName(field: string, value: unknown): string {
  const name = parseName(value)
  if (name !== undefined) return name
  throw fault(field, EXPECTED_NAME, value)
}

function expectSeqno(field: string, value: unknown): bigint | undefined {
  const seqno = parseSeqno(value)
  if (seqno !== undefined || value === undefined) return seqno
  throw fault(field, EXPECTED_SEQNO, value)
}

function expectBoolean(field: string, value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  throw fault(field, 'a boolean', value)
}

function expectString(field: string, value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value
  throw fault(field, 'a string', value)
}

function expectDistinct(field: string, names: readonly (string | undefined)[]): void {
  const distinct = new Set(names)
  if (distinct.size === names.length) return
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  throw fault(field, 'one entry for each', twice)
}

function fault(field: string, expected: string, value: unknown): TypeError {
  return new TypeError(`${field}: expected ${expected}, got ${formatValue(value)}`)
}

function within(place: string, error: unknown): Error {
  return new TypeError(`${place}: ${describeError(error)}`)
}
