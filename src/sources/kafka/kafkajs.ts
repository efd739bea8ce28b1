import { hasMethods } from '../../support/option-errors.js'
import { integer, parseFields, required, text } from '../shared/fields.js'
import {
  committed,
  index,
  keyOf,
  list,
  parseTopics,
  unparsed,
  type Commit,
  type KafkaClient,
  type Log,
} from './answer.js'

/** What is used of an admin client of `kafkajs`, 2.2 or newer. */
export interface KafkajsAdmin {
  /** Does nothing while it is connected. */
  connect(): Promise<unknown>
  listTopics(): Promise<unknown>
  fetchOffsets(question: { groupId: string }): Promise<unknown>
  fetchTopicOffsets(topic: string): Promise<unknown>
  listGroups(): Promise<unknown>
}

export function isKafkajs(admin: unknown): admin is KafkajsAdmin {
  return hasMethods(
    admin,
    'connect',
    'listTopics',
    'fetchOffsets',
    'fetchTopicOffsets',
    'listGroups',
  )
}

/** Its offsets end at the last stable one: it can ask for no other. */
export class KafkajsClient implements KafkaClient {
  constructor(private readonly admin: KafkajsAdmin) {}

  async listTopics(): Promise<readonly string[]> {
    await this.admin.connect()
    return parseTopics(await this.admin.listTopics())
  }

  async readCommits(groups: readonly string[]): Promise<Commit[]> {
    await this.admin.connect()
    const answers = groups.map(async (group) => {
      const topics = await this.admin.fetchOffsets({ groupId: group })
      return list('topics', topics, (each) => {
        const { topic, partitions } = parseFields(TOPIC, each)
        return list('partitions', partitions, (row) => ({
          group,
          topic,
          ...parseFields({ partition: index, offset: committed }, row),
        }))
      }).flat()
    })
    return (await Promise.all(answers)).flat()
  }

  async readLogs(topics: readonly string[], commits: readonly Commit[]): Promise<Log[]> {
    const read = async () => (await Promise.all(topics.map((each) => this.readLog(each)))).flat()
    const logs = await read().catch(async (error: unknown) => {
      if (!isMoved(error)) throw error
      await this.refresh()
      return read()
    })
    const known = new Set(logs.map(keyOf))
    const isNew = (each: Commit) => topics.includes(each.topic) && !known.has(keyOf(each))
    if (!commits.some(isNew)) return logs
    await this.refresh()
    return read()
  }

  private async readLog(topic: string): Promise<Log[]> {
    return list('offsets', await this.admin.fetchTopicOffsets(topic), (row) => {
      const { partition, low: start, high: end } = parseFields(OFFSETS, row)
      return { topic, partition, start, end, endsAtStable: true }
    })
  }

  /** Partitions and their leaders are remembered for minutes. This is the call that looks them up again. */
  private async refresh(): Promise<void> {
    await this.admin.listGroups()
  }
}

function isMoved(error: unknown): boolean {
  return (error as { type?: unknown } | null)?.type === 'NOT_LEADER_FOR_PARTITION'
}

const TOPIC = { topic: required(text), partitions: unparsed }
const OFFSETS = { partition: index, low: required(integer), high: required(integer) }
