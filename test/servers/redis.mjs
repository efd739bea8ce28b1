import { Redis } from 'ioredis'
import { redisSource } from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { createClient } from 'redis'
import { Members } from './members.mjs'
import { freePort } from './postgres/processes.mjs'
import { findProgram, findUnstable } from './servers.mjs'

/** @import { SystemKind } from './system.js' */
/** @import { Gate } from './gate.mjs' */
/** @import { Server, Servers } from './servers.mjs' */

const SHARD = 'cache'
const NAMES = /** @type {const} */ (['redis_1', 'redis_2', 'redis_3'])
const PASSWORD = 'secret'

/** @typedef {{ program: string, parameters: readonly string[] }} Command how to run a server */

/** One server, and the gate that it replicates through while it follows. */
export class Member {
  /** @type {Server | undefined} */
  server
  /** @type {Gate | undefined} */
  link

  /** @param {Servers} servers @param {Command} command @param {string} name @param {number} port */
  constructor(servers, command, name, port) {
    this.servers = servers
    this.command = command
    this.name = name
    this.port = port
    this.admin = new Redis({ host: '127.0.0.1', port, lazyConnect: true, retryStrategy: () => 50 })
    // It reconnects.
    this.admin.on('error', () => undefined)
    servers.onStop(() => {
      this.admin.disconnect()
      return Promise.resolve()
    })
  }

  /** @param {readonly (string | number)[]} [more] further parameters */
  async start(more = []) {
    const follow = this.link ? ['--replicaof', `127.0.0.1 ${this.link.port}`] : []
    const { program, parameters } = this.command
    this.server = await this.servers.start(this.name, program, [
      ...[...parameters, '--port', this.port, '--bind', '127.0.0.1'],
      ...['--save', '', '--appendonly', 'no', '--repl-diskless-sync-delay', 0, '--repl-timeout', 5],
      // Otherwise the position moves by itself.
      ...['--repl-ping-replica-period', 3600, '--replica-announce-port', this.port],
      ...['--user', 'monitor', 'on', `>${PASSWORD}`, '+info'],
      ...['--user', 'visitor', 'on', `>${PASSWORD}`, '+ping'],
      ...['--user', 'copy', 'on', `>${PASSWORD}`, '+psync', '+sync', '+replconf', '+ping'],
      ...[...follow, ...more],
    ])
    await this.servers.until(`${this.name} answers`, () => {
      if (this.server?.hasExited) throw new Error(this.server.output)
      return this.admin.ping()
    })
  }

  /** What it says of its replication, by field. @returns {Promise<Map<string, string>>} */
  async info() {
    const lines = (await this.admin.info('replication')).split('\r\n')
    return new Map(lines.map((line) => /** @type {[string, string]} */ (line.split(':'))))
  }

  async untilJoined() {
    await this.servers.until(
      `${this.name} follows`,
      async () => (await this.info()).get('master_link_status') === 'up',
    )
  }

  /** Makes it follow another one, through its gate. @param {Member} leader */
  async follow(leader) {
    if (this.link) this.link.moveTo(leader.port)
    else this.link = await this.servers.gate(leader.port)
    if (this.server && !this.server.hasExited)
      await this.admin.replicaof('127.0.0.1', this.link.port)
    else await this.start()
    await this.untilJoined()
  }
}

/** One leader and two replicas. @extends {Members<Member>} */
export class RedisSystem extends Members {
  shard = SHARD
  #servers

  /**
   * Use {@link RedisSystem.start}.
   *
   * @param {Servers} servers
   * @param {readonly Member[]} members the leader first
   */
  constructor(servers, members) {
    super(members)
    this.#servers = servers
  }

  /** @param {Servers} servers @param {Command} command */
  static async start(servers, command) {
    const members = await Promise.all(
      NAMES.map(async (name) => new Member(servers, command, name, await freePort())),
    )
    const [leader, ...others] = /** @type {[Member, Member, Member]} */ (members)
    await leader.start()
    await Promise.all(others.map((member) => member.follow(leader)))
    return new RedisSystem(servers, members)
  }

  /** @param {string} name */
  async stateOf(name) {
    const info = await this.member(name).info()
    const leads = this.leader.name === name && info.get('role') === 'master'
    const position = info.get(leads ? 'master_repl_offset' : 'slave_repl_offset')
    const hasPosition = leads || info.get('master_sync_in_progress') === '0'
    return {
      position: hasPosition ? toBigInt(position) : undefined,
      leads,
      // Since Redis 7.0.
      received: leads || !hasPosition ? undefined : toBigInt(info.get('slave_read_repl_offset')),
      linked: info.get('master_link_status') === 'up',
      history: info.get('master_replid') ?? '',
    }
  }

  get ports() {
    return Object.fromEntries(this.members.map(({ name, port }) => [name, port]))
  }

  revoke() {
    return this.#setUser('-info')
  }

  grant() {
    return this.#setUser('+info')
  }

  changePassword(password = PASSWORD) {
    return this.#setUser('resetpass', `>${password}`)
  }

  exhaust() {
    return this.#configure('maxclients', '1')
  }

  relieve() {
    return this.#configure('maxclients', '10000')
  }

  /** Replicas that were away for a while have to copy everything. */
  truncate() {
    return this.#configure('repl-backlog-size', '16384')
  }

