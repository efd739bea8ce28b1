import { hasMethods } from '../../support/option-errors.js'
import { fieldError, integer, parseFields, required, text } from '../shared/fields.js'

/** What a group has committed for a partition: nothing if there is no offset. */
export interface Commit {
  readonly group: string
  readonly topic: string
  readonly partition: number
  readonly offset: bigint | undefined
}

/** The log of a partition. */
export interface Log {
  readonly topic: string
  readonly partition: number
  readonly start: bigint
  readonly end: bigint
  /** Whether it ends at the last stable offset, before open transactions. */
  readonly endsAtStable: boolean
  /** Identifies the topic, also if another one gets its name. */
  readonly topicId?: string
  /** The broker that leads, and all that have a copy. */
  readonly leader?: number
  readonly replicas?: readonly number[]
}

/** Offsets by the keys of partitions. */
export type Offsets = ReadonlyMap<string, bigint>

/** What the source needs of a client. */
export interface KafkaClient {
  listTopics(): Promise<readonly string[]>
  readCommits(groups: readonly string[]): Promise<Commit[]>
  /** Reads the logs of all partitions of these topics, their ends last. */
  readLogs(topics: readonly string[], commits: readonly Commit[]): Promise<Log[]>
}

export function keyOf({ topic, partition }: Pick<Log, 'topic' | 'partition'>): string {
  return `${topic}/${partition}`
}

export function byTopic<T>(
  partitions: readonly Pick<Log, 'topic' | 'partition'>[],
  toRow: (partition: number) => T,
): { name: string; partitions: T[] }[] {
  const topics = new Map<string, T[]>()
  for (const { topic, partition } of partitions) {
    const rows = topics.get(topic) ?? []
    rows.push(toRow(partition))
    topics.set(topic, rows)
  }
  return [...topics].map(([name, rows]) => ({ name, partitions: rows }))
}

/** Parses the topics of an answer to ListOffsets. */
export function parseOffsets(topics: unknown): Offsets {
  const entries = list('topics', topics, (each) => {
    const { name: topic, partitions } = parseFields(NAMED_TOPIC, each)
    return list('partitions', partitions, (row): [string, bigint] => {
      const { partitionIndex: partition, offset } = parseFields(OFFSET, row)
      return [keyOf({ topic, partition }), offset]
    })
  })
  return new Map(entries.flat())
}

/** Parses the names of topics. */
export function parseTopics(topics: unknown): string[] {
  return list('topics', topics, (topic) => required(text)(topic, 'topic'))
}

export function list<T>(
  name: string,
  value: unknown,
  parse: (each: unknown, index: number) => T,
): T[] {
  if (!Array.isArray(value)) throw fieldError(name, value)
  return (value as unknown[]).map(parse)
}

/** A number of a partition. */
export function index(value: unknown, name: string): number {
  return Number(required(integer)(value, name))
}

/** A committed offset. Kafka answers −1 if the group has committed nothing. */
export function committed(value: unknown, name: string): bigint | undefined {
  const isNone = value === '-1' || value === -1n
  return isNone ? undefined : required(integer)(value, name)
}

export function map(value: unknown, name: string): ReadonlyMap<unknown, unknown> {
  // Not `instanceof`, because the Map can come from another realm, as in Jest.
  if (!hasMethods(value, 'get', 'has')) throw fieldError(name, value)
  return value as ReadonlyMap<unknown, unknown>
}

export function unparsed(value: unknown): unknown {
  return value
}

export const NAMED_TOPIC = { name: required(text), partitions: unparsed }
const OFFSET = { partitionIndex: index, offset: required(integer) }
