import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  AclOperations,
  AclPermissionTypes,
  Admin,
  Producer,
  ResourcePatternTypes,
  ResourceTypes,
  stringSerializers,
} from '@platformatic/kafka'
import { kafkaSource } from 'opentelemetry-instrumentation-replication-lag/sources/kafka'
import kafkajs from 'kafkajs'
import { freePort } from './postgres/processes.mjs'
import { cacheFolder, isOnPath, run } from './servers.mjs'

/** @import { Server, Servers } from './servers.mjs' */
/** @import { Gate } from './gate.mjs' */
/** @import { ConnectOptions } from './system.js' */
/** @typedef {{ id: number, port: number, controllerPort: number, gatedPort: number, gate: Gate, server?: Server }} Broker */

const LIBS = cacheFolder('replication-lag-kafka/libs')
const TOPIC = 'orders'
const GROUPS = /** @type {const} */ (['billing', 'shipping'])
/** A group that only an administrator may see. */
const SECRET = 'secret'

const JAVA = ['-Xms96m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto']
const MAIN = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-cp', join(LIBS, '*')]

/** @type {import('./system.js').SystemKind} */
export const kafka = {
  title: 'Kafka',
  unit: 'offsets',
  install: 'sh test/servers/kafka-install.sh',
  isInstalled: async () =>
    existsSync(join(LIBS, 'kafka_2.13-4.4.0.jar')) && (await isOnPath('java')),
  async start(servers) {
    const cluster = await KafkaCluster.start(servers)
    await cluster.createTopic(TOPIC)
    for (const group of GROUPS) await cluster.restart(group)
    await cluster.write(1)
    await servers.until('the groups have caught up', async () => {
      const positions = await Promise.all(GROUPS.map((group) => cluster.position(group)))
      return positions.every((position) => position === 1n)
    })
    return cluster
  },
}

/**
 * Brokers, and two consumer groups that are their followers. Clients of a source come through gates, all others go past
 * them.
 */
export class KafkaCluster {
  followers = /** @type {[string, string]} */ ([...GROUPS])
  shard = `${TOPIC}/0`
  knows = { fromOneNode: true }
  /** @type {Map<string, import('kafkajs').Consumer>} */
  #consumers = new Map()

