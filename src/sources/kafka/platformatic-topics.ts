import { append } from '../shared/groups.js'
import {
  addOffsets,
  createPartition,
  fieldsOf,
  index,
  isFailure,
  isPosition,
  list,
  map,
  name,
  topicsIn,
  toQuestion,
  type Consumers,
  type Failure,
  type Offset,
  type Offsets,
  type Partition,
  type Question,
  type Topic,
} from './answer.js'
import { canSendRequests, sendRequest, type PlatformaticAdmin } from './clients.js'
import { isDenied, NO_LEADER, partialAnswer, rowsOf } from './errors.js'
import { Batches, isLongTurn, NO_ANSWER, pause, UNANSWERED, type Deadline } from './parts.js'

/** The logs of the partitions that one broker leads. */
interface Logs {
  readonly starts: Offsets
  readonly highWatermarks: Offsets
  readonly ends: Offsets
}

/** Reads topics through `@platformatic/kafka`. */
export class PlatformaticTopics {
  /** What was read of topics the last time. */
  private known = new Map<string, Topic | Failure>()
  /**
   * Topics whose metadata the client refuses because of one partition, or does not answer. They are asked for separately,
   * because the client repeats such questions for seconds.
   */
  private readonly refused = new Set<string>()
  private readonly metadata = new Batches<string, void>((names) => this.askMetadata(names))
  private readonly logs = new Batches<Partition, Logs>((partitions, key) =>
    this.askLogs(partitions, key),
  )

  constructor(
    private readonly admin: PlatformaticAdmin,
    private readonly isolationLevel: 0 | 1,
  ) {}

  /** Reads the metadata of the topics that were read the last time, or that are named. */
  async readAgain({ topics }: Question, deadline: Deadline): Promise<void> {
    await this.readMetadata(topics ?? [...this.known.keys()], deadline)
  }

  /** Whether the user may not describe a topic that was read before. */
  isDenied(topic: string): boolean {
    const found = this.known.get(topic)
    return found !== undefined && isFailure(found) && isDenied(found.error)
  }

  /** Reads topics, with their logs if there are groups that consume them. */
  async read(
    names: readonly string[],
    consumers: Consumers,
    brokers: ReadonlySet<number>,
    deadline: Deadline,
  ): Promise<ReadonlyMap<string, Topic | Failure>> {
    const added = names.filter((topic) => !this.known.has(topic))
    if (added.length > 0) await this.readMetadata(added, deadline)
    this.known = new Map(names.map((topic) => [topic, this.known.get(topic) ?? UNANSWERED]))
    for (const topic of this.refused) if (!this.known.has(topic)) this.refused.delete(topic)
    await this.readLogs(consumers, brokers, deadline)
    return this.known
  }

  private async readMetadata(names: readonly string[], deadline: Deadline): Promise<void> {
    const parts = new Map<string, string[]>()
    for (const topic of names) append(parts, this.refused.has(topic) ? REFUSED : '', topic)
    for (const [topics, { error }] of await this.metadata.read(parts, deadline)) {
      if (error === undefined) continue
      const isHanging = error === NO_ANSWER.error
      for (const topic of topics) {
        if (!isHanging || topics.length === 1) this.refused.add(topic)
        // What was known before is better than nothing.
        if (!isHanging || !this.known.has(topic)) this.known.set(topic, { error })
      }
    }
  }

  private async askMetadata(names: readonly string[]): Promise<void> {
    try {
      const answer = await this.admin.metadata({ topics: [...names], forceUpdate: true })
      const topics = map(fieldsOf(answer)['topics'], 'topics')
      for (const topic of names) {
        this.refused.delete(topic)
        this.known.set(topic, parseTopic(topic, topics.get(topic)))
        if (isLongTurn()) await pause()
      }
    } catch (error) {
      const partial = partialAnswer(error)
      const rows = partial?.response['topics']
      if (!partial || !Array.isArray(rows)) throw error
      for (const [i, row] of (rows as unknown[]).entries()) {
        const topic = name(fieldsOf(row)['name'], 'name')
        const reason = partial.errorAt(`/topics/${i}`)
        const found = reason === undefined ? parseTopic(topic, row) : { error: reason }
        const isFine = !isFailure(found) && found.partitions.every(({ leader }) => leader >= 0)
        if (isFine) this.refused.delete(topic)
        else this.refused.add(topic)
        this.known.set(topic, found)
      }
    }
  }

