import { Consumer, listOffsetsV9, Writer } from '@platformatic/kafka'
import kafkajs from 'kafkajs'
import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import {
  kafkaSource,
  type KafkaSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/kafka'
import { describe, expect, it, onTestFinished } from 'vitest'
import { kafka, KafkaCluster } from '../../servers/kafka.mjs'
import { eventually } from '../../support/eventually.js'
import {
  describeContract,
  describeInstalled,
  useStarted,
  type ContractOptions,
} from '../contract.js'
import { read, readShard, untilSeen } from '../shared/systems.js'

const CLIENTS = ['kafkajs', '@platformatic/kafka']
const containing = (text: string) => expect.stringContaining(text) as string

const CONTRACT: ContractOptions = {
  faults: {
    'wrong password': /Kafka: .*: check the user and its password/,
    'missing right': /Kafka: .*: grant the user Describe on the groups/,
  },
  // The other e2e tests of Kafka have three brokers.
  failsOver: false,
  cannot: {
    pause: 'a group has no server of its own',
    gates: 'a group has no server of its own',
    wipe: 'a group has no data of its own',
    claim: 'the controller elects one leader',
  },
}

await describeInstalled(kafka, () => {
  // It asks for the commits and the members of each group, and tries another client when one hangs. It connects for each read.
  describeContract(kafka, { ...CONTRACT, client: 'kafkajs', questions: 6, reads: 150 })
  // It asks for two things at a time that do not depend on each other.
  describeContract(kafka, { ...CONTRACT, client: '@platformatic/kafka', questions: 2 })
})

/** Starts brokers, and returns functions that create topics and sources on them. */
function useCluster(count: number, prefix: string) {
  const started = useStarted((servers) => KafkaCluster.start(servers, count))
  let topics = 0
  /** Creates a topic with this many records in each partition, and a group that has committed an offset in each. */
  async function createTopic(
    records: number,
    commit?: number,
    assignments = [{ partition: 0, brokers: [1] }],
  ) {
    const topic = `${prefix}-${++topics}`
    await started().createTopic(topic, { assignments })
    for (const { partition } of assignments) {
      if (records > 0) await started().write(records, { topic, partition })
      if (commit !== undefined) await started().commit(`${topic}-group`, topic, commit, partition)
    }
    return topic
  }
  /** Creates a source whose client is closed when the test ends. */
  async function connect(
    client: string,
    source: { [Name in keyof KafkaSourceOptions]?: KafkaSourceOptions[Name] | undefined },
  ) {
    const connected = await started().connect({ client, source: { ...source } })
    onTestFinished(() => connected.close())
    return connected.source
  }
  return { started, createTopic, connect }
}

/** Reads what is seen of a follower. It is undefined if the follower is not in the reading. */
async function seen(source: ReplicationSource, shard: string, replica: string) {
  const { shards } = await read(source)
  const isThere = shards.some((each) => each.shard === shard)
  return isThere ? (await readShard(source, shard)).seen[replica] : undefined
}

/** Waits until the group of a topic, which has no members, has a lag in one of its partitions. */
const untilLag = (source: ReplicationSource, topic: string, partition: number, lag?: number) =>
  untilSeen(source, `${topic}/${partition}`, `${topic}-group`, { lag, connected: false })

await describeInstalled(kafka, () => {
  const { started, createTopic, connect } = useCluster(1, 'topic')
  const deleteTopic = (topic: string) => started().admin.deleteTopics({ topics: [topic] })

  /** Begins a transaction, and sends this many records in it. */
  async function beginTransaction(topic: string, records: number) {
    const options = { transactionalId: topic, maxInFlightRequests: 1, idempotent: true }
    const producer = started().client.producer(options)
    onTestFinished(() => producer.disconnect())
    await producer.connect()
    const transaction = await producer.transaction()
    const messages = Array.from({ length: records }, () => ({ value: 'uncommitted' }))
    await transaction.send({ topic, messages })
    return transaction
  }

  describe.each(CLIENTS)('through %s', (client) => {
    it('reports a partition without a commit from the start of its log, and one that was added', async () => {
      const two = [0, 1].map((partition) => ({ partition, brokers: [1] }))
      const topic = await createTopic(3, undefined, two)
      const group = `${topic}-group`
      const source = await connect(client, { groups: [group] })
      const note = containing(`group ${group}: no data`)
      expect(await read(source)).toMatchObject({ shards: [], complete: true, note })
      await started().commit(group, topic, 1)
      await untilLag(source, topic, 0, 2)
      await untilLag(source, topic, 1, 3)
      await started().admin.createPartitions({ topics: [{ name: topic, count: 3 }] })
      await eventually(async () => {
        const known = await started().producer.metadata({ topics: [topic], forceUpdate: true })
        expect(known.topics.get(topic)?.partitionsCount).toBe(3)
      })
      await started().write(5, { topic, partition: 2 })
      await untilLag(await connect(client, { groups: [group] }), topic, 2, 5)
      await started().commit(group, topic, 1, 2)
      await untilLag(source, topic, 2, 4)
    })

    it('finds all groups, new ones and those that have committed nothing, and leaves some out', async () => {
      const topic = await createTopic(4)
      const names = ['a', 'b', 'left-out'].map((name) => `${topic}-${name}`)
      const filter = ({ replica }: { replica: string }) =>
        replica.startsWith(topic) && !replica.endsWith('left-out')
      const source = await connect(client, { groups: undefined, filter })
      expect(await seen(source, `${topic}/0`, `${topic}-a`)).toBeUndefined()
      for (const name of names) await started().commit(name, topic, 1)
      for (const name of names.slice(0, 2))
        await untilSeen(source, `${topic}/0`, name, { lag: 3, connected: false })
      expect(await seen(source, `${topic}/0`, `${topic}-left-out`)).toBeUndefined()
      const subscribed = await createTopic(6)
      await started().restart(`${topic}-c`, subscribed, { commits: false })
      onTestFinished(() => started().kill(`${topic}-c`))
      await untilSeen(source, `${subscribed}/0`, `${topic}-c`, { lag: 6 })
    })

    it('names a group and a topic that may no longer be described, keeps them, and forgets a group that was deleted', async () => {
      const [topic, secret] = [await createTopic(4), await createTopic(4)]
      const [hidden, other, deleted] = ['hidden', 'other', 'deleted'].map(
        (name) => `${topic}-${name}`,
      ) as [string, string, string]
      const groups = [hidden, other, deleted]
      for (const group of groups) await started().commit(group, topic, 1)
      await started().commit(other, secret, 1)
      const source = await connect(client, { groups })
      for (const group of groups)
        await untilSeen(source, `${topic}/0`, group, { lag: 3, connected: false })
      await started().hide('topic', secret)
      await started().hide('group', hidden)
      await started().admin.deleteGroups({ groups: [deleted] })
      const gone = { replica: other, connected: false }
      const followers = [
        { ...gone, appliedSeqno: 1n },
        { replica: hidden, connected: false },
      ]
      await eventually(async () => {
        const { shards, complete } = await read(source)
        expect(shards).toMatchObject([
          { shard: `${topic}/0`, leaderSeqno: 4n, followers },
          {
            shard: `${secret}/0`,
            followers: [gone],
            problem: containing('Describe on the topics'),
          },
          { shard: 'consumer groups', followers: [], problem: containing(hidden) },
        ])
        expect(complete).toBe(true)
      })
    })

    it('names topics that do not exist or may not be described, and reads the others', async () => {
      const [hidden, other] = [await createTopic(4), await createTopic(4)]
      await started().hide('topic', hidden)
      const topics = [hidden, 'nowhere', other]
      const source = await connect(client, { groups: ['anything'], topics })
      await eventually(async () => {
        const problem = containing('Describe on the topics')
        expect((await read(source)).shards).toMatchObject([
          { shard: hidden, followers: [], problem },
          { shard: 'nowhere', followers: [], problem: containing('nowhere') },
          { shard: `${other}/0`, leaderSeqno: 4n, followers: [{ appliedSeqno: 0n }] },
        ])
      })
    })

    it('counts no records that were deleted before a group consumed them, and says so', async () => {
      const topic = await createTopic(50, 10)
      const source = await connect(client, { groups: [`${topic}-group`] })
      await untilLag(source, topic, 0, 40)
      const problem = containing('records were deleted before')
      for (const offset of [30, 50]) {
        const partitions = [{ partition: 0, offset: BigInt(offset) }]
        await started().admin.deleteRecords({ topics: [{ name: topic, partitions }] })
        const expected = { lag: 50 - offset, connected: false, problem }
        await untilSeen(source, `${topic}/0`, `${topic}-group`, expected)
      }
      await started().commit(`${topic}-group`, topic, 50)
      await untilLag(source, topic, 0, 0)
    })

    it('ends where open transactions begin with read_committed', async () => {
      const topic = await createTopic(10, 8)
      const group = `${topic}-group`
      const source = await connect(client, { groups: [group], isolation: 'read_committed' })
      const transaction = await beginTransaction(topic, 5)
      await untilLag(source, topic, 0, 2)
      if (client !== 'kafkajs') {
        const uncommitted = await connect(client, { groups: [group] })
        await untilLag(uncommitted, topic, 0, 7)
      }
      // This group has consumed records of the open transaction.
      await started().commit(group, topic, 12)
      await untilLag(source, topic, 0, undefined)
      await transaction.commit()
      // The end of the transaction takes an offset of its own.
      await untilLag(source, topic, 0, 4)
    })

    it('starts from scratch when a topic was recreated', async () => {
      const topic = await createTopic(20, 15)
      const source = await connect(client, { groups: [`${topic}-group`] })
      await untilLag(source, topic, 0, 5)
      const before = (await read(source)).shards[0]
      await deleteTopic(topic)
      await eventually(async () => {
        await started().createTopic(topic)
        await started().write(4, { topic })
      })
      await started().commit(`${topic}-group`, topic, 3)
      await untilLag(source, topic, 0, 1)
      expect((await read(source)).shards[0]?.epoch).not.toBe(before?.epoch)
    })

    it('reports groups of the new protocol, and says why share groups are not', async () => {
      const topic = await createTopic(5)
      const [group, sharing] = [`${topic}-new`, `${topic}-sharing`]
      const source = await connect(client, { topics: [topic] })
      const end = await startNewConsumer(started(), group, topic)
      await joinShareGroup(started(), sharing, topic)
      await untilSeen(source, `${topic}/0`, group, { lag: 0 })
      const { note, shards } = await read(source)
      expect(note).toMatch(new RegExp(`group .*${sharing}.*: it is a share group`))
      const reported = shards.flatMap(({ followers }) => followers.map(({ replica }) => replica))
      expect(reported).not.toContain(sharing)
      await end()
      await started().write(2, { topic })
      // kafkajs cannot find out that it has no members.
      await untilSeen(source, `${topic}/0`, group, { lag: 2, connected: client === 'kafkajs' })
    })

    it('removes the followers of a topic that was deleted', async () => {
      const [deleted, other, added] = [
        await createTopic(3, 1),
        await createTopic(3),
        await createTopic(3),
      ]
      const group = `${deleted}-group`
      await started().commit(group, other, 1)
      const source = await connect(client, { groups: [group] })
      const single = started().client.admin({ retry: { retries: 0 } })
      onTestFinished(() => single.disconnect())
      const useless = kafkaSource({ admin: single, groups: [group] })
      for (const each of [source, useless]) await untilLag(each, deleted, 0, 2)
      await deleteTopic(deleted)
      // A client of kafkajs looks up its topics again now, and fails for all of them.
      await started().commit(group, added, 1)
      await eventually(async () => {
        const { shards, complete } = await read(source)
        expect(complete).toBe(true)
        expect(shards.map(({ shard }) => shard).sort()).toEqual([`${other}/0`, `${added}/0`].sort())
      })
      const message = 'pass a function that creates one'
      await eventually(() => expect(read(useless)).rejects.toThrow(message))
    })
  })
})

await describeInstalled(kafka, () => {
  const { started, createTopic, connect } = useCluster(3, 'copied')
  /** Creates a topic whose partitions are on these brokers, with 10 records in each and a group that has consumed 4. */
  const createCopies = (...partitions: [number, ...number[]][]) => {
    const assignments = partitions.map((brokers, partition) => ({ partition, brokers }))
    return createTopic(10, 4, assignments)
  }

  const untilKnown = (count: number) =>
    eventually(async () => {
      const { brokers } = await started().admin.metadata({ topics: [], forceUpdate: true })
      expect(brokers.size).toBe(count)
    })

  /** Kills a broker, and waits until the others know. It is started again when the test ends. */
  async function killBroker(id: number): Promise<void> {
    await started().broker(id).server?.kill()
    onTestFinished(async () => {
      await started().startBroker(id)
      await untilKnown(3)
    }, 60_000)
    await untilKnown(2)
  }

  /** Sets how many bytes per second broker 2 may replicate of a topic. It is ignored while it is in sync. */
  async function throttle(topic: string, rate: string) {
    const set = (name: string, value: string) => [{ name, value, configOperation: 0 as const }]
    const replicas = set('follower.replication.throttled.replicas', '0:2,1:2')
    const rates = set('follower.replication.throttled.rate', rate)
    await started().admin.incrementalAlterConfigs({
      resources: [
        { resourceType: 2, resourceName: topic, configs: replicas },
        { resourceType: 4, resourceName: '2', configs: rates },
      ],
    })
  }

  describe.each(CLIENTS)('through %s', (client) => {
    it('names a partition without a leader, and reads everything else', async () => {
      const lost = await createCopies([1], [3])
      const other = await createCopies([1, 2, 3], [3, 1, 2])
      const groups = [`${lost}-group`, `${other}-group`]
      const source = await connect(client, { groups })
      for (const topic of [lost, other]) await untilLag(source, topic, 1, 6)
      await killBroker(3)
      await eventually(() => started().write(2, { topic: other, partition: 1 }))
      const sources = [source, await connect(client, { groups })]
      if (client === 'kafkajs') {
        // One client is enough as long as it has not read a topic that has lost its leader.
        const brokers = started().brokers.map(({ port }) => `127.0.0.1:${port}`)
        const retry = { retries: 1, initialRetryTime: 20 }
        const logLevel = kafkajs.logLevel.NOTHING
        const admin = new kafkajs.Kafka({ brokers, retry, logLevel }).admin()
        onTestFinished(() => admin.disconnect())
        sources.push(kafkaSource({ groups, admin }))
      }
      const [shard, problem] = [`${lost}/1`, expect.stringMatching(/no leader/) as string]
      const followers = [{ replica: `${lost}-group`, connected: false }]
      for (const each of sources) {
        await untilLag(each, other, 0, 6)
        await untilLag(each, other, 1, 8)
        // kafkajs knows nothing of the whole topic.
        if (client !== 'kafkajs') await untilLag(each, lost, 0, 6)
        await eventually(async () => {
          const row = (await read(each)).shards.find((found) => found.shard === shard)
          expect(row).toEqual({ shard, followers, problem })
        })
      }
    })

    it('reads what other brokers lead while one does not answer, and recovers', async () => {
      // The client asks broker 1 first.
      for (const id of [1, 2]) {
        const [frozen, other] = [await createCopies([id]), await createCopies([3])]
        const groups = [`${frozen}-group`, `${other}-group`]
        const source = await connect(client, { groups })
        for (const topic of [frozen, other]) await untilLag(source, topic, 0, 6)
        started().broker(id).server?.freeze()
        try {
          await eventually(() => started().write(3, { topic: other }))
          await untilLag(source, other, 0, 9)
          // A client that asks the frozen broker first asks another one in time.
          const fresh = await connect(client, { groups })
          const { shards } = await fresh.read(AbortSignal.timeout(5000), 5000)
          const found = shards.find(({ shard }) => shard === `${other}/0`)
          expect(found).toMatchObject({ leaderSeqno: 13n, followers: [{ appliedSeqno: 4n }] })
        } finally {
          started().broker(id).server?.thaw()
        }
        await untilKnown(3)
        await untilLag(source, frozen, 0, 6)
      }
    })
  })

  it('reports brokers that are behind by their own logs, and groups by what they can consume', async () => {
    const topic = await createCopies([1, 2, 3], [3, 2, 1])
    const options = { groups: [`${topic}-group`], topics: [topic], brokers: listOffsetsV9 }
    const source = await connect('@platformatic/kafka', options)
    const [first, second] = [`${topic}/0/brokers`, `${topic}/1/brokers`]
    for (const id of [2, 3]) await untilSeen(source, first, `broker/${id}`, { lag: 0 })
    for (const id of [1, 2]) await untilSeen(source, second, `broker/${id}`, { lag: 0 })
    expect(await seen(source, first, 'broker/1')).toBeUndefined()

    await throttle(topic, '2000')
    started().broker(2).server?.freeze()
    try {
      // In pieces, because one batch is replicated at once.
      for (let i = 0; i < 20; i++) await started().write(20, { topic, acks: 1 })
      // The client may ask the frozen broker first, and leaves it after a while.
      const { shards } = await eventually(() => read(source))
      const find = (shard: string) => shards.find((each) => each.shard === shard)
      expect(find(first)).toMatchObject({ leaderSeqno: 410n })
      expect(find(`${topic}/0`)).toMatchObject({ followers: [{ appliedSeqno: 4n }] })
      const problem = expect.stringMatching(/^cannot be read: /) as string
      const hung = { lag: undefined, connected: false, problem }
      expect(await seen(source, first, 'broker/2')).toMatchObject(hung)
      await untilSeen(source, first, 'broker/3', { lag: 0 })
      // Once broker 2 is out of sync, consumers can get them.
      await untilLag(source, topic, 0, 406)
    } finally {
      started().broker(2).server?.thaw()
    }
    await eventually(async () => {
      const { lag, connected } = (await seen(source, first, 'broker/2')) ?? {}
      expect(connected).toBe(true)
      expect(lag).toBeGreaterThan(0)
      expect(lag).toBeLessThanOrEqual(400)
    })
    await throttle(topic, '1000000')
    await untilSeen(source, first, 'broker/2', { lag: 0 })
  })
})

/** Starts a consumer of the new protocol (KIP-848), and returns a function that ends it. */
async function startNewConsumer(
  { brokers: [{ port }] }: KafkaCluster,
  group: string,
  topic: string,
) {
  const options = { clientId: group, groupId: group, groupProtocol: 'consumer' as const }
  const consumer = new Consumer({ ...options, bootstrapBrokers: [`127.0.0.1:${port}`] })
  const close = () => new Promise<void>((resolve) => consumer.close(true, () => resolve()))
  onTestFinished(close)
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest', maxWaitTime: 100 })
  stream.on('data', () => undefined)
  // Closed between two of its requests, it fails.
  stream.on('error', () => undefined)
  return close
}

/** Joins a share group as a member, which creates it. No JavaScript client has a consumer for it. */
async function joinShareGroup({ admin }: KafkaCluster, group: string, topic: string) {
  const [connection] = (await admin.connectToBrokers([1])).values()
  const [heartbeat, version] = [76, 1]
  const createRequest = () =>
    Writer.create()
      .appendString(group)
      .appendString('bWVtYmVyIG9mIGdyb3VwIQ')
      .appendInt32(0)
      .appendString(null)
      .appendArray([topic], (writer, each) => writer.appendString(each), true, false)
      .appendTaggedFields()
  await new Promise<void>((resolve, reject) => {
    const settle = (error: Error | null) => (error ? reject(error) : resolve())
    connection?.send(heartbeat, version, createRequest, () => ({}), true, true, settle)
  })
}
