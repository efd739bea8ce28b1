import { Admin, listOffsetsV9 } from '@platformatic/kafka'
import {
  ReplicationLagMetricProducer,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, it, onTestFinished } from 'vitest'
import { kafka } from '../../servers/kafka.mjs'
import { recordDiag } from '../../support/diag.js'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'
import { CLIENTS, connect, read, seen, untilSeen, useCluster } from './cluster.js'

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

  describe.each(CLIENTS)('through %s', (client) => {
    it('names a partition without a leader, and reads everything else', async () => {
      const lost = await createTopic([1], [3])
      const other = await createTopic([1, 2, 3], [3, 1, 2])
      const groups = [`${lost}-group`, `${other}-group`]
      const source = await connect(started(), client, { groups })
      for (const topic of [lost, other]) await untilLag(source, topic, 1, 6)
      await killBroker(3)
      await eventually(() => started().write(2, { topic: other, partition: 1 }))
      const fresh = await connect(started(), client, { groups })
      for (const each of [source, fresh]) {
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
        } finally {
          started().broker(id).server?.thaw()
        }
        await untilKnown(3)
        await untilLag(source, frozen, 0, 6)
      }
    })
  })

  it('logs once which partition has no leader, and keeps the series of the others', async () => {
    const topic = await createTopic([1], [2])
    const group = `${topic}-group`
    const source = await connect(started(), '@platformatic/kafka', { groups: [group] })
    const logged = recordDiag()
    onTestFinished(() => logged.stop())
    const producer = new ReplicationLagMetricProducer({
      sources: [source],
      pollIntervalMillis: 200,
    })
    onTestFinished(() => producer.shutdown())
    const lagOf = (partition: number) => {
      const all = producer.gauge.collectMetrics()
      return all.find(({ shard }) => shard === `${topic}/${partition}`)
    }
    await eventually(() => expect(lagOf(1)).toMatchObject({ lagSeqno: 6, connected: false }))
    await killBroker(2)
    await eventually(() => expect(logged.matching('warn', `${topic}/1`)).not.toEqual([]))
    await started().write(5, { topic, partition: 0 })
    await eventually(() => expect(lagOf(0)).toMatchObject({ lagSeqno: 11 }))
    const lines = logged.matching('warn', 'it has no leader')
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(`${topic}/1`)
  })

  it('compares each broker with its leader while another does not answer', async () => {
    const topic = await createTopic([1, 2, 3], [3, 1, 2])
    const source = await connect(started(), '@platformatic/kafka', {
      groups: [],
      topics: [topic],
      brokers: listOffsetsV9,
    })
    const [first, second] = [`${topic}/0/brokers`, `${topic}/1/brokers`]
    await untilSeen(source, first, 'broker/3', { lag: 0 })
    started().broker(2).server?.freeze()
    try {
      await eventually(async () => {
        expect(await seen(source, first, 'broker/2')).toMatchObject({ connected: false })
        expect(await seen(source, first, 'broker/3')).toMatchObject({ lag: 0, connected: true })
        expect(await seen(source, second, 'broker/1')).toMatchObject({ lag: 0, connected: true })
      })
    } finally {
      started().broker(2).server?.thaw()
    }
    await untilKnown(3)
    await untilSeen(source, first, 'broker/2', { lag: 0 })
  })

  it('survives brokers that are killed behind proxies, with SASL', async () => {
    const topic = await createTopic([1, 2, 3], [2, 3, 1], [3, 1, 2])
    const bootstrapBrokers = started().brokers.map(({ gate }) => `127.0.0.1:${gate.port}`)
    const sasl = { mechanism: 'PLAIN', username: 'monitor', password: 'monitor' } as const
    const uncaught: unknown[] = []
    const keep = (error: unknown) => uncaught.push(error)
    process.on('uncaughtException', keep)
    onTestFinished(() => void process.off('uncaughtException', keep))
    // With the options that a new user has.
    const admin = new Admin({ clientId: 'monitor', bootstrapBrokers, sasl })
    onTestFinished(() => admin.close())
    const source = await connect(started(), '@platformatic/kafka', {
      admin,
      groups: [`${topic}-group`],
    })
    for (const id of [2, 3]) {
      await untilLag(source, topic, id - 1, 6)
      await started().broker(id).server?.kill()
      for (let i = 0; i < 20; i++) {
        started().broker(id).gate.breakConnections()
        await read(source).catch(() => undefined)
      }
      await startBroker(id)
    }
    for (const partition of [0, 1, 2]) await untilLag(source, topic, partition, 6)
    expect(uncaught).toEqual([])
  })
})