  private async readLogs(
    consumers: Consumers,
    brokers: ReadonlySet<number>,
    deadline: Deadline,
  ): Promise<void> {
    const parts = new Map<string, Partition[]>()
    for (const topic of consumers.keys()) {
      const found = this.known.get(topic)
      if (!found || isFailure(found)) continue
      const suffix = this.refused.has(topic) ? REFUSED : ''
      for (const partition of found.partitions) {
        if (!brokers.has(partition.leader)) fail(partition, NO_LEADER)
        else append(parts, `${partition.leader}${suffix}`, partition)
      }
      if (isLongTurn()) await pause()
    }
    for (const [partitions, { answer, error }] of await this.logs.read(parts, deadline)) {
      // Partitions share an error, because there can be thousands.
      const errors = new Map<unknown, Error>()
      for (const partition of partitions) {
        if (isLongTurn()) await pause()
        const cause = answer ? setLog(partition, answer) : error
        if (cause === undefined) continue
        const reason =
          errors.get(cause) ?? new Error(`broker ${partition.leader} leads it`, { cause })
        errors.set(cause, reason)
        fail(partition, reason)
      }
    }
  }

  private async askLogs(partitions: readonly Partition[], key: string): Promise<Logs> {
    const starts = await this.askOffsets(partitions, key, -2n, 0)
    const isCommitted = this.isolationLevel === 1
    const highWatermarks = isCommitted ? await this.askOffsets(partitions, key, -1n, 0) : undefined
    const ends = await this.askOffsets(partitions, key, -1n, this.isolationLevel)
    return { starts, highWatermarks: highWatermarks ?? ends, ends }
  }

  private async askOffsets(
    partitions: readonly Partition[],
    key: string,
    timestamp: bigint,
    isolationLevel: 0 | 1,
  ): Promise<Offsets> {
    const offsets = new Map<string, Offset[]>()
    const topics = toQuestion(partitions, timestamp)
    // The method of the client would refuse the metadata again.
    const asking =
      key.includes(REFUSED) && canSendRequests(this.admin)
        ? sendRequest(this.admin, parseInt(key), 'ListOffsets', CLIENT, isolationLevel, topics)
        : this.admin.listOffsets({ topics, isolationLevel })
    const { rows, errorAt } = await rowsOf(asking, 'topics')
    for (const [i, topic, found] of topicsIn(rows)) {
      const errorOf = (row: number) => errorAt(`/topics/${i}/partitions/${row}`)
      addOffsets(offsets, topic, found, ['partitionIndex', 'offset'], errorOf)
      if (isLongTurn()) await pause()
    }
    return offsets
  }
}

/** The replica id of a client. */
const CLIENT = -1

/** A part of the keys of topics that are refused. */
const REFUSED = ' refused'

function fail(partition: Partition, error: unknown): void {
  partition.end = undefined
  partition.error = error
}

/** Sets the ends of the log of a partition. Returns why that is not possible. */
function setLog(partition: Partition, logs: Logs): unknown {
  const at = (offsets: Offsets) => offsets.get(partition.topic)?.[partition.partition]
  const [start, end, highWatermark] = [at(logs.starts), at(logs.ends), at(logs.highWatermarks)]
  if (!isPosition(start) || !isPosition(end)) {
    const failure = [start, end].find((each) => typeof each === 'object') ?? UNANSWERED
    return failure.error
  }
  partition.start = start
  partition.end = end
  partition.highWatermark = isPosition(highWatermark) ? highWatermark : undefined
  return undefined
}

/** Parses the metadata of a topic as the client returns it, or as a broker has answered. */
function parseTopic(topic: string, value: unknown): Topic | Failure {
  if (value === undefined) return { error: new Error('it does not exist') }
  const { id, topicId = id, partitions: rows } = fieldsOf(value)
  const partitions = list(rows, 'partitions').map((row, i) => {
    const { partitionIndex = i, leader, leaderId = leader, replicas = [] } = fieldsOf(row)
    const { replicaNodes = replicas } = fieldsOf(row)
    const ids = list(replicaNodes, 'replicas') as readonly number[]
    for (const each of ids) index(each, 'replicas')
    const number = index(partitionIndex, 'partitionIndex')
    return createPartition(topic, number, Number.isInteger(leaderId) ? Number(leaderId) : -1, ids)
  })
  return { id: topicId === undefined ? undefined : name(topicId, 'id'), partitions }
}
