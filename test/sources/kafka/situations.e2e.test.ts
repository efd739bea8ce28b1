import { describe, expect, it, onTestFinished } from 'vitest'
import { kafka } from '../../servers/kafka.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'
import { CLIENTS, connect, read, seen, untilSeen, useCluster } from './cluster.js'

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

    it('reports no position of a partition without a commit, also of one that was added', async () => {
      const topic = await createTopic(10)
      const source = await connectTo({ groups: [`${topic}-group`] })
      expect(await read(source)).toMatchObject({
        shards: [],
        note: expect.stringContaining(`group ${topic}-group: nothing is known`) as string,
      })
      await started().commit(`${topic}-group`, topic, 4)
      await untilSeen(source, `${topic}/0`, `${topic}-group`, { lag: 6 })
      await started().admin.createPartitions({ topics: [{ name: topic, count: 2 }] })
      await eventually(async () => {
        const known = await started().producer.metadata({ topics: [topic], forceUpdate: true })
        expect(known.topics.get(topic)?.partitionsCount).toBe(2)
      })
      await started().write(3, { topic, partition: 1 })
      const fresh = await connectTo({ groups: [`${topic}-group`] })
      await untilSeen(fresh, `${topic}/1`, `${topic}-group`, { lag: undefined })
      await started().commit(`${topic}-group`, topic, 1, 1)
      await untilSeen(source, `${topic}/1`, `${topic}-group`, { lag: 2 })
      await untilSeen(fresh, `${topic}/1`, `${topic}-group`, { lag: 2 })
    })

    it('reports each group for topics that are named, and says which do not exist', async () => {
      const topic = await createTopic(2)
      const source = await connectTo({ groups: ['idle'], topics: [topic, 'nowhere'] })
      expect(await seen(source, `${topic}/0`, 'idle')).toMatchObject({ lag: undefined })
      const { note, shards } = await read(source)
      expect(note).toMatch(/^group idle, topic nowhere: nothing is known/)
      expect(shards).toHaveLength(1)
    })

    it('counts no records that were deleted before a group consumed them', async () => {
      const topic = await createTopic(50)
      const group = `${topic}-group`
      await started().commit(group, topic, 10)
      const source = await connectTo({ groups: [group] })
      await untilSeen(source, `${topic}/0`, group, { lag: 40 })
      const deleteUpTo = (offset: bigint) => {
        const topics = [{ name: topic, partitions: [{ partition: 0, offset }] }]
        return started().admin.deleteRecords({ topics })
      }
      await deleteUpTo(30n)
      await untilSeen(source, `${topic}/0`, group, { lag: 20 })
      await deleteUpTo(50n)
      await untilSeen(source, `${topic}/0`, group, { lag: 0 })
    })

    it('keeps a group whose consumers are gone, and removes it when its commits are', async () => {
      const topic = await createTopic(5)
      const group = `${topic}-group`
      await started().restart(group, topic)
      const source = await connectTo({ groups: [group] })
      await untilSeen(source, `${topic}/0`, group, { lag: 0 })
      await started().kill(group)
      await started().write(7, { topic })
      await untilSeen(source, `${topic}/0`, group, { lag: 7 })
      await started().admin.deleteGroups({ groups: [group] })
      expect((await read(source)).shards).toMatchObject([
        { shard: `${topic}/0`, followers: [], removed: [group] },
      ])
      expect((await read(source)).shards).toEqual([])
    })

    it('ends where open transactions begin with read_committed', async () => {
      const topic = await createTopic(10)
      const group = `${topic}-group`
      await started().commit(group, topic, 8)
      const source = await connectTo({ groups: [group], isolation: 'read_committed' })
      const transaction = await beginTransaction(topic, 5)
      await untilSeen(source, `${topic}/0`, group, { lag: 2 })
      // This group has consumed records of the open transaction.
      await started().commit(group, topic, 12)
      await untilSeen(source, `${topic}/0`, group, { lag: undefined })
      await transaction.commit()
      // The end of the transaction takes an offset of its own.
      await untilSeen(source, `${topic}/0`, group, { lag: 4 })
      await started().commit(group, topic, 15)
      await untilSeen(source, `${topic}/0`, group, { lag: 1 })
    })

    it('starts from scratch when a topic was recreated', async () => {
      const topic = await createTopic(20)
      const group = `${topic}-group`
      await started().commit(group, topic, 15)
      const source = await connectTo({ groups: [group] })
      await untilSeen(source, `${topic}/0`, group, { lag: 5 })
      const before = (await read(source)).shards[0]
      await started().admin.deleteTopics({ topics: [topic] })
      await eventually(async () => {
        await started().createTopic(topic)
        await started().write(4, { topic })
      })
      await started().commit(group, topic, 3)
      await untilSeen(source, `${topic}/0`, group, { lag: 1 })
      const after = (await read(source)).shards[0]
      expect(after?.epoch).not.toBe(before?.epoch)
    })

    it('reads many partitions', async () => {
      const topic = await createTopic(0, 40)
      const group = `${topic}-group`
      await started().write(9, { topic, partition: 39 })
      for (const partition of [0, 39]) await started().commit(group, topic, 0, partition)
      const source = await connectTo({ groups: [group] })
      await untilSeen(source, `${topic}/39`, group, { lag: 9 })
      expect((await read(source)).shards).toHaveLength(40)
    })
  })

  it('removes the followers of a topic that was deleted, with @platformatic/kafka', async () => {
    const [deleted, other] = [await createTopic(3), await createTopic(3)]
    const group = `${deleted}-group`
    for (const topic of [deleted, other]) await started().commit(group, topic, 1)
    const source = await connect(started(), '@platformatic/kafka', { groups: [group] })
    await untilSeen(source, `${deleted}/0`, group, { lag: 2 })
    await started().admin.deleteTopics({ topics: [deleted] })
    await eventually(async () => {
      const { shards } = await read(source)
      expect(shards).toContainEqual(
        expect.objectContaining({ shard: `${deleted}/0`, followers: [], removed: [group] }),
      )
    })
    await untilSeen(source, `${other}/0`, group, { lag: 2 })
  })

  it('says that kafkajs needs a new client after a topic was deleted', async () => {
    const [deleted, other, added] = [
      await createTopic(3),
      await createTopic(3),
      await createTopic(3),
    ]
    const group = `${deleted}-group`
    for (const topic of [deleted, other]) await started().commit(group, topic, 1)
    const source = await connect(started(), 'kafkajs', { groups: [group] })
    await untilSeen(source, `${deleted}/0`, group, { lag: 2 })
    await started().admin.deleteTopics({ topics: [deleted] })
    // It looks up its topics again now, and else after some minutes.
    await started().commit(group, added, 1)
    await eventually(() =>
      expect(read(source)).rejects.toThrow('if a topic was deleted, kafkajs needs a new admin'),
    )
    const fresh = await connect(started(), 'kafkajs', { groups: [group] })
    await untilSeen(fresh, `${other}/0`, group, { lag: 2 })
  })

  it('counts records of open transactions unless told otherwise, with @platformatic/kafka', async () => {
    const topic = await createTopic(10)
    await started().commit('uncommitted', topic, 10)
    const source = await connect(started(), '@platformatic/kafka', { groups: ['uncommitted'] })
    const transaction = await beginTransaction(topic, 5)
    await untilSeen(source, `${topic}/0`, 'uncommitted', { lag: 5 })
    await transaction.abort()
    await untilSeen(source, `${topic}/0`, 'uncommitted', { lag: 6 })
  })
})
