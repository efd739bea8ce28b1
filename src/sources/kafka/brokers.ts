import { append } from '../shared/groups.js'
import { Nodes, unreachable, type Moment, type Survey } from '../shared/nodes.js'
import type { FollowerReading } from '../source.js'
import {
  addOffsets,
  isFailure,
  isPosition,
  map,
  topicsIn,
  toQuestion,
  type Cluster,
  type Failure,
  type Offset,
  type Offsets,
  type Partition,
} from './answer.js'
import type { PlatformaticAdmin } from './clients.js'
import { NO_LEADER, rowsOf } from './errors.js'
import { isLongTurn, pause, PIECE, type Deadline } from './parts.js'

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

/** @internal Where the log of a partition ends at its leader, and the brokers that copy it. */
export interface Copies {
  readonly end?: bigint | undefined
  /** Why there is no end. */
  readonly error?: unknown
  readonly followers: readonly FollowerReading[]
}

/** The replica id of a debugging consumer. A broker answers it with the end of its own log, whether it leads or not. */
const DEBUG_REPLICA = -2

/** @internal Asks each broker where its own logs end. */
export class KafkaBrokers {
  private questions = new Map<string, ReturnType<typeof toQuestion>>()
  private leaders: ReadonlySet<string> = new Set()
  private readonly nodes = new Nodes<Offsets>(() => this.leaders)

  constructor(
    private readonly admin: PlatformaticAdmin,
    private readonly listOffsets: ListOffsets,
  ) {}

  /** Returns a function that finds the copies of a partition. */
  async read(topics: Cluster['topics'], { signal, left }: Deadline) {
    await this.prepare(topics)
    const survey = await this.nodes.read(signal, left())
    const brokers = new Map(
      [...this.questions.keys()].map((id) => [Number(id), seenIn(survey, id)]),
    )
    return ({ topic, partition, leader, replicas }: Partition): Copies => {
      const endIn = (offsets: Offsets | undefined) => offsets?.get(topic)?.[partition]
      const end = endIn(brokers.get(leader)?.last)
      const followers: FollowerReading[] = []
      for (const id of replicas) {
        const broker = id === leader || replicas.length === 1 ? undefined : brokers.get(id)
        if (broker) followers.push(toFollower(broker, endIn, broker.leaderWhen(leader)))
      }
      if (isPosition(end)) return { end, followers }
      const error = failureOf(end)?.error ?? brokers.get(leader)?.error ?? NO_LEADER
      return { error, followers }
    }
  }

  /** Collects which broker is asked about which partitions. */
  private async prepare(topics: Cluster['topics']): Promise<void> {
    const parts = new Map<number, Partition[]>()
    const leaders = new Set<number>()
    for (const found of topics.values()) {
      for (const partition of isFailure(found) ? [] : found.partitions) {
        for (const id of partition.replicas) append(parts, id, partition)
        leaders.add(partition.leader)
      }
      if (isLongTurn()) await pause()
    }
    this.leaders = new Set([...leaders].map(String))
    for (const id of this.questions.keys()) if (!parts.has(Number(id))) this.nodes.delete(id)
    this.questions = new Map()
    for (const [broker, partitions] of parts) {
      const id = String(broker)
      this.questions.set(id, toQuestion(partitions, -1n))
      if (!this.nodes.has(id)) this.nodes.set(id, () => this.askEnds(broker))
      await pause()
    }
  }

  private async askEnds(id: number): Promise<Offsets> {
    const connection = map(await this.admin.connectToBrokers([id]), 'connections').get(id)
    if (!connection) throw new Error('it is not in the cluster')
    const topics = this.questions.get(`${id}`) ?? []
    const asking = this.listOffsets.api.async(connection as never, DEBUG_REPLICA, 0, topics)
    const { rows, errorAt } = await rowsOf(asking, 'topics')
    const offsets = new Map<string, Offset[]>()
    for (const [at, topic, partitions] of topicsIn(rows)) {
      for (let i = 0; i < partitions.length; i += PIECE) {
        const errorOf = (row: number) => errorAt(`/topics/${at}/partitions/${i + row}`)
        const piece = partitions.slice(i, i + PIECE)
        addOffsets(offsets, topic, piece, ['partitionIndex', 'offset'], errorOf)
        if (isLongTurn()) await pause()
      }
    }
    return offsets
  }
}

/** A broker in one read. */
function seenIn(survey: Survey<Offsets>, id: string) {
  const moments = new Map<number, Moment<Offsets> | undefined>()
  return {
    replica: `broker/${id}`,
    outcome: survey.answers.get(id),
    last: survey.last(id)?.answer,
    /** Why the ends of what it leads are not known. */
    error: new Error(`broker ${id} leads it`, { cause: survey.failures.get(id) ?? NO_COPY }),
    /** Returns where a leader was when this broker answered. */
    leaderWhen(leader: number) {
      if (!moments.has(leader)) moments.set(leader, survey.leaderWhen(`${leader}`, id))
      return moments.get(leader)
    },
  }
}

function toFollower(
  { replica, outcome }: ReturnType<typeof seenIn>,
  endIn: (offsets: Offsets | undefined) => Offset,
  moment: Moment<Offsets> | undefined,
): FollowerReading {
  if (!outcome || 'error' in outcome) return unreachable(replica, outcome?.error)
  const appliedSeqno = endIn(outcome.answer)
  if (!isPosition(appliedSeqno)) {
    return unreachable(replica, failureOf(appliedSeqno)?.error ?? NO_COPY)
  }
  const leaderSeqno = endIn(moment?.answer)
  if (!moment || !isPosition(leaderSeqno)) return { replica }
  if (appliedSeqno > leaderSeqno) return { replica, diverged: true, problem: LONGER }
  return { replica, appliedSeqno, comparedWith: { leaderSeqno, at: moment.at } }
}

/** What a broker has answered in place of an offset, if that is an error. */
function failureOf(offset: Offset): Failure | undefined {
  return typeof offset === 'object' ? (offset ?? undefined) : undefined
}

const NO_COPY = new Error('it has no copy')
const LONGER = 'its log is longer than that of the leader: it has not followed this leader yet'