  /** Use {@link KafkaCluster.start}. @param {Servers} servers @param {[Broker, ...Broker[]]} brokers */
  constructor(servers, brokers) {
    this.servers = servers
    this.brokers = brokers
    this.client = new kafkajs.Kafka({
      brokers: brokers.map(({ port }) => `127.0.0.1:${port}`),
      logLevel: kafkajs.logLevel.NOTHING,
      retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 30 },
    })
    // A client of kafkajs never forgets a topic, and fails when it was deleted.
    const bootstrapBrokers = brokers.map(({ port }) => `127.0.0.1:${port}`)
    // A broker that was frozen leads in a new epoch, and refuses questions with the old one.
    this.admin = new Admin({ clientId: 'administrator', bootstrapBrokers, metadataMaxAge: 0 })
    this.producer = new Producer({
      clientId: 'producer',
      bootstrapBrokers,
      serializers: stringSerializers,
    })
  }

  /** @param {Servers} servers @param {number} [count] how many brokers */
  static async start(servers, count = 1) {
    const ids = Array.from({ length: count }, (_, index) => index + 1)
    const [first, ...others] = await Promise.all(ids.map((id) => createBroker(servers, id)))
    if (!first) throw new Error('no broker')
    const cluster = new KafkaCluster(servers, [first, ...others])
    await Promise.all(cluster.brokers.map((broker) => cluster.#format(broker)))
    await Promise.all(cluster.brokers.map(({ id }) => cluster.startBroker(id)))
    servers.onStop(() => cluster.#disconnect())
    await servers.until('all brokers are in the cluster', async () => {
      const ended = cluster.brokers.find(({ server }) => server?.hasExited)
      if (ended) throw new Error(ended.server?.output)
      const { brokers } = await cluster.admin.metadata({ topics: [], forceUpdate: true })
      return brokers.size === count
    })
    // The topic that holds the commits is created when it is first asked for.
    await servers.until('groups have a coordinator', () =>
      cluster.admin.listConsumerGroupOffsets({ groups: [...GROUPS] }),
    )
    return cluster
  }

  /** @param {string} topic @param {Partial<import('@platformatic/kafka').CreateTopicsOptions>} [more] */
  async createTopic(topic, more) {
    const replicas = this.brokers.length
    const count = more?.assignments ? {} : { partitions: 1, replicas }
    await this.admin.createTopics({ topics: [topic], ...count, ...more })
    await this.servers.until(`all partitions of ${topic} have a leader`, async () => {
      const { topics } = await this.admin.metadata({ topics: [topic], forceUpdate: true })
      return topics.get(topic)?.partitions.every(({ leader }) => leader > 0)
    })
  }

  get gates() {
    return { log: this.brokers[0].gate }
  }

  /** The log is the leader of the groups. */
  leaderName = 'log'

  get nodes() {
    return [...new Set(['log', ...this.followers, ...this.#consumers.keys()])]
  }

  /** @param {string} name */
  async stateOf(name) {
    const leads = name === 'log'
    // What was deleted can no longer be consumed.
    const start = leads ? 0n : await this.#offset(-2n)
    const own = await this.position(leads ? undefined : name)
    const position = own > start ? own : start
    if (leads) return { position, leads, linked: true }
    // The client's describeGroups() ends the process while a member has no partitions yet.
    const groups = await this.admin.listGroups({ types: ['classic'] })
    const isEmpty = /EMPTY|DEAD/.test(groups.get(name)?.state ?? 'DEAD')
    return { position, leads, linked: !isEmpty }
  }

  get url() {
    const addresses = this.brokers.map(({ gate }) => `127.0.0.1:${gate.port}`)
    return `kafka://monitor:monitor@${addresses.join(',')}?groups=${GROUPS.join(',')}`
  }

  /** @param {ConnectOptions} [options] */
  async connect({ client = 'kafkajs', fault, source = {} } = {}) {
    const { gate } = this.brokers[0]
    const brokers = this.brokers.map((each) => `127.0.0.1:${each.gate.port}`)
    const groups = fault === 'missing right' ? [SECRET] : undefined
    if (fault === 'missing right') await this.hide('group', SECRET)
    const password = fault === 'wrong password' ? 'wrong' : 'monitor'
    const login = { username: 'monitor', password }
    if (client === '@platformatic/kafka') {
      const admin = new Admin({
        clientId: 'monitor',
        bootstrapBrokers: brokers,
        sasl: { mechanism: 'PLAIN', ...login },
        requestTimeout: 3000,
        retries: 0,
      })
      return { source: kafkaSource({ admin, groups, ...source }), gate, close: () => admin.close() }
    }
    const createAdmin = () => {
      brokers.push(...brokers.splice(0, 1))
      const monitor = new kafkajs.Kafka({
        brokers: [...brokers],
        sasl: { mechanism: 'plain', ...login },
        logLevel: kafkajs.logLevel.NOTHING,
        requestTimeout: 2000,
        retry: { retries: 1, initialRetryTime: 20 },
      })
      return monitor.admin()
    }
    return {
      source: kafkaSource({ admin: createAdmin, groups, ...source }),
      gate,
      close: () => Promise.resolve(),
    }
  }

  /** Denies the user of the sources to describe something. @param {'group' | 'topic'} kind @param {string} name */
  async hide(kind, name) {
    await this.admin.createAcls({ creations: [denialOf(kind, name)] })
  }

  revoke() {
    return this.hide('topic', TOPIC)
  }

  grant() {
    return this.admin.deleteAcls({ filters: [denialOf('topic', TOPIC)] })
  }

  /** Commits an offset for a group that has no consumer. @param {string} group @param {string} topic @param {number} offset */
  async commit(group, topic, offset, partition = 0) {
    const partitionOffsets = [{ partition, offset: BigInt(offset) }]
    const topics = [{ name: topic, partitionOffsets }]
    await this.admin.alterConsumerGroupOffsets({ groupId: group, topics })
  }

  /** @param {number} count @param {{ topic?: string, partition?: number, acks?: number }} [options] */
  async write(count, { topic = TOPIC, partition = 0, acks = -1 } = {}) {
    const value = 'x'.repeat(100)
    const messages = Array.from({ length: count }, () => ({ topic, partition, value }))
    await this.producer.send({ messages, acks })
  }

  /** @param {string} [group] */
  async position(group) {
    if (group === undefined) return this.#offset(-1n)
    const [found] = await this.admin.listConsumerGroupOffsets({ groups: [group] })
    return found?.topics[0]?.partitions[0]?.committedOffset ?? 0n
  }

  /** @param {bigint} timestamp -1 for the end of the log, -2 for its start */
  async #offset(timestamp) {
    const partitions = [{ partitionIndex: 0, timestamp }]
    const [topic] = await this.admin.listOffsets({ topics: [{ name: TOPIC, partitions }] })
    return topic?.partitions[0]?.offset ?? 0n
  }

  /** Its consumer does not consume. @param {string} group */
  async cut(group) {
    try {
      this.#consumers.get(group)?.pause([{ topic: TOPIC }])
    } catch {
      // One that has just crashed does not consume either.
    }
    return Promise.resolve()
  }

  /** @param {string} group */
  async mend(group) {
    try {
      this.#consumers.get(group)?.resume([{ topic: TOPIC }])
    } catch {
      // One that starts again consumes.
    }
    return Promise.resolve()
  }

  /** Ends the only consumer of a group. @param {string} group */
  async kill(group) {
    await this.#consumers.get(group)?.disconnect()
    this.#consumers.delete(group)
  }

  /** @param {string} group @param {string} [topic] @param {{ commits?: boolean }} [options] */
  async restart(group, topic = TOPIC, { commits = true } = {}) {
    const consumer = this.client.consumer({ groupId: group, maxWaitTimeInMs: 50 })
    this.#consumers.set(group, consumer)
    // After some errors, such as those of a broker that was away for long, it does not start again by itself.
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (payload.restart || this.#consumers.get(group) !== consumer) return
      const again = () => this.restart(group, topic, { commits }).then(() => true)
      this.servers.until(`${group} consumes again`, again).catch(() => undefined)
    })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve))
    await consumer.run({
      autoCommit: commits,
      autoCommitThreshold: 1,
      eachMessage: () => Promise.resolve(),
    })
    await joined
  }

  /** Adds a group. */
  async addFollower() {
    const group = 'auditing'
    await this.restart(group)
    await this.servers.until('the new group has caught up', async () => {
      const [end, position] = [await this.position(), await this.position(group)]
      return position === end
    })
    return group
  }

  /** Adds a topic, and a group without a consumer that lacks 0, 1, 2, 3 or 4 records of its partitions, in turn. @param {number} partitions */
  async addPartitions(partitions, topic = 'wide') {
    await this.createTopic(topic, { partitions })
    const numbers = Array.from({ length: partitions }, (_, partition) => partition)
    for (const partition of numbers) await this.write(1 + (partition % 5), { topic, partition })
    const partitionOffsets = numbers.map((partition) => ({ partition, offset: 1n }))
    const topics = [{ name: topic, partitionOffsets }]
    await this.admin.alterConsumerGroupOffsets({ groupId: 'archive', topics })
  }

  /** @param {string} group */
  async removeFollower(group) {
    await this.kill(group)
    await this.admin.deleteGroups({ groups: [group] })
  }

  async freeze() {
    this.brokers[0].server?.freeze()
    return Promise.resolve()
  }

  async thaw() {
    this.brokers[0].server?.thaw()
    await this.servers.until('the broker answers', () => this.position())
  }

  async killLeader() {
    await this.brokers[0].server?.kill()
  }

  async startLeader() {
    await this.startBroker(this.brokers[0].id)
    await this.thaw()
  }

  /** Deletes all records. */
  async truncate() {
    const partitions = [{ partition: 0, offset: await this.position() }]
    await this.admin.deleteRecords({ topics: [{ name: TOPIC, partitions }] })
  }

  async recreate() {
    const groups = [...this.#consumers.keys()]
    for (const group of groups) await this.kill(group)
    await this.admin.deleteTopics({ topics: [TOPIC] })
    await this.servers.until('the topic is created again', async () => {
      await this.createTopic(TOPIC)
      return true
    })
    for (const group of groups) await this.restart(group)
  }

  /** @param {number} id */
  broker(id) {
    const broker = this.brokers.find((each) => each.id === id)
    if (!broker) throw new Error(`there is no broker ${id}`)
    return broker
  }

  /** @param {number} id */
  async startBroker(id) {
    const broker = this.broker(id)
    const parameters = [...JAVA, ...MAIN, 'kafka.Kafka', 'server.properties']
    broker.server = await this.servers.start(`broker-${id}`, 'java', parameters)
  }

  /** Restarts the broker. Clients of sources need TLS then. @param {string} certificate a PEM file with its key */
  async useCertificate(certificate) {
    const [broker] = this.brokers
    await broker.server?.kill()
    await this.#configure(broker, certificate)
    await this.startBroker(broker.id)
    await this.thaw()
  }

  /** @param {Broker} broker */
  async #format(broker) {
    const file = await this.#configure(broker)
    const parameters = [...JAVA, ...MAIN, 'kafka.tools.StorageTool', 'format']
    await run('java', [...parameters, '-t', 'AAAAAAAAAAAAAAAAAAAAAQ', '-c', file])
  }

  /** @param {Broker} broker @param {string} [certificate] */
  async #configure({ id, port, controllerPort, gatedPort, gate }, certificate) {
    const folder = await this.servers.folderOf(`broker-${id}`)
    const count = this.brokers.length
    const properties = {
      'process.roles': 'broker,controller',
      'node.id': id,
      'controller.quorum.voters': this.brokers
        .map((each) => `${each.id}@127.0.0.1:${each.controllerPort}`)
        .join(),
      listeners: [
        `PLAINTEXT://127.0.0.1:${port}`,
        `GATED://127.0.0.1:${gatedPort}`,
        `CONTROLLER://127.0.0.1:${controllerPort}`,
      ].join(),
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${port},GATED://127.0.0.1:${gate.port}`,
      'controller.listener.names': 'CONTROLLER',
      'inter.broker.listener.name': 'PLAINTEXT',
      'listener.security.protocol.map': `PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GATED:SASL_${certificate === undefined ? 'PLAINTEXT' : 'SSL'}`,
      ...(certificate !== undefined && {
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': certificate,
      }),
      'sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.gated.plain.sasl.jaas.config':
        'org.apache.kafka.common.security.plain.PlainLoginModule required user_monitor="monitor";',
      'log.dirs': join(folder, 'data'),
      // With several brokers, each would have to be a separate user.
      ...(count === 1 && {
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'allow.everyone.if.no.acl.found': true,
        // What is denied to the user of the sources, all others may.
        'super.users': 'User:ANONYMOUS',
      }),
      'auto.create.topics.enable': false,
      'group.initial.rebalance.delay.ms': 0,
      // What one fetch brings would be all that the tests write.
      'replica.fetch.max.bytes': 4096,
      'replica.fetch.response.max.bytes': 8192,
      'replica.lag.time.max.ms': 3000,
      'broker.heartbeat.interval.ms': 500,
      'broker.session.timeout.ms': 3000,
      // A small machine.
      'num.network.threads': 2,
      'num.io.threads': 2,
      'background.threads': 2,
      'log.cleaner.threads': 1,
      'log.cleaner.dedupe.buffer.size': 8388608,
      'offsets.topic.num.partitions': 1,
      'offsets.topic.replication.factor': count,
      'transaction.state.log.num.partitions': 1,
      'transaction.state.log.replication.factor': count,
      'transaction.state.log.min.isr': 1,
    }
    const lines = Object.entries(properties).map(([name, value]) => `${name}=${value}\n`)
    const file = join(folder, 'server.properties')
    await writeFile(file, lines.join(''))
    return file
  }

  async #disconnect() {
    const consumers = [...this.#consumers.values()].map((each) => each.disconnect())
    await Promise.allSettled([...consumers, this.producer.close(), this.admin.close()])
  }
}

/** @param {'group' | 'topic'} kind @param {string} name */
function denialOf(kind, name) {
  return {
    resourceType: kind === 'group' ? ResourceTypes.GROUP : ResourceTypes.TOPIC,
    resourceName: name,
    resourcePatternType: ResourcePatternTypes.LITERAL,
    principal: 'User:monitor',
    host: '*',
    operation: AclOperations.DESCRIBE,
    permissionType: AclPermissionTypes.DENY,
  }
}

/** @param {Servers} servers @param {number} id @returns {Promise<Broker>} */
async function createBroker(servers, id) {
  const [port, controllerPort, gatedPort] = [await freePort(), await freePort(), await freePort()]
  return { id, port, controllerPort, gatedPort, gate: await servers.gate(gatedPort) }
}
