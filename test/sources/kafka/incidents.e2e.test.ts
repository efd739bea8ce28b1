import { listOffsetsV9 } from '@platformatic/kafka'
import kafkajs from 'kafkajs'
import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished } from 'vitest'
import { kafka } from '../../servers/kafka.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'
import { read, untilSeen } from '../shared/systems.js'
import { CLIENTS, connect, seen, useCluster } from './cluster.js'

await describeInstalled(kafka, () => {
  const started = useCluster(3)
  let topics = 0

  /** Creates a topic whose partitions are on these brokers, with 10 records in each and a group that has consumed 4. */
  async function createTopic(...partitions: [number, ...number[]][]): Promise<string> {
    const topic = `topic-${++topics}`
    const assignments = partitions.map((brokers, partition) => ({ partition, brokers }))
    await started().createTopic(topic, { assignments })
    for (const { partition } of assignments) {
      await started().write(10, { topic, partition })
      await started().commit(`${topic}-group`, topic, 4, partition)
    }
    return topic
  }

  /** Kills a broker, and waits until the others know. It is started again when the test ends. */
  async function killBroker(id: number): Promise<void> {
    await started().broker(id).server?.kill()
    onTestFinished(() => startBroker(id), 60_000)
    await untilKnown(2)
  }

  async function startBroker(id: number): Promise<void> {
    await started().startBroker(id)
    await untilKnown(3)
  }

  function untilKnown(count: number) {
    return eventually(async () => {
      const { brokers } = await started().admin.metadata({ topics: [], forceUpdate: true })
      expect(brokers.size).toBe(count)
    })
  }

  const untilLag = (source: ReplicationSource, topic: string, partition: number, lag: number) =>
    untilSeen(source, `${topic}/${partition}`, `${topic}-group`, { lag, connected: false })

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
      const lost = await createTopic([1], [3])
      const other = await createTopic([1, 2, 3], [3, 1, 2])
      const groups = [`${lost}-group`, `${other}-group`]
      const source = await connect(started(), client, { groups })
      for (const topic of [lost, other]) await untilLag(source, topic, 1, 6)
      await killBroker(3)
      await eventually(() => started().write(2, { topic: other, partition: 1 }))
      const sources = [source, await connect(started(), client, { groups })]
      if (client === 'kafkajs') {
        // One client is enough as long as it has not read a topic that has lost its leader.
        const brokers = started().brokers.map(({ port }) => `127.0.0.1:${port}`)
        const retry = { retries: 1, initialRetryTime: 20 }
        const admin = new kafkajs.Kafka({
          brokers,
          retry,
          logLevel: kafkajs.logLevel.NOTHING,
        }).admin()
        onTestFinished(() => admin.disconnect())
        sources.push(await connect(started(), client, { groups, admin }))
      }
      for (const each of sources) {
        await untilLag(each, other, 0, 6)
        await untilLag(each, other, 1, 8)
        // kafkajs knows nothing of the whole topic.
        if (client !== 'kafkajs') await untilLag(each, lost, 0, 6)
        await eventually(async () => {
          const { shards } = await read(each)
          const row = shards.find(({ shard }) => shard === `${lost}/1`)
          expect(row).toEqual({
            shard: `${lost}/1`,
            followers: [{ replica: `${lost}-group`, connected: false }],
            problem: expect.stringMatching(/no leader/) as string,
          })
        })
      }
    })

    it('reads what other brokers lead while one does not answer, and recovers', async () => {
      // The client asks broker 1 first.
      for (const id of [1, 2]) {
        const [frozen, other] = [await createTopic([id]), await createTopic([3])]
        const groups = [`${frozen}-group`, `${other}-group`]
        const source = await connect(started(), client, { groups })
        for (const topic of [frozen, other]) await untilLag(source, topic, 0, 6)
        started().broker(id).server?.freeze()
        try {
          await eventually(() => started().write(3, { topic: other }))
          await untilLag(source, other, 0, 9)
          // A client that asks the frozen broker first asks another one in time.
          const fresh = await connect(started(), client, { groups })
          const { shards } = await fresh.read(AbortSignal.timeout(5000), 5000)
          expect(shards.find(({ shard }) => shard === `${other}/0`)).toMatchObject({
            leaderSeqno: 13n,
            followers: [{ appliedSeqno: 4n }],
          })
        } finally {
          started().broker(id).server?.thaw()
        }
        await untilKnown(3)
        await untilLag(source, frozen, 0, 6)
      }
    })
  })

  it('reports brokers that are behind by their own logs, and groups by what they can consume', async () => {
    const topic = await createTopic([1, 2, 3], [3, 2, 1])
    const group = `${topic}-group`
    const source = await connect(started(), '@platformatic/kafka', {
      groups: [group],
      topics: [topic],
      brokers: listOffsetsV9,
    })
    const [first, second] = [`${topic}/0/brokers`, `${topic}/1/brokers`]
    for (const broker of ['broker/2', 'broker/3'])
      await untilSeen(source, first, broker, { lag: 0 })
    for (const broker of ['broker/1', 'broker/2'])
      await untilSeen(source, second, broker, { lag: 0 })
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
      expect(find(`${topic}/0`)).toMatchObject({
        followers: [{ replica: group, appliedSeqno: 4n }],
      })
      const { lag, connected, problem } = (await seen(source, first, 'broker/2')) ?? {}
      expect({ lag, connected }).toEqual({ lag: undefined, connected: false })
      expect(problem).toMatch(/^cannot be read: /)
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

  it('reports a broker that was killed as disconnected, and follows the new leader of its partitions', async () => {
    const topic = await createTopic([1, 2, 3], [3, 2, 1])
    const source = await connect(started(), '@platformatic/kafka', {
      groups: [],
      topics: [topic],
      brokers: listOffsetsV9,
    })
    const shard = `${topic}/1/brokers`
    await untilSeen(source, shard, 'broker/2', { lag: 0 })
    await started().broker(3).server?.kill()
    await eventually(() => started().write(5, { topic, partition: 1 }))
    await eventually(async () => {
      const found = await seen(source, shard, 'broker/3')
      expect(found).toMatchObject({ connected: false, lag: undefined })
    })
    await startBroker(3)
    await untilSeen(source, shard, 'broker/3', { lag: 0 })
  })
})
