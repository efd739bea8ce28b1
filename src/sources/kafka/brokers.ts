import { describeError } from '../../support/log.js'
import { parseFields } from '../shared/fields.js'
import { byTopic, keyOf, map, parseOffsets, unparsed, type Log, type Offsets } from './answer.js'
import type { PlatformaticAdmin } from './platformatic.js'
import { askAll, Node, unreachable, type Answered } from '../shared/nodes.js'
import type { FollowerReading } from '../source.js'

/** What is used of `listOffsetsV9` of `@platformatic/kafka`. */
export interface ListOffsets {
  readonly api: {
    async(
      connection: never,
      replica: number,
      isolationLevel: number,
      topics: {
        name: string
        partitions: { partitionIndex: number; currentLeaderEpoch: number; timestamp: bigint }[]
      }[],
    ): Promise<unknown>
  }
}

/** The log of a partition, where it ends for its followers, and these. */
export interface FollowedLog {
  readonly log: Log
  readonly end: bigint
  readonly followers: readonly FollowerReading[]
}

/** The replica id of a debugging consumer. A broker answers it with the end of its own log, whether it leads or not. */
const DEBUG_REPLICA = -2

/** Brokers, each asked for the ends of its own logs. */
export class KafkaBrokers {
  /** They stay, because one that hangs must not be asked again. */
  private readonly brokers = new Map<number, Broker>()

  constructor(
    private readonly admin: PlatformaticAdmin,
    private readonly listOffsets: ListOffsets,
  ) {}

  /** Reads the followers of all logs first, and then their leaders. */
  async read(logs: readonly Log[], signal: AbortSignal): Promise<FollowedLog[]> {
    const copies = await this.ask(logs, followersOf, signal)
    signal.throwIfAborted()
    const leaders = await this.ask(logs, ({ leader = -1 }) => [leader], signal)
    signal.throwIfAborted()
    return logs.map((log) => {
      const end = leaders(Number(log.leader), log)
      if ('error' in end) {
        throw new Error(`broker ${log.leader} leads ${keyOf(log)}: ${describeError(end.error)}`)
      }
      const followers = followersOf(log).map((id) =>
        toFollower(`broker/${id}`, copies(id, log), end.answer),
      )
      return { log, end: end.answer, followers }
    })
  }

  /** Asks the brokers of each log. Returns a function that finds what a broker has answered about a log. */
  private async ask(
    logs: readonly Log[],
    brokersOf: (log: Log) => readonly number[],
    signal: AbortSignal,
  ): Promise<(id: number, log: Log) => Answered<bigint>> {
    const asked = new Map<number, Log[]>()
    for (const log of logs) {
      for (const id of brokersOf(log)) asked.set(id, [...(asked.get(id) ?? []), log])
    }
    const nodes = [...asked].map(([id, its]) => [`${id}`, this.broker(id).about(its)] as const)
    const answers = await askAll(new Map(nodes), signal)
    return (id, log) => {
      const answered = answers.get(`${id}`) as Answered<Offsets>
      if (answered.answer === undefined) return answered
      const answer = answered.answer.get(keyOf(log))
      return answer === undefined ? { error: new Error('it has no copy') } : { answer }
    }
  }

  private broker(id: number): Broker {
    const broker = this.brokers.get(id) ?? new Broker(id, this.admin, this.listOffsets)
    this.brokers.set(id, broker)
    return broker
  }
}

class Broker {
  private logs: readonly Log[] = []
  private readonly node = new Node(() => this.readEnds())

  constructor(
    private readonly id: number,
    private readonly admin: PlatformaticAdmin,
    private readonly listOffsets: ListOffsets,
  ) {}

  about(logs: readonly Log[]): Node<Offsets> {
    this.logs = logs
    return this.node
  }

  private async readEnds(): Promise<Offsets> {
    const topics = byTopic(this.logs, (partitionIndex) => ({
      partitionIndex,
      currentLeaderEpoch: -1,
      timestamp: -1n,
    }))
    const connections = map(await this.admin.connectToBrokers([this.id]), 'connections')
    const connection = connections.get(this.id)
    if (!connection) throw new Error('it is not in the cluster')
    const answer = await this.listOffsets.api.async(connection as never, DEBUG_REPLICA, 0, topics)
    return parseOffsets(parseFields({ topics: unparsed }, answer).topics)
  }
}

function followersOf({ leader, replicas = [] }: Log): readonly number[] {
  return replicas.filter((id) => id !== leader)
}

function toFollower(replica: string, end: Answered<bigint>, leaderEnd: bigint): FollowerReading {
  if (end.answer === undefined) return unreachable(replica, end.error)
  return end.answer > leaderEnd
    ? { replica, problem: LONGER }
    : { replica, appliedSeqno: end.answer }
}

const LONGER = 'its log is longer than that of the leader: it has not followed this leader yet'
