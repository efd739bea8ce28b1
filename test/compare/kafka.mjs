import { listOffsetsV9 } from '@platformatic/kafka'
import { KafkaCluster } from '../servers/kafka.mjs'

const TOPIC = 'orders'
const [BILLING, SHIPPING] = ['billing', 'shipping']
const BROKER = 'broker/2'

/** @param {import('../servers/servers.mjs').Servers} servers @returns {Promise<import('./compare.mjs').Comparison>} */
export async function start(servers) {
  const cluster = await KafkaCluster.start(servers, 3)
  const { admin } = cluster
  await cluster.createTopic(TOPIC, { assignments: [{ partition: 0, brokers: [1, 2, 3] }] })
  await cluster.restart(BILLING)
  await cluster.restart(SHIPPING)
  const { source } = await cluster.connect({
    client: '@platformatic/kafka',
    source: { topics: [TOPIC], brokers: listOffsetsV9 },
  })
  const endOf = async (/** @type {number} */ broker) => {
    // Otherwise the client keeps the brokers that it knew.
    await admin.metadata({ topics: [], forceUpdate: true })
    const connection = (await admin.connectToBrokers([broker])).get(broker)
    if (!connection) throw new Error(`there is no connection to broker ${broker}`)
    const partitions = [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1n }]
    const topics = [{ name: TOPIC, partitions }]
    const answer = await listOffsetsV9.api.async(connection, -2, 0, topics)
    return answer.topics[0]?.partitions[0]?.offset ?? 0n
  }

  return {
    command: '`kafka-consumer-groups.sh`',
    source,
    async write() {
      await cluster.write(1, { acks: 1 })
      return endOf(1)
    },
    async position(name) {
      if (name === BROKER) return endOf(2)
      const partitions = [{ partitionIndex: 0, timestamp: -2n }]
      const [topic] = await admin.listOffsets({ topics: [{ name: TOPIC, partitions }] })
      const start = topic?.partitions[0]?.offset ?? 0n
      const committed = await cluster.position(name)
      return committed > start ? committed : start
    },
    async truth(name) {
      if (name === BROKER) return undefined
      const ahead = (await cluster.position(name)) - (await cluster.position())
      return ahead > 0n ? { count: Number(-ahead) } : undefined
    },
    // LOG-END-OFFSET and CURRENT-OFFSET of `--describe`, and the number of members.
    async plain(name) {
      if (name === BROKER) return {}
      const committed = await cluster.position(name)
      const end = await cluster.position()
      const found = (await admin.listGroups({ types: ['classic'] })).get(name)
      return { count: Number(end - committed), connected: found?.state === 'STABLE' }
    },
    async run({ incident, load }) {
      await incident('healthy and busy: a group', SHIPPING)
      await incident('the same: a broker that copies', BROKER)
      await incident('a consumer paused', BILLING, () => cluster.cut(BILLING))
      await incident('the same: the other group', SHIPPING)
      await incident('it consumes again', BILLING, () => cluster.mend(BILLING))
      await incident('a broker that copies frozen', BROKER, () =>
        cluster.broker(2).server?.freeze(),
      )
      await incident('thawed', BROKER, () => cluster.broker(2).server?.thaw())
      await incident('the consumer of a group ended', BILLING, () => cluster.kill(BILLING))
      await incident('the records that it lacks deleted', BILLING, async () => {
        load.isBusy = false
        const offset = await cluster.position()
        const topics = [{ name: TOPIC, partitions: [{ partition: 0, offset }] }]
        await admin.deleteRecords({ topics })
      })
      load.isBusy = true
      await incident('it is back', BILLING, () => cluster.restart(BILLING))
      await incident('a commit past the end, nothing is written', BILLING, async () => {
        load.isBusy = false
        await cluster.kill(BILLING)
        await cluster.commit(BILLING, TOPIC, Number(await cluster.position()) + 1000)
      })
    },
  }
}
