import { Redis } from 'ioredis'
import { redisSource } from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { createClient } from 'redis'
import { freePort } from './postgres/processes.mjs'
import { findProgram } from './servers.mjs'

/** @import { SystemKind } from './system.js' */
/** @import { Gate } from './gate.mjs' */
/** @import { Server, Servers } from './servers.mjs' */

const SHARD = 'cache'
const REPLICAS = /** @type {const} */ (['replica_1', 'replica_2'])
const PASSWORD = 'secret'

/** One server, and the gate that it replicates through. */
class Member {
  /** @type {Server | undefined} */
  server

  /**
   * @param {Servers} servers
   * @param {string} program
   * @param {string} name
   * @param {number} port
   * @param {Gate} [link]
   */
  constructor(servers, program, name, port, link) {
    this.servers = servers
    this.program = program
    this.name = name
    this.port = port
    this.link = link
    this.admin = new Redis({ host: '127.0.0.1', port, lazyConnect: true, retryStrategy: () => 50 })
    // It reconnects.
    this.admin.on('error', () => undefined)
    servers.onStop(() => {
      this.admin.disconnect()
      return Promise.resolve()
    })
  }

  async start() {
    const follow = this.link ? ['--replicaof', `127.0.0.1 ${this.link.port}`] : []
    this.server = await this.servers.start(this.name, this.program, [
      ...['--port', this.port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
      ...['--repl-diskless-sync-delay', 0, '--repl-timeout', 5],
      // Otherwise the position moves by itself.
      ...['--repl-ping-replica-period', 3600, '--replica-announce-port', this.port],
      ...['--user', 'monitor', 'on', `>${PASSWORD}`, '+info'],
      ...['--user', 'visitor', 'on', `>${PASSWORD}`, '+ping'],
      ...['--user', 'copy', 'on', `>${PASSWORD}`, '+psync', '+sync', '+replconf', '+ping'],
      ...follow,
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
}

/**
 * @param {string} title
 * @param {string} program
 * @returns {SystemKind}
 */
function createKind(title, program) {
  return {
    title,
    unit: 'bytes',
    install: `sudo apt-get install ${program}`,
    isInstalled: async () => (await findProgram(program)) !== undefined,
    async start(servers) {
      const path = (await findProgram(program)) ?? program
      let leader = new Member(servers, path, 'leader', await freePort())
      await leader.start()
      const members = await Promise.all(
        REPLICAS.map(async (name) => {
          const link = await servers.gate(leader.port)
          const member = new Member(servers, path, name, await freePort(), link)
          await member.start()
          await member.untilJoined()
          return member
        }),
      )
      const [first, second] = /** @type {[Member, Member]} */ (members)
      const get = (/** @type {string} */ name) => {
        const member = members.find((each) => each.name === name)
        if (!member) throw new Error(`there is no replica ${name}`)
        return member
      }
      return {
        followers: REPLICAS,
        shard: SHARD,
        get url() {
          const replicas = members.filter((member) => member !== leader)
          const addresses = replicas.map(({ port }) => `127.0.0.1:${port}`)
          return `redis://monitor:${PASSWORD}@127.0.0.1:${leader.port}?replicas=${addresses.join(',')}`
        },
        async connect({ client = 'ioredis', fault, source } = {}) {
          const gate = await servers.gate(leader.port)
          const username = fault === 'missing right' ? 'visitor' : 'monitor'
          const password = fault === 'wrong password' ? 'wrong' : PASSWORD
          const login = { username, password }
          const main = await connectClient(client, { port: gate.port, ...login })
          const replicas = await Promise.all(
            members
              .filter((member) => member !== leader)
              .map(async ({ name, port }) => {
                return { name, ...(await connectClient(client, { port, ...login })) }
              }),
          )
          return {
            source: redisSource({
              client: main.connection,
              shard: SHARD,
              replicas: Object.fromEntries(
                replicas.map(({ name, connection }) => [name, connection]),
              ),
              ...source,
            }),
            gate,
            async close() {
              for (const { close } of [main, ...replicas]) close()
              await gate.stop()
            },
          }
        },
        async write(count) {
          const pipeline = leader.admin.pipeline()
          for (let i = 0; i < count; i++) pipeline.set(`key-${i}`, 'x'.repeat(100))
          await pipeline.exec()
        },
        async position(follower) {
          const info = await (follower === undefined ? leader : get(follower)).info()
          const field = follower === undefined ? 'master_repl_offset' : 'slave_repl_offset'
          return BigInt(info.get(field) ?? '')
        },
        cut(follower) {
          get(follower).link?.close()
          return Promise.resolve()
        },
        mend(follower) {
          get(follower).link?.reopen()
          return Promise.resolve()
        },
        kill: async (follower) => get(follower).server?.kill(),
        async restart(follower) {
          await get(follower).start()
          await get(follower).untilJoined()
        },
        freeze() {
          leader.server?.freeze()
          return Promise.resolve()
        },
        thaw() {
          leader.server?.thaw()
          return Promise.resolve()
        },
        async failOver() {
          await leader.server?.kill()
          await first.admin.replicaof('NO', 'ONE')
          leader = first
          second.link?.moveTo(first.port)
          await second.untilJoined()
          return second.name
        },
      }
    },
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

export const redis = createKind('Redis', 'redis-server')
export const valkey = createKind('Valkey', 'valkey-server')
