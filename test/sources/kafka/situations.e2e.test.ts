import { kafkaSource } from 'opentelemetry-instrumentation-replication-lag/sources/kafka'
import { describe, expect, it, onTestFinished } from 'vitest'
import { kafka } from '../../servers/kafka.mjs'
import { eventually } from '../../support/eventually.js'
import { describeContract, describeInstalled, type ContractOptions } from '../contract.js'
import { read, untilSeen } from '../shared/systems.js'
import { CLIENTS, connect, joinShareGroup, seen, startNewConsumer, useCluster } from './cluster.js'

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
  describeContract(kafka, {
    ...CONTRACT,
    client: 'kafkajs',
    // It asks for the commits and the members of each group, and tries another client when one hangs. It connects for each
    // read.
    questions: 6,
    reads: 150,
  })
  // It asks for two things at a time that do not depend on each other.
  describeContract(kafka, { ...CONTRACT, client: '@platformatic/kafka', questions: 2 })
})

await describeInstalled(kafka, () => {
  const started = useCluster(1)
  let topics = 0

  /** Creates a topic with this many records. */
  async function createTopic(records: number, partitions = 1): Promise<string> {
    const topic = `topic-${++topics}`
    await started().createTopic(topic, { partitions, replicas: 1 })
    if (records > 0) await started().write(records, { topic })
    return topic
  }

  /** Begins a transaction, and sends this many records in it. */
  async function beginTransaction(topic: string, records: number) {
    const producer = started().client.producer({
      transactionalId: topic,
      maxInFlightRequests: 1,
      idempotent: true,
    })
    onTestFinished(() => producer.disconnect())
    await producer.connect()
    const transaction = await producer.transaction()
    const messages = Array.from({ length: records }, () => ({ value: 'uncommitted' }))
    await transaction.send({ topic, messages })
    return transaction
  }

  describe.each(CLIENTS)('through %s', (client) => {
    const connectTo = (source: Parameters<typeof connect>[2]) => connect(started(), client, source)

    it('reports a partition without a commit from the start of its log, and one that was added', async () => {
      const topic = await createTopic(10, 2)
      const group = `${topic}-group`
      const source = await connectTo({ groups: [group] })
      expect(await read(source)).toMatchObject({
        shards: [],
        complete: true,
        note: expect.stringContaining(`group ${group}: no data`) as string,
      })
      await started().commit(group, topic, 4)
      await untilSeen(source, `${topic}/0`, group, { lag: 6, connected: false })
      await started().write(3, { topic, partition: 1 })
      await untilSeen(source, `${topic}/1`, group, { lag: 3, connected: false })
      await started().admin.createPartitions({ topics: [{ name: topic, count: 3 }] })
      await eventually(async () => {
        const known = await started().producer.metadata({ topics: [topic], forceUpdate: true })
        expect(known.topics.get(topic)?.partitionsCount).toBe(3)
      })
      await started().write(5, { topic, partition: 2 })
      const fresh = await connectTo({ groups: [group] })
      await untilSeen(fresh, `${topic}/2`, group, { lag: 5, connected: false })
      await started().commit(group, topic, 1, 2)
      await untilSeen(source, `${topic}/2`, group, { lag: 4, connected: false })
    })

    it('reports each named group for topics that are named, and names a topic that does not exist', async () => {
      const topic = await createTopic(2)
      const source = await connectTo({ groups: ['idle'], topics: [topic, 'nowhere'] })
      await untilSeen(source, `${topic}/0`, 'idle', { lag: 2, connected: expect.anything() })
      const { shards, complete } = await read(source)
      expect(complete).toBe(false)
      expect(shards).toMatchObject([
        { shard: `${topic}/0` },
        { shard: 'nowhere', followers: [], problem: expect.stringContaining('nowhere') as string },
      ])
    })

    it('finds all groups, new ones and those that have committed nothing, and leaves some out', async () => {
      const topic = await createTopic(4)
      const names = ['a', 'b', 'left-out'].map((name) => `${topic}-${name}`)
      const filter = ({ replica }: { replica: string }) =>
        replica.startsWith(topic) && !replica.endsWith('left-out')
      const source = await connectTo({ groups: undefined, filter })
      expect(await seen(source, `${topic}/0`, `${topic}-a`)).toBeUndefined()
      for (const name of names) await started().commit(name, topic, 1)
      await untilSeen(source, `${topic}/0`, `${topic}-a`, { lag: 3, connected: false })
      await untilSeen(source, `${topic}/0`, `${topic}-b`, { lag: 3, connected: false })
      expect(await seen(source, `${topic}/0`, `${topic}-left-out`)).toBeUndefined()
      const subscribed = await createTopic(6)
      await started().restart(`${topic}-c`, subscribed, { commits: false })
      onTestFinished(() => started().kill(`${topic}-c`))
      await untilSeen(source, `${subscribed}/0`, `${topic}-c`, { lag: 6 })
    })

    it('names a group that may not be described, and reads the others', async () => {
      const topic = await createTopic(4)
      const [hidden, other] = [`${topic}-hidden`, `${topic}-other`]
      for (const group of [hidden, other]) await started().commit(group, topic, 1)
      await started().hide('group', hidden)
      const source = await connectTo({ groups: [hidden, other] })
      const { shards, complete } = await read(source)
      expect(complete).toBe(false)
      expect(shards).toMatchObject([
        { shard: `${topic}/0`, leaderSeqno: 4n, followers: [{ replica: other, appliedSeqno: 1n }] },
        { shard: 'groups', followers: [], problem: expect.stringContaining(hidden) as string },
      ])
    })

    it('names a topic that may not be described, and reads the others', async () => {
      const [hidden, other] = [await createTopic(4), await createTopic(4)]
      const source = await connectTo({ groups: ['anything'], topics: [hidden, other] })
      await untilSeen(source, `${hidden}/0`, 'anything', { lag: 4, connected: expect.anything() })
      await started().hide('topic', hidden)
      const fresh = await connectTo({ groups: ['anything'], topics: [hidden, other] })
      await eventually(async () => {
        const { shards } = await read(fresh)
        expect(shards).toMatchObject([
          {
            shard: hidden,
            followers: [],
            problem: expect.stringContaining('Describe on the topics') as string,
          },
          { shard: `${other}/0`, leaderSeqno: 4n },
        ])
      })
    })

    it('counts no records that were deleted before a group consumed them, and says so', async () => {
      const topic = await createTopic(50)
      const group = `${topic}-group`
      await started().commit(group, topic, 10)
      const source = await connectTo({ groups: [group] })
      await untilSeen(source, `${topic}/0`, group, { lag: 40, connected: false })
      const deleteUpTo = (offset: bigint) => {
        const topics = [{ name: topic, partitions: [{ partition: 0, offset }] }]
        return started().admin.deleteRecords({ topics })
      }
      const problem = expect.stringContaining('records were deleted before') as unknown as string
      await deleteUpTo(30n)
      await untilSeen(source, `${topic}/0`, group, { lag: 20, connected: false, problem })
      await deleteUpTo(50n)
      await untilSeen(source, `${topic}/0`, group, { lag: 0, connected: false, problem })
      await started().commit(group, topic, 50)
      await untilSeen(source, `${topic}/0`, group, { lag: 0, connected: false })
    })

    it('ends where open transactions begin with read_committed', async () => {
      const topic = await createTopic(10)
      const group = `${topic}-group`
      await started().commit(group, topic, 8)
      const source = await connectTo({ groups: [group], isolation: 'read_committed' })
      const transaction = await beginTransaction(topic, 5)
      const connected = false
      await untilSeen(source, `${topic}/0`, group, { lag: 2, connected })
      // This group has consumed records of the open transaction.
      await started().commit(group, topic, 12)
      await untilSeen(source, `${topic}/0`, group, { lag: undefined, connected })
      await transaction.commit()
      // The end of the transaction takes an offset of its own.
      await untilSeen(source, `${topic}/0`, group, { lag: 4, connected })
      await started().commit(group, topic, 15)
      await untilSeen(source, `${topic}/0`, group, { lag: 1, connected })
    })

    it('starts from scratch when a topic was recreated', async () => {
      const topic = await createTopic(20)
      const group = `${topic}-group`
      await started().commit(group, topic, 15)
      const source = await connectTo({ groups: [group] })
      await untilSeen(source, `${topic}/0`, group, { lag: 5, connected: false })
      const before = (await read(source)).shards[0]
      await started().admin.deleteTopics({ topics: [topic] })
      await eventually(async () => {
        await started().createTopic(topic)
        await started().write(4, { topic })
      })
      await started().commit(group, topic, 3)
      await untilSeen(source, `${topic}/0`, group, { lag: 1, connected: false })
      const after = (await read(source)).shards[0]
      expect(after?.epoch).not.toBe(before?.epoch)
    })

    it('reports groups of the new protocol, and says why share groups are not', async () => {
      const topic = await createTopic(5)
      const [group, sharing] = [`${topic}-new`, `${topic}-sharing`]
      const source = await connectTo({ topics: [topic] })
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
  })

  it.each(CLIENTS)(
    'removes the followers of a topic that was deleted, through %s',
    async (client) => {
      const [deleted, other, added] = [
        await createTopic(3),
        await createTopic(3),
        await createTopic(3),
      ]
      const group = `${deleted}-group`
      for (const topic of [deleted, other]) await started().commit(group, topic, 1)
      const source = await connect(started(), client, { groups: [group] })
      await untilSeen(source, `${deleted}/0`, group, { lag: 2, connected: false })
      await started().admin.deleteTopics({ topics: [deleted] })
      // A client of kafkajs looks up its topics again now, and fails for all of them.
      await started().commit(group, added, 1)
      await eventually(async () => {
        const { shards, complete } = await read(source)
        expect(complete).toBe(true)
        expect(shards.map(({ shard }) => shard).sort()).toEqual([`${other}/0`, `${added}/0`].sort())
      })
    },
  )

  it('says that one client of kafkajs needs to be replaced after a topic was deleted', async () => {
    const [deleted, other, added] = [
      await createTopic(3),
      await createTopic(3),
      await createTopic(3),
    ]
    const group = `${deleted}-group`
    for (const topic of [deleted, other]) await started().commit(group, topic, 1)
    const admin = started().client.admin({ retry: { retries: 0 } })
    onTestFinished(() => admin.disconnect())
    const source = kafkaSource({ admin, groups: [group] })
    await untilSeen(source, `${deleted}/0`, group, { lag: 2, connected: false })
    await started().admin.deleteTopics({ topics: [deleted] })
    await started().commit(group, added, 1)
    await eventually(() => expect(read(source)).rejects.toThrow('pass a function that creates one'))
  })

  it('counts records of open transactions unless configured otherwise, with @platformatic/kafka', async () => {
    const topic = await createTopic(10)
    await started().commit('uncommitted', topic, 10)
    const source = await connect(started(), '@platformatic/kafka', { groups: ['uncommitted'] })
    const transaction = await beginTransaction(topic, 5)
    await untilSeen(source, `${topic}/0`, 'uncommitted', { lag: 5, connected: false })
    await transaction.abort()
    await untilSeen(source, `${topic}/0`, 'uncommitted', { lag: 6, connected: false })
  })
})
