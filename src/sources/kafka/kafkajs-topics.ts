import { fieldError } from '../shared/fields.js'
import {
  createPartition,
  fieldsOf,
  index,
  list,
  parseOffset,
  type Consumer,
  type Consumers,
  type Failure,
  type Partition,
  type Topic,
} from './answer.js'
import type { KafkajsAdmin } from './clients.js'
import { isDenied } from './errors.js'
import { Batches, Parts, pause, type Deadline } from './parts.js'

/**
 * Reads topics through `kafkajs`. It refuses the metadata of all topics that it asks for because of one that was deleted or has
 * a partition without a leader, and it asks for every topic whose offsets it was ever asked for.
 */
export class KafkajsTopics {
  private admin: KafkajsAdmin | undefined
  /** Whether the client has not been asked for topics yet. */
  private isNew = true
  /** The topics that could be read the last time. */
  private readable: ReadonlySet<string> = new Set()
  private refreshing: Promise<unknown> | undefined
  private seeded: KafkajsAdmin | undefined
  private readonly checks = new Batches<string, unknown>((topics) => this.check(topics), Infinity)
  private readonly gone = new Batches<string, unknown>((topics) => this.check(topics), Infinity)
  private readonly logs = new Parts<number, Topic>((count, topic) => this.askLogs(topic, count))

  /** @param onFailure is called with the reason why a topic without a fault could not be read. */
  constructor(private readonly onFailure: (error: unknown) => void) {}

  /** Uses a client that knows no topic. */
  use(admin: KafkajsAdmin): void {
    this.admin = admin
    this.isNew = true
    for (const parts of [this.checks, this.gone, this.logs]) parts.reopen()
  }

  async read(
    names: readonly string[],
    consumers: Consumers,
    deadline: Deadline,
  ): Promise<Map<string, Topic | Failure>> {
    const failures = await this.findUnreadable(names, deadline)
    const parts = new Map<string, number>()
    for (const topic of names) {
      if (!failures.has(topic)) parts.set(topic, countPartitions(consumers.get(topic)))
    }
    const logs = await this.logs.read(parts, deadline)
    const topics = new Map<string, Topic | Failure>()
    const readable = new Set<string>()
    for (const topic of names) {
      const outcome = logs.get(topic)
      if (outcome?.error !== undefined) this.onFailure(outcome.error)
      topics.set(topic, outcome?.answer ?? outcome ?? { error: failures.get(topic) })
      if (outcome?.answer) readable.add(topic)
    }
    this.isNew = false
    this.readable = readable
    return topics
  }

  /**
   * Lets a new client ask for the offsets of a topic that can be read. Otherwise it asks for all topics of the cluster when it
   * looks up the brokers.
   */
  async seed(): Promise<void> {
    const { admin, readable } = this
    if (this.seeded === admin) return
    this.seeded = admin
    for (const topic of [...[...readable].slice(0, 5), '__consumer_offsets']) {
      try {
        await admin?.fetchTopicMetadata?.({ topics: [topic] })
        // A broker that does not answer about it does not matter.
        void admin?.fetchTopicOffsets(topic).catch(() => undefined)
        break
      } catch {
        // Another topic may do.
      }
    }
    await pause()
  }

  /** Finds topics that the user may not describe. */
  async findDenied(names: readonly string[], deadline: Deadline): Promise<ReadonlySet<string>> {
    const found = await this.gone.read(new Map([['', names]]), deadline)
    return new Set(found.flatMap(([topics, { error }]) => (isDenied(error) ? topics : [])))
  }

  /** Finds topics whose metadata the client refuses, before it is asked for their offsets. */
  private async findUnreadable(
    names: readonly string[],
    deadline: Deadline,
  ): Promise<Map<string, unknown>> {
    const unsure = names.filter((topic) => this.isNew || !this.readable.has(topic))
    const failures = new Map<string, unknown>()
    for (const [topics, { error }] of await this.checks.read(new Map([['', unsure]]), deadline)) {
      for (const topic of error === undefined ? [] : topics) failures.set(topic, error)
    }
    return failures
  }

  private async check(topics: readonly string[]): Promise<void> {
    await this.admin?.fetchTopicMetadata?.({ topics: [...topics] })
  }

  /** @param count how many partitions the topic has at least. */
  private async askLogs(topic: string, count: number): Promise<Topic> {
    try {
      const partitions = parseLogs(topic, await this.admin?.fetchTopicOffsets(topic))
      if (partitions.length >= count) return { partitions }
    } catch (error) {
      if (fieldsOf(error)['type'] !== 'NOT_LEADER_FOR_PARTITION') throw error
    }
    await this.refresh()
    return { partitions: parseLogs(topic, await this.admin?.fetchTopicOffsets(topic)) }
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
  return isDenied(error) || (cause !== undefined && isAboutMetadata(cause))
}

/** Returns how many partitions a topic has at least. */
function countPartitions(consumers: readonly Consumer[] = []): number {
  return consumers.reduce((count, { offsets = [] }) => Math.max(count, offsets.length), 0)
}

/** Parses an answer of `fetchTopicOffsets`. */
function parseLogs(topic: string, rows: unknown): Partition[] {
  const partitions = list(rows, 'offsets').map((row) => {
    const { partition, low, high } = fieldsOf(row)
    const log = createPartition(topic, index(partition, 'partition'))
    try {
      log.start = offset(low, 'low')
      log.end = offset(high, 'high')
    } catch (error) {
      log.error = error
    }
    return log
  })
  return partitions.sort((a, b) => a.partition - b.partition)
}

function offset(value: unknown, field: string): bigint {
  const parsed = parseOffset(value)
  if (parsed === null || parsed < 0n) throw fieldError(field, value)
  return parsed
}
