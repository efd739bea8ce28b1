import { jetstream as clientOf, jetstreamManager } from '@nats-io/jetstream'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { JetStreamCluster } from '../servers/jetstream.mjs'
import { Servers } from '../servers/servers.mjs'

// `npm run compare -- jetstream`, or `-- jetstream --seconds 20` for how long each incident lasts.

/** @typedef {{ messages?: number | undefined, seconds?: number | undefined, connected?: boolean | undefined }} Lag */

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '10' } } })
const incidentMillis = Number(values.seconds) * 1000
const MIRROR = 'mirror/COPY'
const CONSUMER = 'consumer/worker'

/** Publishes about 50 messages a second. */
class Load {
  isBusy = true
  /** When each message was stored, by its sequence number. @type {number[]} */
  written = []
  #isOver = false
  /** @type {Promise<void>} */
  #running

  /** @param {JetStreamCluster} cluster */
  constructor(cluster) {
    this.#running = this.#run(cluster)
  }

  /** @param {JetStreamCluster} cluster */
  async #run(cluster) {
    while (!this.#isOver) {
      const publish = () =>
        cluster.use(async (connection) => {
          for (let i = 0; i < 50 && this.isBusy && !this.#isOver; i++) {
            const { seq } = await clientOf(connection).publish('orders.new', 'x', { timeout: 500 })
            this.written[seq] = performance.now()
            await sleep(20)
          }
        })
      await publish().catch(() => sleep(200))
      if (!this.isBusy) await sleep(100)
    }
  }

  async stop() {
    this.#isOver = true
    await this.#running
  }

  /** @param {number} missing how many messages @param {number} next the first of them @returns {Lag} */
  lag(missing, next) {
    const at = this.written[next]
    return { messages: missing, seconds: missing > 0 && at ? (performance.now() - at) / 1000 : 0 }
  }
}

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

/** @param {ReplicationLagMetricProducer} producer @param {string} name @returns {Lag} */
function readMonitor(producer, name) {
  const found = producer.gauge.collectMetrics().find(({ replica }) => replica === name)
  return { messages: found?.lagSeqno, seconds: found?.lagSeconds, connected: found?.connected }
}

/** @param {Lag} lag */
function format({ messages, seconds, connected }) {
  const parts = [
    seconds === undefined ? undefined : `${seconds.toFixed(1)} s`,
    messages === undefined ? undefined : `${messages}`,
    connected === false ? 'not connected' : undefined,
  ]
  return parts.filter((part) => part !== undefined).join(', ') || 'nothing'
}

const servers = await Servers.create()
try {
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
  const load = new Load(cluster)
  servers.onStop(() => load.stop())
  const producer = new ReplicationLagMetricProducer({ sources: [source], pollIntervalMillis: 1000 })
  servers.onStop(() => producer.shutdown())
  /** @type {Map<string, bigint>} */
  const known = new Map()

  /** @param {string} name @returns {Promise<Lag>} what the node itself says, or has said when it last answered */
  const readTruth = async (name) => {
    if (name === CONSUMER) return load.lag(worker.held.length, worker.held[0] ?? 0)
    const mirror = () => cluster.stream(cluster.leader, 'COPY').catch(() => undefined)
    const own = async () =>
      name === MIRROR ? BigInt((await mirror())?.state.last_seq ?? 0) : cluster.position(name)
    const late = sleep(300).then(() => known.get(name) ?? 0n)
    const position = await Promise.race([own().catch(() => late), late])
    known.set(name, position)
    return load.lag(Math.max(0, load.written.length - 1 - Number(position)), Number(position) + 1)
  }
  /** @param {string} name @returns {Promise<Lag>} what `nats stream info` and `nats consumer info` show */
  const readPlain = (name) =>
    cluster.manage(async ({ streams, consumers }) => {
      if (name === MIRROR) return { messages: (await streams.info('COPY')).mirror?.lag }
      if (name === CONSUMER) {
        const { num_pending, num_ack_pending } = await consumers.info('ORDERS', 'worker')
        return { messages: num_pending + num_ack_pending }
      }
      const { cluster: group } = await streams.info('ORDERS')
      /** @type {{ lag?: number, current: boolean } | undefined} a lag of 0 is left out */
      const found = group?.replicas?.find((each) => each.name === name)
      return { messages: found?.lag ?? 0, connected: found?.current }
    })

  console.log('| incident | truth | this package, each second | `nats stream info` |')
  console.log('| --- | --- | --- | --- |')
  /** @param {string} title @param {string} name @param {() => unknown} [begin] */
  const incident = async (title, name, begin) => {
    await readTruth(name)
    await begin?.()
    await sleep(incidentMillis)
    const plain = await readPlain(name).catch(() => ({}))
    const shown = [await readTruth(name), readMonitor(producer, name), plain]
    console.log(`| ${title} | ${shown.map(format).join(' | ')} |`)
  }

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
  await incident('nobody writes', CONSUMER, () => (load.isBusy = false))
  await incident('a server killed, nobody writes', first, () => cluster.kill(first))
  await incident('it is back', first, () => cluster.restart(first))
} finally {
  await servers.stop()
}
process.exit()
