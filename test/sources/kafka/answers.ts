import type { ReplicationReading } from 'opentelemetry-instrumentation-replication-lag'
import {
  kafkaSource,
  type KafkaSourceOptions,
  type KafkajsAdmin,
  type ListOffsets,
  type PlatformaticAdmin,
} from 'opentelemetry-instrumentation-replication-lag/sources/kafka'

// What a broker of Kafka 4.4 has answered: topic `orders`, 10 records in partition 0 of which 2 are deleted, none in
// partition 1. Group `billing` has committed 4 in partition 0. Group `idle` has committed nothing.

export const TOPIC_ID = '8ccf4aca-eb59-45a6-817c-e8d039e7f7de'

/** A group with one member, which has subscribed to `orders`. Group `idle` has none. */
function describeGroup(groupId: string) {
  const memberMetadata = Buffer.from('\0\x01\0\0\0\x01\0\x06orders\0\0\0\0')
  const isIdle = groupId === 'idle'
  return {
    errorCode: 0,
    groupId,
    state: isIdle ? 'Empty' : 'Stable',
    protocolType: isIdle ? '' : 'consumer',
    protocol: 'RoundRobinAssigner',
    members: isIdle ? [] : [{ memberId: 'member', memberMetadata }],
  }
}

export const KAFKAJS = {
  listGroups: {
    groups: [
      { groupId: 'billing', protocolType: 'consumer' },
      { groupId: 'idle', protocolType: '' },
      { groupId: 'sharing', protocolType: 'share' },
    ],
  } as unknown,
  describeGroups: (groups: string[]) => ({ groups: groups.map((id) => describeGroup(id)) }),
  fetchTopicMetadata: { topics: [] } as unknown,
  fetchOffsets: [{ topic: 'orders', partitions: [{ partition: 0, offset: '4', metadata: null }] }],
  fetchTopicOffsets: [
    { partition: 0, offset: '10', high: '10', low: '2' },
    { partition: 1, offset: '0', high: '0', low: '0' },
  ],
}

const partition = { leader: 1, leaderEpoch: 0, replicas: [1, 2], isr: [1, 2], offlineReplicas: [] }
const offsets = (first: bigint) => [
  {
    name: 'orders',
    partitions: [
      { offset: first, timestamp: -1n, partitionIndex: 0, leaderEpoch: 0 },
      { offset: 0n, timestamp: -1n, partitionIndex: 1, leaderEpoch: 0 },
    ],
  },
]

export const PLATFORMATIC = {
  listGroups: new Map([
    [
      'billing',
      { id: 'billing', state: 'STABLE', groupType: 'consumer', protocolType: 'consumer' },
    ],
    ['idle', { id: 'idle', state: 'EMPTY', groupType: 'classic', protocolType: '' }],
    ['sharing', { id: 'sharing', state: 'STABLE', groupType: 'share', protocolType: 'share' }],
  ]) as unknown,
  findCoordinator: (groups: string[]) =>
    groups.map((key) => ({ key, nodeId: 1, host: '127.0.0.1', port: 40147 })),
  metadata: {
    id: 'AAAAAAAAAAAAAAAAAAAAAQ',
    brokers: new Map([
      [1, { host: '127.0.0.1', port: 40147, rack: null }],
      [2, { host: '127.0.0.1', port: 40148, rack: null }],
    ]),
    topics: new Map([
      ['orders', { id: TOPIC_ID, partitions: [partition, partition], partitionsCount: 2 }],
    ]),
    lastUpdate: 1795651887700,
    controllerId: 1,
  } as unknown,
  listConsumerGroupOffsets: [
    {
      groupId: 'billing',
      topics: [
        {
          name: 'orders',
          partitions: [
            { partitionIndex: 0, committedOffset: 4n, committedLeaderEpoch: -1, metadata: '' },
          ],
        },
      ],
    },
    { groupId: 'idle', topics: [] },
  ],
  starts: offsets(2n),
  ends: offsets(10n),
  /** The ends of the logs of each broker. */
  brokers: { 1: { topics: offsets(12n) }, 2: { topics: offsets(9n) } } as Record<number, unknown>,
}

/** An answer, or a function that returns or throws it. */
type Answers<T> = { [Name in keyof T]?: unknown }

function answerWith(answer: unknown, question: unknown): Promise<unknown> {
  const isFunction = typeof answer === 'function'
  return new Promise((resolve) =>
    resolve(isFunction ? (answer as (question: unknown) => unknown)(question) : answer),
  )
}

/** An admin client of kafkajs that answers this. `calls` are the names of the methods that were called. */
export function createKafkajs(changes: Answers<typeof KAFKAJS> = {}) {
  const answers = { ...KAFKAJS, ...changes }
  const calls: string[] = []
  const call = (name: string, answer: unknown, question?: unknown) => {
    calls.push(name)
    return answerWith(answer, question)
  }
  const admin: KafkajsAdmin = {
    connect: () => call('connect', undefined),
    listGroups: () => call('listGroups', answers.listGroups),
    describeGroups: (groups) => call('describeGroups', answers.describeGroups, groups),
    fetchTopicMetadata: ({ topics }) =>
      call('fetchTopicMetadata', answers.fetchTopicMetadata, topics),
    disconnect: () => call('disconnect', undefined),
    fetchOffsets: ({ groupId }) =>
      call('fetchOffsets', groupId === 'idle' ? [] : answers.fetchOffsets, groupId),
    fetchTopicOffsets: (topic) => call('fetchTopicOffsets', answers.fetchTopicOffsets, topic),
  }
  return { admin, calls }
}

/** An `Admin` of @platformatic/kafka, and its `listOffsetsV9`, that answer this. */
export function createPlatformatic(changes: Answers<typeof PLATFORMATIC> = {}) {
  const answers = { ...PLATFORMATIC, ...changes }
  const calls: string[] = []
  const call = (name: string, answer: unknown, question?: unknown) => {
    calls.push(name)
    return answerWith(answer, question)
  }
  const admin: PlatformaticAdmin = {
    metadata: ({ topics }) => call('metadata', answers.metadata, topics),
    listGroups: () => call('listGroups', answers.listGroups),
    findCoordinator: ({ keys }) => call('findCoordinator', answers.findCoordinator, keys),
    listConsumerGroupOffsets: ({ groups }) =>
      call('listConsumerGroupOffsets', answers.listConsumerGroupOffsets, groups),
    listOffsets({ topics, isolationLevel }) {
      const isStart = topics[0]?.partitions[0]?.timestamp === -2n
      const name = isStart ? 'starts' : `ends at isolation ${isolationLevel}`
      return call(name, isStart ? answers.starts : answers.ends, topics)
    },
    connectToBrokers: (ids) =>
      call(`connect ${ids.join()}`, new Map(ids.filter((id) => id < 3).map((id) => [id, { id }]))),
  }
  const listOffsets: ListOffsets = {
    api: {
      async(connection: { id: number }, replica) {
        const ofBroker = (answers.brokers as Record<number, unknown> | null | undefined)?.[
          connection.id
        ]
        return call(`broker ${connection.id} as ${replica}`, ofBroker)
      },
    },
  }
  return { admin, calls, listOffsets }
}

/** Reads once. */
export function readOnce(options: KafkaSourceOptions): Promise<ReplicationReading> {
  return kafkaSource(options).read(new AbortController().signal)
}