  /** @param {string} name @param {string} value */
  #configure(name, value) {
    return this.#onAll(({ admin }) => admin.config('SET', name, value))
  }

  /** @param {string[]} rules */
  #setUser(...rules) {
    return this.#onAll(({ admin }) => admin.acl('SETUSER', 'monitor', ...rules))
  }

  /** A replica may be down. It loses its configuration anyway. @param {(member: Member) => Promise<unknown>} change */
  #onAll(change) {
    const others = this.replicas.map((member) => change(member).catch(() => undefined))
    return Promise.all([change(this.leader), ...others])
  }

  /** Its leader sees it at another port, or at its own again. @param {string} follower */
  async changeIdentity(follower) {
    const member = this.member(follower)
    const { admin, port } = member
    const option = 'replica-announce-port'
    const known = /** @type {string[]} */ (await admin.config('GET', option))
    await admin.config('SET', option, known.includes(`${port}`) ? 1 : port)
    await admin.call('CLIENT', 'KILL', 'TYPE', 'master')
    await member.untilJoined()
  }

  get url() {
    const addresses = this.members.map(({ port }) => `127.0.0.1:${port}`)
    return `redis://monitor:${PASSWORD}@${addresses.join(',')}`
  }

  /** @param {import('./system.js').ConnectOptions} [options] */
  async connect({ client = 'ioredis', fault, source } = {}) {
    const username = fault === 'missing right' ? 'visitor' : 'monitor'
    const password = fault === 'wrong password' ? 'wrong' : PASSWORD
    const connected = await Promise.all(
      this.members.map(async ({ name, port }) => {
        const gate = await this.#servers.gate(port)
        return {
          name,
          gate,
          ...(await connectClient(client, { port: gate.port, username, password })),
        }
      }),
    )
    /** @template T @param {(each: typeof connected[number]) => T} get */
    const byName = (get) => Object.fromEntries(connected.map((each) => [each.name, get(each)]))
    const gates = byName(({ gate }) => gate)
    const nodes = byName(({ connection }) => connection)
    return {
      source: redisSource({ nodes, shard: SHARD, ...source }),
      gate: /** @type {Gate} */ (gates[this.leader.name]),
      gates,
      async close() {
        await Promise.all(
          connected.map(({ gate, close }) => {
            close()
            return gate.stop()
          }),
        )
      },
    }
  }

  /** @param {number} count */
  async write(count) {
    const pipeline = this.leader.admin.pipeline()
    for (let i = 0; i < count; i++) pipeline.set(`key-${i}`, 'x'.repeat(100))
    await pipeline.exec()
  }

  /** @param {string} [follower] */
  async position(follower) {
    const info = await (follower === undefined ? this.leader : this.member(follower)).info()
    const field = follower === undefined ? 'master_repl_offset' : 'slave_repl_offset'
    return BigInt(info.get(field) ?? '')
  }

  /** @param {string} follower */
  async restart(follower) {
    await this.member(follower).start()
    await this.member(follower).untilJoined()
  }

  /** It has no disk. @param {string} follower */
  async wipe(follower) {
    await this.kill(follower)
    await this.restart(follower)
  }

  /** @param {string} follower */
  async claimLead(follower) {
    await this.member(follower).admin.replicaof('NO', 'ONE')
  }

  /** @param {string} follower */
  async followAgain(follower) {
    await this.member(follower).follow(this.leader)
  }

  async killLeader() {
    await this.leader.server?.kill()
  }

  /** Starts it without any data. */
  async startLeader() {
    this.leader.link = undefined
    await this.leader.start()
  }

  /** The killed leader comes back as a replica. */
  async failOver() {
    const killed = this.leader
    const [first, second] = this.replicas
    await killed.server?.kill()
    await first.admin.replicaof('NO', 'ONE')
    this.setLeader(first)
    await Promise.all([second.follow(first), killed.follow(first)])
    return second.name
  }
}

/** @param {string | undefined} text */
function toBigInt(text) {
  return text === undefined ? undefined : BigInt(text)
}

/**
 * @param {string} title
 * @param {string} install
 * @param {() => Promise<Command | undefined>} find
 * @returns {Omit<SystemKind, 'start'> & { start(servers: Servers): Promise<RedisSystem>, command(): Promise<Command> }}
 */
function createKind(title, install, find) {
  const command = async () => {
    const found = await find()
    if (!found) throw new Error(`${title} is not installed: ${install}`)
    return found
  }
  return {
    title,
    unit: 'bytes',
    install,
    command,
    isInstalled: async () => (await find()) !== undefined,
    start: async (servers) => RedisSystem.start(servers, await command()),
  }
}

/**
 * Connects with the patience of a program that runs for long: it connects again and again, and errors are ignored.
 *
 * @param {string} library
 * @param {{ port: number, username: string, password: string }} options
 */
async function connectClient(library, { port, username, password }) {
  const [host, reconnectMillis] = ['127.0.0.1', 50]
  if (library === 'ioredis') {
    const connection = new Redis({
      ...{ host, port, username, password, maxRetriesPerRequest: 0 },
      retryStrategy: () => reconnectMillis,
    })
    connection.on('error', () => undefined)
    return { connection, close: () => connection.disconnect() }
  }
  const connection = createClient({
    ...{ username, password },
    socket: { host, port, reconnectStrategy: () => reconnectMillis },
  })
  connection.on('error', () => undefined)
  const connecting = connection.connect().catch(() => undefined)
  // With a wrong password it tries forever.
  if (password === PASSWORD) await connecting
  return { connection, close: () => connection.destroy() }
}

export const redis = createKind('Redis', 'sudo apt-get install redis-server', async () => {
  const program = await findProgram('redis-server')
  return program === undefined ? undefined : { program, parameters: [] }
})

/** @param {string} server */
const unstable = (server) => () =>
  Promise.resolve(findUnstable(`${server}-server`, `usr/bin/${server}-server`))
const unpack = 'sh test/servers/unpack-unstable.sh'

export const currentRedis = createKind('Redis 8', `${unpack} redis-server`, unstable('redis'))
export const valkey = createKind('Valkey 9', `${unpack} valkey-server`, unstable('valkey'))
