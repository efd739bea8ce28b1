import { jetstream as jetstreamClient, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { access, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { Voters } from './members.mjs'
import { freePort } from './postgres/processes.mjs'
import { cacheFolder, findProgram, isOnPath } from './servers.mjs'

const NAMES = ['nats_1', 'nats_2', 'nats_3']
const STREAM = 'ORDERS'
const MIRROR = 'COPY-OF-ORDERS'

/** @import { Gate } from './gate.mjs' */
/** @import { Server, Servers } from './servers.mjs' */
/** @typedef {Awaited<ReturnType<typeof createNode>> & { server?: Server }} Node */

/**
 * @typedef {object} Stream
 * @property {string} name
 * @property {{ last_seq: number }} state
 * @property {{ leader?: string, replicas: { name: string, current: boolean, active: number }[] }} cluster
 */

/** @type {import('./system.js').SystemKind} */
export const jetstream = {
  title: 'NATS JetStream',
  unit: 'messages',
  install: 'apt install nats-server',
  isInstalled: () => isOnPath('nats-server'),
  start: (servers) => JetStreamCluster.start(servers),
}

const NEWEST = join(cacheFolder('replication-lag-e2e'), 'bin', 'nats-server')

/** @type {import('./system.js').SystemKind} */
export const newestJetStream = {
  ...jetstream,
  title: 'NATS JetStream 2.15',
  install: 'npm run e2e:install',
  isInstalled: () =>
    access(NEWEST).then(
      () => true,
      () => false,
    ),
  start: (servers) => JetStreamCluster.start(servers, NEWEST),
}

/**
 * Three servers with a stream of three replicas. Monitoring is reached through gates, and so is each pair's route.
 *
 * @extends {Voters<Node>}
 */
export class JetStreamCluster extends Voters {
  shard = STREAM
  knows = { lostMillis: 15_000 }
  #program
  /** The servers that follow the leader, as it said when it was asked last. @type {string[]} */
  #linked = []
  /** A gate for each pair of servers, in a ring: the first of a pair dials the second through it. @type {Map<string, Gate>} */
  #routes = new Map()

  /** Use {@link JetStreamCluster.start}. @param {Servers} servers @param {Node[]} nodes @param {string} program */
  constructor(servers, nodes, program) {
    super(servers, nodes)
    this.#program = program
  }

  /** @param {Servers} servers @param {string} [program] the server. Default: the one that is installed. */
  static async start(servers, program) {
    const nodes = await Promise.all(NAMES.map((name) => createNode(servers, name)))
    const found = program ?? (await findProgram('nats-server')) ?? 'nats-server'
    const cluster = new JetStreamCluster(servers, nodes, found)
    for (const [index, { routePort, name }] of nodes.entries()) {
      cluster.#routes.set(`${nodes.at(index - 1)?.name} ${name}`, await servers.gate(routePort))
    }
    await Promise.all(nodes.map((node) => cluster.run(node)))
    await cluster.#createStream()
    await cluster.write(1)
    await cluster.untilCaughtUp()
    return cluster
  }

  /** Finds a leader that was elected, too. @param {string} name */
  async stateOf(name) {
    const { state, cluster } = await this.stream(name)
    const leads = cluster.leader === name
    if (leads) {
      this.setLeader(this.member(name))
      // One that is slow is connected too. The time is in nanoseconds.
      const isLinked = ({ current = false, active = 0 }) => current || active < 2e9
      this.#linked = cluster.replicas.filter(isLinked).map((each) => each.name)
    }
    return { position: BigInt(state.last_seq), leads, linked: this.#linked.includes(name) }
  }

  /** Where the servers are monitored, through their gates. */
  get #addresses() {
    return this.members.map(({ gate }) => `127.0.0.1:${gate.port}`)
  }

  get url() {
    return `nats+http://${this.#addresses.join(',')}`
  }

  /** @override @param {string} name */
  async leaderOf(name) {
    return (await this.stream(name)).cluster.leader
  }

  /** @param {import('./system.js').ConnectOptions} [options] */
  connect({ source = {} } = {}) {
    const servers = this.#addresses.map((address) => `http://${address}`)
    return this.connectedBy(jetstreamSource({ servers, ...source }))
  }

  /** @param {number} count */
  write(count) {
    return this.publish('orders.new', count)
  }

  /**
   * Publishes through the leader, and waits for all acknowledgements.
   *
   * @param {string} subject
   * @param {number} count
   */
  publish(subject, count) {
    return this.use(async (connection) => {
      const client = jetstreamClient(connection)
      // It may throw, and what was sent before would then be rejected unhandled.
      const publish = async () => client.publish(subject, 'x')
      await Promise.all(Array.from({ length: count }, publish))
    })
  }

  /**
   * Connects to the leader of the stream, and closes the connection after use.
   *
   * @template T
   * @param {(connection: import('@nats-io/transport-node').NatsConnection) => Promise<T>} use
   * @param {{ user?: string, pass?: string }} [login]
   */
  async use(use, login = {}) {
    const servers = `127.0.0.1:${this.leader.clientPort}`
    const connection = await connect({ servers, reconnect: false, ...login })
    try {
      return await use(connection)
    } finally {
      await connection.close()
    }
  }

  /**
   * Creates, changes and removes streams and consumers.
   *
   * @template T
   * @param {(manager: import('@nats-io/jetstream').JetStreamManager) => Promise<T>} use
   */
  manage(use) {
    return this.use(async (connection) =>
      use(await jetstreamManager(connection, { timeout: 30_000 })),
    )
  }

  /** @override @param {string} [follower] */
  async position(follower = this.leaderName) {
    const stream = await this.stream(follower)
    return BigInt(stream.state.last_seq)
  }

  /** @override @param {string} follower */
  async cut(follower) {
    for (const gate of this.#routesOf(follower)) gate.close()
    return Promise.resolve()
  }

  /** @override @param {string} follower @param {number} bytesPerSecond */
  throttle(follower, bytesPerSecond) {
    for (const gate of this.#routesOf(follower)) gate.throttle(bytesPerSecond)
  }

  /** Removes all messages. The position stays. */
  truncate() {
    return this.manage(({ streams }) => streams.purge(STREAM))
  }

  async recreate() {
    await this.manage(({ streams }) => streams.delete(STREAM))
    await this.#createStream()
  }

  async #createStream() {
    const options = { name: STREAM, subjects: ['orders.>'], num_replicas: 3 }
    await this.servers.until('the stream is created', () =>
      this.manage(({ streams }) => streams.add(options)),
    )
    await this.untilLeader()
  }

  /** @override @param {string} follower */
  async mend(follower) {
    for (const gate of this.#routesOf(follower)) gate.reopen()
    // One that was cut off for more than some seconds asks for an election.
    await this.untilLeader()
  }

  /** @param {string} follower */
  async wipe(follower) {
    await this.kill(follower)
    const folder = await this.servers.folderOf(follower)
    await rm(join(folder, 'data'), { recursive: true })
    await this.restart(follower)
  }

  /** Adds a mirror of the stream. */
  async addFollower() {
    await this.manage(({ streams }) => streams.add({ name: MIRROR, mirror: { name: STREAM } }))
    await this.servers.until('the mirror has caught up', async () => {
      const position = await this.position()
      const { state } = await this.manage(({ streams }) => streams.info(MIRROR))
      return BigInt(state.last_seq) === position
    })
    return `mirror/${MIRROR}`
  }

  async removeFollower() {
    await this.manage(({ streams }) => streams.delete(MIRROR))
  }

  /** Removes a server that was killed from the cluster. @param {string} name */
  removeServer(name) {
    const question = JSON.stringify({ peer: name })
    return this.use(
      (connection) =>
        this.servers.until(`${name} is removed`, async () => {
          const answer = await connection.request('$JS.API.SERVER.REMOVE', question)
          return /** @type {{ success?: boolean }} */ (answer.json()).success
        }),
      { user: 'admin', pass: 'admin' },
    )
  }

  /**
   * What a server itself says of a stream, past its gate.
   *
   * @param {string} name
   * @param {string} [stream]
   * @returns {Promise<Stream>}
   */
  async stream(name, stream = STREAM) {
    const answer = await this.monitor(name, '/jsz?accounts=true&streams=true')
    const { account_details = [] } =
      /** @type {{ account_details?: { stream_detail?: Stream[] }[] }} */ (answer)
    const streams = account_details.flatMap(({ stream_detail = [] }) => stream_detail)
    const found = streams.find((each) => each.name === stream)
    if (!found) throw new Error(`${name} has no stream ${stream}`)
    return found
  }

  /** @param {string} name @param {string} path @returns {Promise<unknown>} */
  async monitor(name, path) {
    const url = `http://127.0.0.1:${this.member(name).port}${path}`
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) })
    return /** @type {unknown} */ (await response.json())
  }

  /** @param {string} name */
  #routesOf(name) {
    return [...this.#routes]
      .filter(([pair]) => pair.split(' ').includes(name))
      .map(([, gate]) => gate)
  }

  /** @override */
  async isCurrent() {
    const { cluster } = await this.stream(this.leaderName)
    return cluster.replicas.every(({ current }) => current)
  }

  /** @override @param {Node} node */
  async run(node) {
    const { name, clientPort, port, routePort } = node
    const routes = [...this.#routes].flatMap(([pair, { port }]) =>
      pair.startsWith(`${name} `) ? [`nats://127.0.0.1:${port}`] : [],
    )
    const folder = await this.servers.folderOf(name)
    // Servers announce where to dial others. That would go around the gates, so it gets a port without a listener.
    const config = `
      server_name: ${name}, server_tags: ["${name}"]
      accounts { $SYS { users: [{ user: admin, password: admin }] } }
      listen: "127.0.0.1:${clientPort}"
      http: "127.0.0.1:${port}"
      jetstream { store_dir: "data", max_memory_store: 64MB, max_file_store: 256MB }
      cluster {
        name: demo, listen: "127.0.0.1:${routePort}", advertise: "127.0.0.1:1"
        routes: [${routes.map((route) => JSON.stringify(route)).join(', ')}]
      }`
    await writeFile(join(folder, 'nats.conf'), config)
    node.server = await this.servers.start(name, this.#program, ['-c', 'nats.conf'])
    await this.servers.until(`${name} is healthy`, async () => {
      const health = await this.monitor(name, '/healthz')
      return /** @type {{ status: string }} */ (health).status === 'ok'
    })
  }
}

/** @param {Servers} servers @param {string} name */
async function createNode(servers, name) {
  const [clientPort, port, routePort] = [await freePort(), await freePort(), await freePort()]
  return { name, clientPort, port, routePort, gate: await servers.gate(port) }
}
