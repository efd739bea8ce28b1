import { fieldError } from '../shared/fields.js'
import {
  createPartition,
  fieldsOf,
  index,
  isFailure,
  list,
  parseOffset,
  type Cluster,
  type Failure,
  type Partition,
  type Topic,
} from './answer.js'
import type { KafkajsAdmin } from './clients.js'
import { isUnreachable } from './errors.js'
import { Parts, type Deadline } from './parts.js'

/**
 * Reads topics through `kafkajs`. It refuses the metadata of all topics that it asks for because of one that was deleted or has
 * a partition without a leader, and it asks for every topic whose offsets it was ever asked for.
 */
export class KafkajsTopics {
  private admin: KafkajsAdmin | undefined
  /** Whether the client has not been asked for topics yet. */
  private isNew = true
  /** The topics of the last read, and those of them that could be read. */
  private known: ReadonlySet<string> = new Set()
  private readable: ReadonlySet<string> = new Set()
  private refreshing: Promise<unknown> | undefined
  private seeding: Promise<void> | undefined
  private readonly checks = new Parts<readonly string[], unknown>((topics) => this.check(topics))
  private readonly logs = new Parts<number, Topic>((count, topic) => this.askLogs(topic, count))

  /** @param onFailure is called with the reason why a topic without a fault could not be read. */
  constructor(private readonly onFailure: (error: unknown) => void) {}

  /** Uses a client that knows no topic. */
  use(admin: KafkajsAdmin): void {
    this.admin = admin
    this.seeding = undefined
    this.isNew = true
    for (const parts of [this.checks, this.logs]) parts.reopen()
  }

  async read(
    names: readonly string[],
    groups: Cluster['groups'],
    deadline: Deadline,
  ): Promise<Map<string, Topic | Failure>> {
    const failures = await this.findUnreadable(names, deadline)
    const counts = countPartitions(groups)
    const parts = names.filter((topic) => !failures.has(topic))
    const logs = await this.logs.read(
      new Map(parts.map((topic) => [topic, counts.get(topic) ?? 0])),
      deadline,
    )
    const topics = new Map<string, Topic | Failure>()
    const readable = new Set<string>()
    for (const topic of names) {
      const outcome = logs.get(topic)
      if (outcome?.error !== undefined) this.onFailure(outcome.error)
      topics.set(topic, outcome?.answer ?? outcome ?? { error: failures.get(topic) })
      if (outcome?.answer) readable.add(topic)
    }
    this.isNew = false
    this.known = new Set(names)
    this.readable = readable
    return topics
  }

  /** Asks a question that the client answers only if it knows the brokers. */
  async ask<T>(question: (admin: KafkajsAdmin) => Promise<T>): Promise<T> {
    const admin = this.admin as KafkajsAdmin
    await (this.seeding ??= this.seed(admin))
    try {
      return await question(admin)
    } catch (error) {
      if (!isUnreachable(error)) throw error
      // The client asks any broker, so another one may answer.
      return question(admin)
    }
  }

  /**
   * Lets the client ask for the offsets of a topic that can be read. Otherwise it asks for all topics of the cluster when it
   * looks up the brokers.
   */
  private async seed(admin: KafkajsAdmin): Promise<void> {
    for (const topic of [...[...this.readable].slice(0, 5), '__consumer_offsets']) {
      try {
        await admin.fetchTopicMetadata?.({ topics: [topic] })
        await admin.fetchTopicOffsets(topic)
        return
      } catch {
        // Another topic may do.
      }
    }
  }

  /** Finds topics whose metadata the client refuses, before it is asked for their offsets. */
  private async findUnreadable(
    names: readonly string[],
    deadline: Deadline,
  ): Promise<Map<string, unknown>> {
    const { known, readable, isNew } = this
    const added = names.filter((each) => (readable.has(each) ? isNew : !known.has(each)))
    const parts = new Map<string, readonly string[]>()
    for (const each of names) if (known.has(each) && !readable.has(each)) parts.set(each, [each])
    if (added.length > 0) parts.set('', added)
    let checks = await this.checks.read(parts, deadline)
    if (checks.get('')?.error !== undefined) {
      for (const topic of added) parts.set(topic, [topic])
      parts.delete('')
      checks = await this.checks.read(parts, deadline)
    }
    const failures = new Map<string, unknown>()
    for (const [topic, { error }] of checks) if (error !== undefined) failures.set(topic, error)
    return failures
  }

  private async check(topics: readonly string[]): Promise<void> {
    await this.admin?.fetchTopicMetadata?.({ topics: [...topics] })
  }

  /** @param count how many partitions the topic has at least. */
  private async askLogs(topic: string, count: number): Promise<Topic> {
    const ask = async () => parseLogs(await this.admin?.fetchTopicOffsets(topic))
    const partitions = await ask().catch(async (error: unknown) => {
      if (fieldsOf(error)['type'] !== 'NOT_LEADER_FOR_PARTITION') throw error
      await this.refresh()
      return ask()
    })
    if (partitions.length >= count) return { partitions }
    await this.refresh()
    return { partitions: await ask() }
  }

  /** Partitions and their leaders are remembered for minutes. This is the call that looks them up again. */
  private async refresh(): Promise<void> {
    this.refreshing ??= this.admin?.listGroups().finally(() => (this.refreshing = undefined))
    await this.refreshing
  }
}

/** Whether the metadata of all topics was refused because of one of them. */
export function isAboutMetadata(error: unknown): boolean {
  const { type, cause } = fieldsOf(error)
  if (type === 'LEADER_NOT_AVAILABLE' || type === 'UNKNOWN_TOPIC_OR_PARTITION') return true
  return cause !== undefined && isAboutMetadata(cause)
}

/** Returns how many partitions each topic has at least. */
function countPartitions(groups: Cluster['groups']): Map<string, number> {
  const counts = new Map<string, number>()
  for (const group of groups.values()) {
    if (isFailure(group)) continue
    for (const [topic, offsets] of group.commits) {
      counts.set(topic, Math.max(counts.get(topic) ?? 0, offsets.length))
    }
  }
  return counts
}

/** Parses an answer of `fetchTopicOffsets`. */
function parseLogs(rows: unknown): Partition[] {
  const partitions = list(rows, 'offsets').map((row) => {
    const { partition, low, high } = fieldsOf(row)
    const log = createPartition(index(partition, 'partition'))
    log.start = offset(low, 'low')
    log.end = offset(high, 'high')
    return log
  })
  return partitions.sort((a, b) => a.partition - b.partition)
}

function offset(value: unknown, field: string): bigint {
  const parsed = parseOffset(value)
  if (parsed === null || parsed < 0n) throw fieldError(field, value)
  return parsed
}
