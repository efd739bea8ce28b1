import { listOffsetsV9 } from '@platformatic/kafka'
import { expect, it } from 'vitest'
import { kafka } from '../../servers/kafka.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'
import { CLIENTS, connect, read, seen, untilSeen, useCluster } from './cluster.js'

await describeInstalled(kafka, () => {
  const started = useCluster(3)
  /** Partition 0 is led by broker 1, partition 1 by broker 3. */
  const assignments = [
    { partition: 0, brokers: [1, 2, 3] },
    { partition: 1, brokers: [3, 2, 1] },
  ]

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

  it('reports brokers that are behind by their own logs, and groups by what they can consume', async () => {
    const topic = 'replicated'
    await started().createTopic(topic, { assignments })
    await started().write(100, { topic })
    await started().write(50, { topic, partition: 1 })
    await started().commit('billing', topic, 100)
    const source = await connect(started(), '@platformatic/kafka', {
      groups: ['billing'],
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
      // The client may ask the frozen broker first, which it gives up after a while.
      const { shards } = await eventually(() => read(source))
      const find = (shard: string) => shards.find((each) => each.shard === shard)
      expect(find(first)).toMatchObject({ leaderSeqno: 500n })
      expect(find(`${topic}/0`)).toMatchObject({
        followers: [{ replica: 'billing', appliedSeqno: 100n }],
      })
      const { lag, connected, problem } = (await seen(source, first, 'broker/2')) ?? {}
      expect({ lag, connected }).toEqual({ lag: undefined, connected: false })
      expect(problem).toMatch(/^cannot be read: /)
      await untilSeen(source, first, 'broker/3', { lag: 0 })
      // Once broker 2 is out of sync, consumers can get them.
      await untilSeen(source, `${topic}/0`, 'billing', { lag: 400, connected: false })
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

  it('follows the leader of a partition when a broker is killed, and reports that broker as disconnected', async () => {
    const topic = 'failing-over'
    await started().createTopic(topic, { assignments })
    await started().write(10, { topic, partition: 1 })
    await started().commit('shipping', topic, 10, 1)
    const sources = await Promise.all(
      CLIENTS.map((client) =>
        connect(started(), client, { groups: ['shipping'], topics: [topic] }),
      ),
    )
    const brokers = await connect(started(), '@platformatic/kafka', {
      groups: [],
      topics: [topic],
      brokers: listOffsetsV9,
    })
    const shard = `${topic}/1`
    // A group that only commits has no member.
    for (const source of sources) {
      await untilSeen(source, shard, 'shipping', { lag: 0, connected: false })
    }
    await untilSeen(brokers, `${shard}/brokers`, 'broker/2', { lag: 0 })
    await started().broker(3).server?.kill()
    await eventually(() => started().write(5, { topic, partition: 1 }))
    for (const source of sources) {
      await eventually(async () => {
        const { lag } = (await seen(source, shard, 'shipping')) ?? {}
        expect(lag).toBeGreaterThanOrEqual(5)
      })
    }
    await eventually(async () => {
      const found = await seen(brokers, `${shard}/brokers`, 'broker/3')
      expect(found).toMatchObject({ connected: false, lag: undefined })
    })
    await started().startBroker(3)
    await untilSeen(brokers, `${shard}/brokers`, 'broker/3', { lag: 0 })
  })
})
