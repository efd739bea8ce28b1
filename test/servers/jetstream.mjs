import { jetstream as jetstreamClient, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { access, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { freePort } from './postgres/processes.mjs'
import { cacheFolder, findProgram, isOnPath } from './servers.mjs'

const NAMES = ['nats_1', 'nats_2', 'nats_3']
const STREAM = 'ORDERS'
const MIRROR = 'COPY-OF-ORDERS'

/** @typedef {Awaited<ReturnType<typeof createNode>>} Node */

/**
 * @typedef {object} Stream
 * @property {string} name
 * @property {{ last_seq: number }} state
 * @property {{ leader?: string, replicas: { name: string, current: boolean }[] }} cluster
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

/** Three servers with a stream of three replicas. Monitoring is reached through gates, and so is each pair's route. */
export class JetStreamCluster {
  shard = STREAM
  knows = { lostMillis: 15_000 }
  elects = true
  #servers
  #nodes
  #program
  /** @type {string} */
  #leader = ''
  /** The leader that was frozen. Another one may lead since. */
  #frozen = ''
  /** The servers that follow the leader, as it said when it was asked last. @type {string[]} */
  #current = []
  /** A gate for each pair of servers, in a ring: the first of a pair dials the second through it. @type {Map<string, import('./gate.mjs').Gate>} */
  #routes = new Map()
  /** @type {Map<string, import('./servers.mjs').Server>} */
  #processes = new Map()

  /**
   * Use {@link JetStreamCluster.start}.
   *
   * @param {import('./servers.mjs').Servers} servers
   * @param {Node[]} nodes
   * @param {string} program
   */
  constructor(servers, nodes, program) {
    this.#servers = servers
    this.#nodes = nodes
    this.#program = program
  }

  /**
   * @param {import('./servers.mjs').Servers} servers
   * @param {string} [program] the server. Default: the one that is installed.
   */
  static async start(servers, program) {
    const nodes = await Promise.all(NAMES.map((name) => createNode(servers, name)))
    const found = program ?? (await findProgram('nats-server')) ?? 'nats-server'
    const cluster = new JetStreamCluster(servers, nodes, found)
    for (const [index, { routePort, name }] of nodes.entries()) {
      cluster.#routes.set(`${nodes.at(index - 1)?.name} ${name}`, await servers.gate(routePort))
    }
    await Promise.all(nodes.map((node) => cluster.#run(node)))
    await Promise.all(nodes.map((node) => cluster.#untilHealthy(node)))
    await servers.until('the stream is created', () =>
      cluster.manage(async ({ streams }) => {
        await streams.add({ name: STREAM, subjects: ['orders.>'], num_replicas: 3 })
        return true
      }),
    )
    await cluster.#untilLeader()
    await cluster.write(1)
    await cluster.#untilCaughtUp()
    return cluster
  }

  /** The servers that do not lead the stream, in the order of their names. @returns {[string, string]} */
  get followers() {
    const [first = '', second = ''] = NAMES.filter((name) => name !== this.#leader)
    return [first, second]
  }

  get leader() {
    return this.#leader
  }

  get leaderName() {
    return this.#leader
  }

  nodes = NAMES

  /** Finds a leader that was elected, too. @param {string} name */
  async stateOf(name) {
    const { state, cluster } = await this.stream(name)
    const leads = cluster.leader === name
    if (leads) {
      this.#leader = name
      this.#current = cluster.replicas.filter(({ current }) => current).map((each) => each.name)
    }
    return { position: BigInt(state.last_seq), leads, linked: this.#current.includes(name) }
  }

  /** The monitoring URLs of all servers, through their gates. */
  get urls() {
    return this.#nodes.map(({ gate }) => `http://127.0.0.1:${gate.port}`)
  }

  get url() {
    return `nats+http://${this.#nodes.map(({ gate }) => `127.0.0.1:${gate.port}`).join(',')}`
  }

  get gates() {
    return Object.fromEntries(this.#nodes.map(({ name, gate }) => [name, gate]))
  }

  /** @param {import('./system.js').ConnectOptions} [options] */
  connect({ source = {} } = {}) {
    return Promise.resolve({
      source: jetstreamSource({ servers: this.urls, ...source }),
      gate: this.#node(this.#leader).gate,
      gates: this.gates,
      close: () => Promise.resolve(),
    })
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
      const publish = () => client.publish(subject, 'x')
      await Promise.all(Array.from({ length: count }, publish))
    })
  }

  /**
   * Connects to a server, by default to the leader of the stream, and closes the connection after use.
   *
   * @template T
   * @param {(connection: import('@nats-io/transport-node').NatsConnection) => Promise<T>} use
   * @param {string} [name] of the server
   */
  async use(use, name = this.#leader || NAMES[0]) {
    const { clientPort } = this.#node(String(name))
    const connection = await connect({ servers: `127.0.0.1:${clientPort}`, reconnect: false })
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

  /** @param {string} [follower] */
  async position(follower = this.#leader) {
    const stream = await this.stream(follower)
    return BigInt(stream.state.last_seq)
  }

  /** @param {string} follower */
  async cut(follower) {
    for (const gate of this.#routesOf(follower)) gate.close()
    return Promise.resolve()
  }

  /** @param {string} follower */
  async mend(follower) {
    for (const gate of this.#routesOf(follower)) gate.reopen()
    // One that was cut off for more than some seconds asks for an election.
    await this.#untilLeader()
  }

  /** @param {string} follower */
  async kill(follower) {
    await this.#processes.get(follower)?.kill()
  }

  /** @param {string} follower */
  async restart(follower) {
    await this.#run(this.#node(follower))
    await this.#untilHealthy(this.#node(follower))
    await this.#untilCaughtUp()
  }

  async freeze() {
    this.#frozen = this.#leader
    this.#processes.get(this.#leader)?.freeze()
    return Promise.resolve()
  }

  async thaw() {
    this.#processes.get(this.#frozen)?.thaw()
    await this.#untilCaughtUp()
  }

  /** The killed leader comes back as a follower: two servers without it would not survive the next loss. */
  async failOver() {
    const killed = this.#leader
    const [first, second] = this.followers
    await this.#processes.get(killed)?.kill()
    await this.#servers.until('another server leads', async () => {
      const { cluster } = await this.stream(first)
      return cluster.leader === first || cluster.leader === second
    })
    await this.restart(killed)
    return this.#leader === first ? second : first
  }

  /** Stops a server with SIGSTOP. @param {string} name */
  freezeServer(name) {
    this.#processes.get(name)?.freeze()
  }

  /** @param {string} follower */
  pause(follower) {
    this.freezeServer(follower)
    return Promise.resolve()
  }

  /** @param {string} follower */
  resume(follower) {
    return this.thawServer(follower)
  }

  /** @param {string} follower */
  async wipe(follower) {
    await this.kill(follower)
    const folder = await this.#servers.folderOf(follower)
    await rm(join(folder, 'data'), { recursive: true })
    await this.restart(follower)
  }

  /** Adds a mirror of the stream. */
  async addFollower() {
    await this.manage(({ streams }) => streams.add({ name: MIRROR, mirror: { name: STREAM } }))
    await this.#servers.until('the mirror has caught up', async () => {
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
  async removeServer(name) {
    const { clientPort } = this.#node(this.#leader)
    const servers = `127.0.0.1:${clientPort}`
    const connection = await connect({ servers, user: 'admin', pass: 'admin', reconnect: false })
    await this.#servers.until(`${name} is removed`, async () => {
      const answer = await connection.request(
        '$JS.API.SERVER.REMOVE',
        JSON.stringify({ peer: name }),
      )
      return /** @type {{ success?: boolean }} */ (answer.json()).success
    })
    await connection.close()
  }

  /** Ends `freezeServer`. @param {string} name */
  async thawServer(name) {
    this.#processes.get(name)?.thaw()
    await this.#untilCaughtUp()
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

  /**
   * @param {string} name
   * @param {string} path
   * @returns {Promise<unknown>}
   */
  async monitor(name, path) {
    const url = `http://127.0.0.1:${this.#node(name).monitoringPort}${path}`
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) })
    return /** @type {unknown} */ (await response.json())
  }

  /** @param {string} name */
  #routesOf(name) {
    return [...this.#routes]
      .filter(([pair]) => pair.split(' ').includes(name))
      .map(([, gate]) => gate)
  }

  /** @param {string} name */
  #node(name) {
    const node = this.#nodes.find((each) => each.name === name)
    if (!node) throw new Error(`there is no server ${name}`)
    return node
  }

  /** @param {Node} node */
  #untilHealthy({ name }) {
    return this.#servers.until(`${name} is healthy`, async () => {
      const health = await this.monitor(name, '/healthz')
      return /** @type {{ status: string }} */ (health).status === 'ok'
    })
  }

  /** Waits until all servers agree on the leader of the stream. */
  async #untilLeader() {
    await this.#servers.until('all servers know one leader', async () => {
      const streams = await Promise.all(NAMES.map((name) => this.stream(name)))
      const [leader, ...others] = new Set(streams.map(({ cluster }) => String(cluster.leader)))
      if (others.length === 0 && leader !== undefined) this.#leader = leader
      return others.length === 0 && NAMES.includes(this.#leader)
    })
  }

  async #untilCaughtUp() {
    await this.#untilLeader()
    const end = await this.position()
    await this.#servers.until('all servers have caught up', async () => {
      await this.#untilLeader()
      const { cluster } = await this.stream(this.#leader)
      const positions = await Promise.all(NAMES.map((name) => this.position(name)))
      const isCurrent = cluster.replicas.every(({ current }) => current)
      return isCurrent && positions.every((position) => position >= end)
    })
  }

  /** @param {Node} node */
  async #run({ name, clientPort, monitoringPort, routePort }) {
    const routes = [...this.#routes].flatMap(([pair, { port }]) =>
      pair.startsWith(`${name} `) ? [`nats://127.0.0.1:${port}`] : [],
    )
    const folder = await this.#servers.folderOf(name)
    // Servers announce where to dial others. That would go around the gates, so it gets a port without a listener.
    const config = `
      server_name: ${name}, server_tags: ["${name}"]
      accounts { $SYS { users: [{ user: admin, password: admin }] } }
      listen: "127.0.0.1:${clientPort}"
      http: "127.0.0.1:${monitoringPort}"
      jetstream { store_dir: "data", max_memory_store: 64MB, max_file_store: 256MB }
      cluster {
        name: demo, listen: "127.0.0.1:${routePort}", advertise: "127.0.0.1:1"
        routes: [${routes.map((route) => JSON.stringify(route)).join(', ')}]
      }`
    await writeFile(join(folder, 'nats.conf'), config)
    this.#processes.set(name, await this.#servers.start(name, this.#program, ['-c', 'nats.conf']))
  }
}

/**
 * @param {import('./servers.mjs').Servers} servers
 * @param {string} name
 */
async function createNode(servers, name) {
  const [clientPort, monitoringPort, routePort] = [
    await freePort(),
    await freePort(),
    await freePort(),
  ]
  return { name, clientPort, monitoringPort, routePort, gate: await servers.gate(monitoringPort) }
}
