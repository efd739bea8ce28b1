import {
  addOffsets,
  addPlace,
  fieldsOf,
  isFailure,
  map,
  name,
  pause,
  topicsIn,
  toQuestion,
  type Deadline,
  type Failure,
  type Offsets,
  type Partition,
  type Places,
  type Question,
  type Topic,
} from './answer.js'
import { answerOf, partialAnswer } from './errors.js'
import { askHalves, halvesOf, halvesOfPlaces } from './halves.js'
import { Parts } from './parts.js'
import { parseTopic, toCached, type Cached } from './platformatic-metadata.js'
import type { PlatformaticAdmin } from './platformatic-admin.js'

type Topics = Map<string, Topic | Failure>

/** The logs of the partitions that one broker leads. */
interface Logs {
  readonly starts: Offsets
  readonly highWatermarks: Offsets
  readonly ends: Offsets
  /** Why some are missing, by `topic/partition`. */
  readonly errors: ReadonlyMap<string, unknown>
}

/** Reads topics through `@platformatic/kafka`. */
export class PlatformaticTopics {
  /** What was read of topics the last time. */
  private known: Topics = new Map()
  /**
   * Topics whose metadata the client refuses because of one partition, as it has to be in the cache of the client. They are
   * asked for separately, because the client repeats such questions for seconds.
   */
  private readonly refused = new Map<string, Cached | undefined>()
  private readonly metadata = this.createMetadata()
  private readonly newMetadata = this.createMetadata()
  private readonly logs = new Parts<Places, Logs>((places) => this.askLogs(places))

  constructor(
    private readonly admin: PlatformaticAdmin,
    private readonly isolationLevel: 0 | 1,
  ) {}

  /** Reads the metadata of the topics that were read the last time, or that are named. */
  async readAgain({ topics }: Question, deadline: Deadline): Promise<void> {
    await this.readMetadata(topics ?? [...this.known.keys()], this.metadata, deadline)
  }

  /** Reads topics with their logs. */
  async read(
    names: readonly string[],
    brokers: ReadonlySet<number>,
    deadline: Deadline,
  ): Promise<Topics> {
    const added = names.filter((topic) => !this.known.has(topic))
    if (added.length > 0) await this.readMetadata(added, this.newMetadata, deadline)
    this.known = new Map(names.map((topic) => [topic, this.known.get(topic) ?? NOT_ANSWERED]))
    for (const topic of this.refused.keys()) if (!this.known.has(topic)) this.refused.delete(topic)
    await this.readLogs(brokers, deadline)
    return this.known
  }

  private createMetadata() {
    return new Parts<readonly string[], void>((names) => this.askMetadata(names))
  }

  private async readMetadata(
    names: readonly string[],
    metadata: Parts<readonly string[], void>,
    deadline: Deadline,
  ): Promise<void> {
    const isRefused = (topic: string) => this.refused.has(topic)
    const parts = new Map<string, readonly string[]>()
    const [fine, refused] = [names.filter((each) => !isRefused(each)), names.filter(isRefused)]
    if (fine.length > 0) parts.set('topics', fine)
    if (refused.length > 0) parts.set('refused topics', refused)
    for (const [key, { error }] of await metadata.read(parts, deadline)) {
      if (error === undefined) continue
      // What was known before is better than nothing.
      for (const topic of parts.get(key) ?? []) {
        if (!this.known.has(topic)) this.known.set(topic, { error })
      }
    }
  }

