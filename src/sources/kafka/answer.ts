import { parseName } from '../../support/names.js'
import { hasMethods } from '../../support/option-errors.js'
import { fieldError } from '../shared/fields.js'
import { append } from '../shared/groups.js'

/** What a source wants to know. */
export interface Question {
  /** Default: all groups. */
  readonly groups: readonly string[] | undefined
  /** Default: the topics that the groups consume. */
  readonly topics: readonly string[] | undefined
}

/** What a client has found. */
export interface Cluster {
  readonly groups: ReadonlyMap<string, Group | Failure>
  readonly topics: ReadonlyMap<string, Topic | Failure>
  readonly consumers: Consumers
  /** Why the list of groups cannot be read. */
  readonly listFailure?: unknown
  /** Groups that are listed, but have no commits to report. */
  readonly shareGroups?: readonly string[]
}

/** Something that cannot be read. */
export interface Failure {
  readonly error: unknown
}

/** A consumer group. */
export interface Group {
  readonly commits: Offsets
  /** It is `undefined` where the client cannot find out. */
  readonly hasMembers: boolean | undefined
  /** Why it cannot find out, if there is a reason. */
  readonly membersError?: unknown
  /** What its members have subscribed to, as far as the client can find out. */
  readonly subscribed: readonly string[]
}

/** Offsets of partitions by their numbers, by topic. An invalid one is `null`. */
export type Offsets = ReadonlyMap<string, readonly Offset[]>
export type Offset = bigint | null | Failure | undefined

export interface Topic {
  /** Identifies the topic, even if another one gets its name. */
  readonly id?: string | undefined
  readonly partitions: readonly Partition[]
}

/** One partition. Its log is read again and again. */
export interface Partition {
  readonly topic: string
  readonly partition: number
  /** The broker that leads. It is -1 if there is none. */
  readonly leader: number
  /** All brokers that have a copy. */
  readonly replicas: readonly number[]
  /** The offset at which the log starts, and the one at which it ends for consumers. */
  start: bigint
  end: bigint | undefined
  /** The offset at which it ends beyond open transactions, where the client can ask for that. */
  highWatermark: bigint | undefined
  /** Why there is no end. */
  error: unknown
}

export function createPartition(
  topic: string,
  partition: number,
  leader = -1,
  replicas: readonly number[] = [],
): Partition {
  const [end, highWatermark, error] = [undefined, undefined, undefined]
  return { topic, partition, leader, replicas, start: 0n, end, highWatermark, error }
}

interface QuestionRow {
  readonly name: string
  readonly partitions: { partitionIndex: number; currentLeaderEpoch: -1; timestamp: bigint }[]
}

/** Returns the rows of a question about partitions, of which those of a topic follow each other. */
export function toQuestion(partitions: readonly Partition[], timestamp: bigint): QuestionRow[] {
  const rows: QuestionRow[] = []
  for (const { topic, partition: partitionIndex } of partitions) {
    let row = rows.at(-1)
    if (row?.name !== topic) rows.push((row = { name: topic, partitions: [] }))
    row.partitions.push({ partitionIndex, currentLeaderEpoch: -1, timestamp })
  }
  return rows
}

export function isFailure(value: object): value is Failure {
  return 'error' in value
}

/** A group that consumes a topic. */
export interface Consumer extends Pick<Group, 'hasMembers'> {
  readonly replica: string
  /** They are not known if the group cannot be read. */
  readonly offsets: readonly Offset[] | undefined
}

/** The groups to report for each topic. */
export type Consumers = ReadonlyMap<string, readonly Consumer[]>

/** Adds the groups that consumed something to those that are listed: a broker hides groups that the user may not describe. */
export function withKnown(listed: Iterable<string>, last: Consumers): string[] {
  const names = new Set(listed)
  for (const all of last.values()) for (const { replica } of all) names.add(replica)
  return [...names]
}

/**
 * Finds the groups to report for each topic: those that consume it, or each one if both are named.
 *
 * @param last those of the last read. A group that cannot be read still consumes what it did then.
 * @param isDenied whether the user may not describe a topic. Kafka then hides the commits in it.
 */
