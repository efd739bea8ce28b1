import { hasMethods } from '../../support/option-errors.js'
import { integer, parseFields, required, text } from '../shared/fields.js'
import {
  byTopic,
  committed,
  index,
  keyOf,
  list,
  map,
  NAMED_TOPIC,
  parseOffsets,
  parseTopics,
  unparsed,
  type Commit,
  type KafkaClient,
  type Log,
  type Offsets,
} from './answer.js'

/** What is used of an `Admin` of `@platformatic/kafka`, 1.35 or newer. */
export interface PlatformaticAdmin {
  listTopics(): Promise<unknown>
  metadata(question: { topics: string[]; forceUpdate: boolean }): Promise<unknown>
  listConsumerGroupOffsets(question: { groups: string[] }): Promise<unknown>
  listOffsets(question: {
    topics: { name: string; partitions: { partitionIndex: number; timestamp: bigint }[] }[]
    isolationLevel: 0 | 1
  }): Promise<unknown>
  connectToBrokers(ids: number[]): Promise<unknown>
}

export function isPlatformatic(admin: unknown): admin is PlatformaticAdmin {
  const methods = ['listConsumerGroupOffsets', 'listOffsets', 'metadata', 'connectToBrokers']
  return hasMethods(admin, 'listTopics', ...methods)
}

export class PlatformaticClient implements KafkaClient {
  constructor(
    private readonly admin: PlatformaticAdmin,
    private readonly isolationLevel: 0 | 1,
  ) {}

  async listTopics(): Promise<readonly string[]> {
    return parseTopics(await this.admin.listTopics())
  }

  async readCommits(groups: readonly string[]): Promise<Commit[]> {
    // It throws where nobody can catch it if the coordinator is a broker that it has not seen yet.
    await this.admin.metadata({ topics: [], forceUpdate: true })
    if (groups.length === 0) return []
    const answer = await this.admin.listConsumerGroupOffsets({ groups: [...groups] })
    return list('groups', answer, (each) => {
      const { groupId: group, topics } = parseFields(GROUP, each)
      return list('topics', topics, (row) => {
        const { name: topic, partitions } = parseFields(NAMED_TOPIC, row)
        return list('partitions', partitions, (cell) => {
          const { partitionIndex: partition, committedOffset } = parseFields(COMMITTED, cell)
          return { group, topic, partition, offset: committedOffset }
        })
      }).flat()
    }).flat()
  }

  async readLogs(topics: readonly string[]): Promise<Log[]> {
    const metadata = await this.admin.metadata({ topics: [...topics], forceUpdate: true })
    const { topics: known, brokers } = parseFields({ topics: map, brokers: map }, metadata)
    // Those of Kafka's own topics are left out.
    const partitions = topics
      .filter((topic) => known.get(topic))
      .flatMap((topic) => {
        const { id: topicId, partitions: rows } = parseFields(METADATA, known.get(topic))
        return list('partitions', rows, (row, partition) => {
          const { leader, replicas } = parseFields(PARTITION, row)
          if (!brokers.has(leader)) throw new Error(`${keyOf({ topic, partition })} has no leader`)
          return { topic, topicId, partition, leader, replicas: list('replicas', replicas, broker) }
        })
      })
    const starts = await this.listOffsets(partitions, -2n, 0)
    const ends = await this.listOffsets(partitions, -1n, this.isolationLevel)
    const endsAtStable = this.isolationLevel === 1
    return partitions.map((each) => {
      const offsetOf = (offsets: Offsets) => required(integer)(offsets.get(keyOf(each)), 'offset')
      return { ...each, start: offsetOf(starts), end: offsetOf(ends), endsAtStable }
    })
  }

  private async listOffsets(
    partitions: readonly Pick<Log, 'topic' | 'partition'>[],
    timestamp: bigint,
    isolationLevel: 0 | 1,
  ): Promise<Offsets> {
    if (partitions.length === 0) return new Map()
    const topics = byTopic(partitions, (partitionIndex) => ({ partitionIndex, timestamp }))
    return parseOffsets(await this.admin.listOffsets({ topics, isolationLevel }))
  }
}

/** The id of a broker. Kafka answers −1 for a partition without a leader. */
function broker(value: unknown): number {
  return required((id) => (Number.isSafeInteger(id) ? (id as number) : undefined))(value, 'broker')
}

const GROUP = { groupId: required(text), topics: unparsed }
const COMMITTED = { partitionIndex: index, committedOffset: committed }
const METADATA = { id: required(text), partitions: unparsed }
const PARTITION = { leader: broker, replicas: unparsed }
