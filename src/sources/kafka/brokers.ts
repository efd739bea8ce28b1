import { Nodes, unreachable, type Moment, type Survey } from '../shared/nodes.js'
import type { FollowerReading } from '../source.js'
import {
  addOffsets,
  addPlace,
  fieldsOf,
  isFailure,
  map,
  pause,
  topicsIn,
  toQuestion,
  type Cluster,
  type Deadline,
  type Offsets,
  type Partition,
} from './answer.js'
import { answerOf } from './errors.js'
import type { PlatformaticAdmin } from './platformatic-admin.js'

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

/** Where the log of a partition ends at its leader, and the brokers that copy it. */
export interface Copies {
  readonly end?: bigint | undefined
  /** Why there is no end. */
  readonly error?: unknown
  readonly followers: readonly FollowerReading[]
}

/** The replica id of a debugging consumer. A broker answers it with the end of its own log, whether it leads or not. */
const DEBUG_REPLICA = -2

/** Brokers, each asked for the ends of its own logs. */
export class KafkaBrokers {
  private questions = new Map<string, ReturnType<typeof toQuestion<Row>>>()
  private leaders: ReadonlySet<string> = new Set()
  private readonly nodes = new Nodes<Offsets>(() => this.leaders)

  constructor(
    private readonly admin: PlatformaticAdmin,
    private readonly listOffsets: ListOffsets,
  ) {}

  /** Returns a function that finds the copies of a partition. */
  async read(
    topics: Cluster['topics'],
    { signal, left }: Deadline,
  ): Promise<(topic: string, partition: Partition) => Copies> {
    await this.prepare(topics)
    const survey = await this.nodes.read(signal, left())
    const momentOf = momentsIn(survey)
    return (topic, { partition, leader, replicas }) => {
      const endIn = (offsets: Offsets | undefined) => {
        const end = offsets?.get(topic)?.[partition] ?? -1n
        return end < 0n ? undefined : end
      }
      const end = endIn(survey.last(`${leader}`)?.answer)
      const followers: FollowerReading[] = []
      for (const id of replicas) {
        if (id === leader || replicas.length === 1) continue
        followers.push(toFollower(id, survey, endIn, momentOf(leader, id)))
      }
      if (end !== undefined) return { end, followers }
      const cause = survey.failures.get(`${leader}`) ?? NO_COPY
      const error = leader < 0 ? NO_LEADER : new Error(`broker ${leader} leads it`, { cause })
      return { error, followers }
    }
  }

  /** Collects which broker is asked about which partitions. */
  private async prepare(topics: Cluster['topics']): Promise<void> {
    const parts = new Map<string, Map<string, number[]>>()
    const leaders = new Set<string>()
    for (const [topic, found] of topics) {
      for (const { partition, leader, replicas } of isFailure(found) ? [] : found.partitions) {
        for (const id of replicas) addPlace(parts, `${id}`, topic, partition)
        leaders.add(`${leader}`)
      }
    }
    this.leaders = leaders
    for (const id of this.questions.keys()) if (!parts.has(id)) this.nodes.delete(id)
    this.questions = new Map()
    for (const [id, places] of parts) {
      this.questions.set(id, toQuestion(places, toRow))
      if (!this.nodes.has(id)) this.nodes.set(id, () => this.askEnds(Number(id)))
      await pause()
    }
  }

  private async askEnds(id: number): Promise<Offsets> {
    const connection = map(await this.admin.connectToBrokers([id]), 'connections').get(id)
    if (!connection) throw new Error('it is not in the cluster')
    const topics = this.questions.get(`${id}`) ?? []
    const asking = this.listOffsets.api.async(connection as never, DEBUG_REPLICA, 0, topics)
    const ofAnswer = asking.then((answer) => fieldsOf(answer)['topics'])
    const { rows } = await answerOf(ofAnswer, 'topics')
    const offsets = new Map<string, (bigint | null | undefined)[]>()
    for (const [, topic, partitions] of topicsIn(rows)) {
      addOffsets(offsets, topic, partitions, 'partitionIndex', 'offset')
    }
    return offsets
  }
}

type Row = ReturnType<typeof toRow>

function toRow(partitionIndex: number) {
  return { partitionIndex, currentLeaderEpoch: -1, timestamp: -1n }
}

function toFollower(
  id: number,
  { answers }: Survey<Offsets>,
  endIn: (offsets: Offsets | undefined) => bigint | undefined,
  moment: Moment<Offsets> | undefined,
): FollowerReading {
  const replica = `broker/${id}`
  const outcome = answers.get(`${id}`)
  if (!outcome || 'error' in outcome) return unreachable(replica, outcome?.error)
  const appliedSeqno = endIn(outcome.answer)
  if (appliedSeqno === undefined) return unreachable(replica, NO_COPY)
  const leaderSeqno = endIn(moment?.answer)
  if (!moment || leaderSeqno === undefined) return { replica }
  if (appliedSeqno > leaderSeqno) return { replica, diverged: true, problem: LONGER }
  return { replica, appliedSeqno, comparedWith: { leaderSeqno, at: moment.at } }
}

const NO_COPY = new Error('it has no copy')
const NO_LEADER = new Error('it has no leader')
const LONGER = 'its log is longer than that of the leader: it has not followed this leader yet'

/** Finds where a leader was when a follower answered. There are few pairs of brokers, and many partitions. */
function momentsIn(survey: Survey<Offsets>) {
  const moments = new Map<number, Moment<Offsets> | undefined>()
  return (leader: number, follower: number) => {
    const key = leader * 2 ** 24 + follower
    if (!moments.has(key)) moments.set(key, survey.leaderWhen(`${leader}`, `${follower}`))
    return moments.get(key)
  }
}