export function findConsumers(
  { groups, topics }: Question,
  found: Cluster['groups'],
  last: Consumers,
  isDenied: (topic: string) => boolean,
): Consumers {
  const consumers = new Map<string, Consumer[]>()
  for (const [replica, group] of found) {
    if (isFailure(group)) continue
    const { commits, hasMembers, subscribed } = group
    const add = (topic: string) =>
      append(consumers, topic, { replica, hasMembers, offsets: commits.get(topic) ?? [] })
    if (groups && topics) topics.forEach(add)
    else {
      for (const topic of commits.keys()) add(topic)
      for (const topic of subscribed) if (!commits.has(topic)) add(topic)
    }
  }
  for (const [topic, all] of last) {
    const isHidden = !consumers.has(topic) && isDenied(topic)
    for (const { replica } of all) {
      const group = found.get(replica)
      const isUnread = group && (isHidden || isFailure(group))
      if (isUnread) append(consumers, topic, { replica, hasMembers: false, offsets: undefined })
    }
  }
  return consumers
}

const [MIN, MAX] = [-(2n ** 63n), 2n ** 64n - 1n]

/** Returns the offset, which can be negative, or `null` if it is not one. */
export function parseOffset(value: unknown): bigint | null {
  if (typeof value === 'bigint') return value >= MIN && value <= MAX ? value : null
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : null
  if (typeof value !== 'string' || !/^-?\d{1,20}$/.test(value)) return null
  return parseOffset(BigInt(value))
}

/**
 * Adds the offsets of the partitions of one topic.
 *
 * @param errorAt finds what the broker says about a row that it could not answer.
 */
export function addOffsets(
  all: Map<string, Offset[]>,
  topic: string,
  rows: readonly unknown[],
  [partitionField, offsetField]: readonly [string, string],
  errorAt?: (row: number) => unknown,
): void {
  const offsets = all.get(topic) ?? []
  all.set(topic, offsets)
  // There can be ten thousands.
  for (let i = 0; i < rows.length; i++) {
    const fields = fieldsOf(rows[i])
    const partition = index(fields[partitionField], partitionField)
    const { errorCode = 0 } = fields
    if (errorCode === 0) offsets[partition] = parseOffset(fields[offsetField])
    else offsets[partition] = { error: errorAt?.(i) ?? `error ${String(errorCode)}` }
  }
}

/** Returns whether an offset is a position in a log. A broker that has none answers -1. */
export function isPosition(offset: Offset): offset is bigint {
  return typeof offset === 'bigint' && offset >= 0n
}

/** A number of a partition, or the id of a broker. */
export function index(value: unknown, name: string): number {
  if (Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 31) return Number(value)
  throw fieldError(name, value)
}

/** The fields of something that may not be an object. */
export function fieldsOf(value: unknown): Partial<Record<string, unknown>> {
  return Object(value) as Partial<Record<string, unknown>>
}

export function list(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw fieldError(name, value)
  return value as unknown[]
}

export function name(value: unknown, field: string): string {
  const text = typeof value === 'string' ? parseName(value) : undefined
  if (text === undefined) throw fieldError(field, value)
  return text
}

export function map(value: unknown, field: string): ReadonlyMap<unknown, unknown> {
  // Not `instanceof`, because the Map can come from another realm, as in Jest.
  if (!hasMethods(value, 'get', 'has', 'keys')) throw fieldError(field, value)
  return value as ReadonlyMap<unknown, unknown>
}

/** Returns the topics that members of a group have subscribed to, from their metadata: a version, and an array of strings. */
export function parseSubscriptions(members: readonly unknown[]): string[] {
  const topics = new Set<string>()
  for (const member of members) {
    const { memberMetadata: metadata } = fieldsOf(member)
    if (!(metadata instanceof Uint8Array)) continue
    const bytes = Buffer.from(metadata.buffer, metadata.byteOffset, metadata.byteLength)
    try {
      let at = 6
      for (let left = bytes.readInt32BE(2); left > 0; left--) {
        const end = at + 2 + bytes.readUInt16BE(at)
        if (end > bytes.length) break
        topics.add(bytes.toString('utf8', at + 2, end))
        at = end
      }
    } catch {
      // A member that is joining has no metadata, and other kinds of groups have some of another form.
    }
  }
  return [...topics].filter((topic) => parseName(topic) !== undefined)
}

/** The topics in an answer, with their places and their rows of partitions. */
export function topicsIn(
  rows: readonly unknown[],
  field: 'name' | 'topic' = 'name',
): (readonly [number, string, readonly unknown[]])[] {
  return rows.map((row, i) => {
    const fields = fieldsOf(row)
    return [i, name(fields[field], field), list(fields['partitions'], 'partitions')]
  })
}
