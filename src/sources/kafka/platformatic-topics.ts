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
  type Failure,
  type Offset,
  type Offsets,
  type Partition,
  type Place,
  type Question,
  type Topic,
} from './answer.js'
import { canSendRequests, sendRequest, type PlatformaticAdmin } from './clients.js'
import { NO_LEADER, partialAnswer, rowsOf } from './errors.js'
import { askAll, Parts, pause, UNANSWERED, type Deadline } from './parts.js'

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
   * Topics whose metadata the client refuses because of one partition. They are asked for separately, because the client
   * repeats such questions for seconds.
   */
  private readonly refused = new Set<string>()
  private readonly again = new Parts<readonly string[], void>((names) => this.askMetadata(names))
  private readonly added = new Parts<readonly string[], void>((names) => this.askMetadata(names))
  private readonly logs = new Parts<readonly Place[], Logs>((places, key) =>
    this.askLogs(places, key),
  )

  constructor(
    private readonly admin: PlatformaticAdmin,
    private readonly isolationLevel: 0 | 1,
  ) {}

  /** Reads the metadata of the topics that were read the last time, or that are named. */
  async readAgain({ topics }: Question, deadline: Deadline): Promise<void> {
    await this.readMetadata(topics ?? [...this.known.keys()], this.again, deadline)
  }

  /** Reads topics with their logs. */
  async read(
    names: readonly string[],
    brokers: ReadonlySet<number>,
    deadline: Deadline,
  ): Promise<ReadonlyMap<string, Topic | Failure>> {
    const added = names.filter((topic) => !this.known.has(topic))
    if (added.length > 0) await this.readMetadata(added, this.added, deadline)
    this.known = new Map(names.map((topic) => [topic, this.known.get(topic) ?? UNANSWERED]))
    for (const topic of this.refused) if (!this.known.has(topic)) this.refused.delete(topic)
    await this.readLogs(brokers, deadline)
    return this.known
  }

  private async readMetadata(
    names: readonly string[],
    metadata: Parts<readonly string[], void>,
    deadline: Deadline,
  ): Promise<void> {
    const parts = new Map<string, string[]>()
    for (const topic of names) append(parts, this.refused.has(topic) ? 'refused' : 'fine', topic)
    for (const [key, { error }] of await metadata.read(parts, deadline)) {
      // What was known before is better than nothing.
      for (const topic of error === undefined ? [] : (parts.get(key) ?? [])) {
        if (!this.known.has(topic)) this.known.set(topic, { error })
      }
    }
  }

  private async askMetadata(names: readonly string[]): Promise<void> {
    await askAll(
      names,
      (some) => this.askTopics(some),
      (topic, error) => {
        this.known.set(topic, { error })
        this.refused.add(topic)
      },
    )
  }

  private async askTopics(names: readonly string[]): Promise<void> {
    try {
      const answer = await this.admin.metadata({ topics: [...names], forceUpdate: true })
      const topics = map(fieldsOf(answer)['topics'], 'topics')
      for (const topic of names) {
        this.refused.delete(topic)
        this.known.set(topic, parseTopic(topics.get(topic)))
      }
    } catch (error) {
      const partial = partialAnswer(error)
      const rows = partial?.response['topics']
      if (!partial || !Array.isArray(rows)) throw error
      for (const [i, row] of (rows as unknown[]).entries()) {
        const topic = name(fieldsOf(row)['name'], 'name')
        const reason = partial.errorAt(`/topics/${i}`)
        const found = reason === undefined ? parseTopic(row) : { error: reason }
        const isFine = !isFailure(found) && found.partitions.every(({ leader }) => leader >= 0)
        if (isFine) this.refused.delete(topic)
        else this.refused.add(topic)
        this.known.set(topic, found)
      }
    }
  }

  private async readLogs(brokers: ReadonlySet<number>, deadline: Deadline): Promise<void> {
    const parts = new Map<string, Place[]>()
    for (const [topic, found] of this.known) {
      const suffix = this.refused.has(topic) ? REFUSED : ''
      for (const partition of isFailure(found) ? [] : found.partitions) {
        if (!brokers.has(partition.leader)) fail(partition, NO_LEADER)
        else append(parts, `${partition.leader}${suffix}`, [topic, partition])
      }
    }
    for (const [key, outcome] of await this.logs.read(parts, deadline)) {
      // Partitions share an error, because there can be thousands.
      const errors = new Map<unknown, Error>()
      for (const place of parts.get(key) ?? []) {
        const cause = outcome.answer ? setLog(place, outcome.answer) : outcome.error
        if (cause === undefined) continue
        const error = errors.get(cause) ?? new Error(`broker ${parseInt(key)} leads it`, { cause })
        errors.set(cause, error)
        fail(place[1], error)
      }
      await pause()
    }
  }

  private async askLogs(places: readonly Place[], key: string): Promise<Logs> {
    const starts = await this.askOffsets(places, key, -2n, 0)
    const isCommitted = this.isolationLevel === 1
    const highWatermarks = isCommitted ? await this.askOffsets(places, key, -1n, 0) : undefined
    const ends = await this.askOffsets(places, key, -1n, this.isolationLevel)
    return { starts, highWatermarks: highWatermarks ?? ends, ends }
  }

  private async askOffsets(
    places: readonly Place[],
    key: string,
    timestamp: bigint,
    isolationLevel: 0 | 1,
  ): Promise<Offsets> {
    const offsets = new Map<string, Offset[]>()
    const ask = async (some: readonly Place[]) => {
      const topics = toQuestion(some, timestamp)
      // The method of the client would refuse the metadata again.
      const asking =
        key.endsWith(REFUSED) && canSendRequests(this.admin)
          ? sendRequest(this.admin, parseInt(key), 'ListOffsets', CLIENT, isolationLevel, topics)
          : this.admin.listOffsets({ topics, isolationLevel })
      const { rows, errorAt } = await rowsOf(asking, 'topics')
      for (const [i, topic, partitions] of topicsIn(rows)) {
        const errorOf = (row: number) => errorAt(`/topics/${i}/partitions/${row}`)
        addOffsets(offsets, topic, partitions, ['partitionIndex', 'offset'], errorOf)
      }
    }
    await askAll(places, ask, ([topic, { partition }], error) => {
      const all = offsets.get(topic) ?? []
      all[partition] = { error }
      offsets.set(topic, all)
    })
    return offsets
  }
}

/** The replica id of a client. */
const CLIENT = -1

/** The end of the keys of parts whose topics are refused. */
const REFUSED = ' refused'

function fail(partition: Partition, error: unknown): void {
  partition.end = undefined
  partition.error = error
}

/** Sets the ends of the log of a partition. Returns why that is not possible. */
function setLog([topic, partition]: Place, logs: Logs): unknown {
  const at = (offsets: Offsets) => offsets.get(topic)?.[partition.partition]
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
function parseTopic(value: unknown): Topic | Failure {
  if (value === undefined) return { error: new Error('it does not exist') }
  const { id, topicId = id, partitions: rows } = fieldsOf(value)
  const partitions = list(rows, 'partitions').map((row, i) => {
    const { partitionIndex = i, leader, leaderId = leader } = fieldsOf(row)
    const { replicas = [], replicaNodes = replicas } = fieldsOf(row)
    const ids = list(replicaNodes, 'replicas') as readonly number[]
    for (const each of ids) index(each, 'replicas')
    const number = index(partitionIndex, 'partitionIndex')
    return createPartition(number, Number.isInteger(leaderId) ? Number(leaderId) : -1, ids)
  })
  return { id: topicId === undefined ? undefined : name(topicId, 'id'), partitions }
}