  private async askMetadata(names: readonly string[]): Promise<void> {
    const { failures } = await askHalves(names, halvesOf, (some) => this.askTopics(some))
    for (const [topics, error] of failures) {
      for (const topic of topics) {
        this.known.set(topic, { error })
        this.refused.set(topic, undefined)
      }
    }
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
      if (!Array.isArray(rows)) throw error
      // The client has forgotten all metadata.
      await this.admin.metadata({ topics: [], forceUpdate: true })
      for (const [i, row] of (rows as unknown[]).entries()) {
        const topic = name(fieldsOf(row)['name'], 'name')
        const cached = toCached(row)
        const reason = partial?.errorAt(`/topics/${i}`)
        const found = reason === undefined ? parseTopic(cached) : { error: reason }
        const isFine = !isFailure(found) && found.partitions.every(({ leader }) => leader >= 0)
        if (isFine) this.refused.delete(topic)
        else this.refused.set(topic, cached)
        this.known.set(topic, found)
        this.admin.currentMetadata?.topics.set(topic, cached)
      }
    }
  }

  private async readLogs(brokers: ReadonlySet<number>, deadline: Deadline): Promise<void> {
    const parts = new Map<string, Map<string, number[]>>()
    const keyOf = (topic: string, leader: number) =>
      this.refused.has(topic) ? `${leader} refused` : `${leader}`
    for (const [topic, found] of this.known) {
      for (const { partition, leader } of isFailure(found) ? [] : found.partitions) {
        if (brokers.has(leader)) addPlace(parts, keyOf(topic, leader), topic, partition)
      }
    }
    this.renewCache()
    const outcomes = await this.logs.read(parts, deadline)
    for (const [topic, found] of this.known) {
      if (isFailure(found)) continue
      for (const partition of found.partitions) {
        const outcome = outcomes.get(keyOf(topic, partition.leader))
        if (!outcome) fail(partition, NO_LEADER)
        else if (!outcome.answer) fail(partition, ledBy(partition.leader, outcome.error))
        else setLog(topic, partition, outcome.answer)
      }
      if (found.partitions.length > MANY) await pause()
    }
  }

  /** Otherwise the client would ask for metadata again before it asks for offsets, and refuse it again. */
  private renewCache(): void {
    const lastUpdate = Date.now()
    const cache = this.admin.currentMetadata?.topics
    for (const cached of cache?.values() ?? []) if (cached) Object.assign(cached, { lastUpdate })
    for (const [topic, cached] of this.refused) {
      if (cached) cache?.set(topic, Object.assign(cached, { lastUpdate }))
    }
  }

  private async askLogs(places: Places): Promise<Logs> {
    const errors = new Map<string, unknown>()
    const starts = await this.askOffsets(places, -2n, 0, errors)
    await pause()
    const isCommitted = this.isolationLevel === 1
    const highWatermarks = isCommitted ? await this.askOffsets(places, -1n, 0, errors) : undefined
    const ends = await this.askOffsets(places, -1n, this.isolationLevel, errors)
    return { starts, highWatermarks: highWatermarks ?? ends, ends, errors }
  }

  private async askOffsets(
    places: Places,
    timestamp: bigint,
    isolationLevel: 0 | 1,
    errors: Map<string, unknown>,
  ): Promise<Offsets> {
    const offsets = new Map<string, (bigint | null | undefined)[]>()
    const { failures } = await askHalves(places, halvesOfPlaces, async (some) => {
      const topics = toQuestion(some, (partitionIndex) => ({ partitionIndex, timestamp }))
      const answer = await answerOf(this.admin.listOffsets({ topics, isolationLevel }), 'topics')
      for (const [i, topic, rows] of topicsIn(answer.rows)) {
        addOffsets(offsets, topic, rows, 'partitionIndex', 'offset')
        if (answer.errorAt === undefined) continue
        for (const [j, row] of rows.entries()) {
          const { partitionIndex } = fieldsOf(row)
          const error = answer.errorAt(`/topics/${i}/partitions/${j}`)
          if (error !== undefined) errors.set(`${topic}/${String(partitionIndex)}`, error)
        }
      }
    })
    for (const [failed, error] of failures) {
      for (const [topic, all] of failed)
        for (const each of all) errors.set(`${topic}/${each}`, error)
    }
    return offsets
  }
}

/** How many partitions are worth a turn of the event loop. */
const MANY = 2000

const NO_LEADER = new Error('it has no leader')
const NOT_ANSWERED = { error: new Error('the brokers have not answered about it') }

function ledBy(id: number, cause: unknown): Error {
  return new Error(`broker ${id} leads it`, { cause })
}

function fail(partition: Partition, error: unknown): void {
  partition.end = undefined
  partition.error = error
}

function setLog(topic: string, partition: Partition, logs: Logs): void {
  const at = (offsets: Offsets) => offsets.get(topic)?.[partition.partition] ?? -1n
  const [start, end] = [at(logs.starts), at(logs.ends)]
  if (start < 0n || end < 0n) {
    const error = logs.errors.get(`${topic}/${partition.partition}`) ?? NOT_ANSWERED.error
    fail(partition, ledBy(partition.leader, error))
    return
  }
  partition.start = start
  partition.end = end
  partition.highWatermark = at(logs.highWatermarks)
}
