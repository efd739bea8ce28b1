import { jetstream as clientOf, jetstreamManager } from '@nats-io/jetstream'
import { JetStreamCluster } from '../servers/jetstream.mjs'

const MIRROR = 'mirror/COPY'
const CONSUMER = 'consumer/worker'

/** A consumer that acknowledges all but the messages that it is to hold. */
class Worker {
  isHolding = false
  /** The sequence numbers that it has not acknowledged. @type {number[]} */
  held = []

  /** @param {import('@nats-io/transport-node').NatsConnection} connection */
  async run(connection) {
    const manager = await jetstreamManager(connection)
    const ack_wait = 3600e9
    await manager.consumers.add('ORDERS', {
      durable_name: 'worker',
      ack_policy: 'explicit',
      ack_wait,
    })
    const consumer = await clientOf(connection).consumers.get('ORDERS', 'worker')
    for await (const message of await consumer.consume()) {
      if (this.isHolding && message.seq % 50 === 0) this.held.push(message.seq)
      else message.ack()
    }
  }
}

/** @param {import('../servers/servers.mjs').Servers} servers @returns {Promise<import('./compare.mjs').Comparison>} */
export async function start(servers) {
  const cluster = await JetStreamCluster.start(servers)
  const { source } = await cluster.connect({ source: { consumers: true } })
  await cluster.manage(({ streams }) =>
    streams.add({
      name: 'COPY',
      mirror: { name: 'ORDERS' },
      placement: { cluster: 'demo', tags: [cluster.leader] },
    }),
  )
  const [first, second] = cluster.followers
  const worker = new Worker()

  return {
    command: '`nats stream info`',
    source,
    write: () =>
      cluster.use(async (connection) => {
        const { seq } = await clientOf(connection).publish('orders.new', 'x', { timeout: 500 })
        return BigInt(seq)
      }),
    async position(name) {
      if (name !== MIRROR) return cluster.position(name)
      return BigInt((await cluster.stream(cluster.leader, 'COPY')).state.last_seq)
    },
    truth(name, load) {
      if (name !== CONSUMER) return undefined
      const [oldest] = worker.held
      const { seconds } = oldest === undefined ? { seconds: 0 } : load.lag(BigInt(oldest - 1))
      return { count: worker.held.length, seconds }
    },
    plain: (name) =>
      cluster.manage(async ({ streams, consumers }) => {
        if (name === MIRROR) return { count: (await streams.info('COPY')).mirror?.lag }
        if (name === CONSUMER) {
          const { num_pending, num_ack_pending } = await consumers.info('ORDERS', 'worker')
          return { count: num_pending + num_ack_pending }
        }
        const { cluster: group } = await streams.info('ORDERS')
        /** @type {{ lag?: number, current: boolean } | undefined} a lag of 0 is left out */
        const found = group?.replicas?.find((each) => each.name === name)
        return { count: found?.lag ?? 0, connected: found?.current }
      }),
    async run({ incident, load }) {
      await incident('healthy and busy: a server', first)
      await incident('the same: a mirror', MIRROR)
      await incident('one server frozen', first, () => cluster.freezeServer(first))
      await incident('the same: the healthy server', second)
      await incident('the same: a mirror', MIRROR)
      await incident('thawed', first, () => cluster.thawServer(first))
      await incident('one server cut off', first, () => cluster.cut(first))
      await incident('its link is back', first, () => cluster.mend(first))
      await incident('a consumer', CONSUMER, () => {
        void cluster.use((connection) => worker.run(connection)).catch(() => undefined)
      })
      worker.isHolding = true
      await incident('it does not acknowledge one message of 50', CONSUMER)
      await incident('nothing is written', CONSUMER, () => (load.isBusy = false))
      await incident('a server killed, nothing is written', first, () => cluster.kill(first))
      await incident('it is back', first, () => cluster.restart(first))
    },
  }
}
