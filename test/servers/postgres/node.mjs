import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { freePort, send } from './processes.mjs'

/** @import { Gate } from '../gate.mjs' */
/** @import { Server, Servers } from '../servers.mjs' */

/**
 * What the nodes of one cluster share.
 * @typedef {object} Surroundings
 * @property {Servers} servers
 * @property {string} postgres the path of the `postgres` program
 * @property {number} major its major version
 * @property {import('./binaries.mjs').User} user who runs it
 */

/** A client with two methods that its types lack. */
/** @typedef {pg.Client & { ref(): void, unref(): void }} Client */

/** How a client reaches a node. */
/** @typedef {{ host: string, port: number, user: string, database: string, ssl: false }} ConnectionConfig */

/** The environment of every PostgreSQL program: none of the user's PG… variables, and messages in English. */
export const environment = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' }

// What may pass: someone took the port since it was found free, or a killed server's children are not gone yet.
const passing = /Address already in use|pre-existing shared memory block/

/** One PostgreSQL server, in a data folder that {@link import('./cluster.mjs').PostgresCluster} made. */
export class PostgresNode {
  /** What it replicates through while it follows, for systems that can cut it. @type {Gate | undefined} */
  link
  #surroundings
  #dataFolder
  #port = 0
  #hasRun = false
  #queries = 0
  /** @type {Promise<Client> | undefined} */
  #client
  /** @type {Server | undefined} */
  #server

  /** @param {string} name @param {Surroundings} surroundings */
  constructor(name, surroundings) {
    /** What its leader knows it by. */
    this.name = name
    /** The name of its data folder, which stays. */
    this.folder = name
    this.#surroundings = surroundings
    this.#dataFolder = join(surroundings.servers.folder, name)
  }

  /** The port on 127.0.0.1; it stays the same over restarts. */
  get port() {
    return this.#port
  }

  /** Its process, while it runs. */
  get server() {
    return this.#server?.hasExited ? undefined : this.#server
  }

  /** The postmaster's process id, while it runs. */
  get pid() {
    return this.server?.pid
  }

  /**
   * @param {string} [user] `postgres`, who may do everything, unless said otherwise; no password is asked
   * @returns {ConnectionConfig}
   */
  connectionConfig(user = 'postgres') {
    return { host: '127.0.0.1', port: this.#port, user, database: 'postgres', ssl: false }
  }

  /** The same as text. @param {string} [login] a user, or `user:password` */
  url(login = 'postgres') {
    const { host, port, database } = this.connectionConfig()
    return `postgres://${login}@${host}:${port}/${database}`
  }

  /**
   * Runs one statement as `postgres`. All statements share one connection, one after the other.
   *
   * @param {string} text
   * @param {unknown[]} [values]
   * @returns {Promise<Record<string, unknown>[]>} the rows
   */
  async query(text, values) {
    const client = await (this.#client ??= this.#connect())
    client.ref()
    this.#queries++
    try {
      const { rows } = /** @type {{ rows: Record<string, unknown>[] }} */ (
        await client.query(text, values)
      )
      return rows
    } finally {
      // Like the server, an idle connection does not keep this process alive.
      if (--this.#queries === 0) client.unref()
    }
  }

  #connect() {
    const client = /** @type {Client} */ (new pg.Client(this.connectionConfig()))
    const forget = () => {
      if (this.#client === connected) this.#client = undefined
    }
    // The server may be killed at any moment. The query is rejected too.
    client.on('error', forget).on('end', forget)
    const connected = client.connect().then(() => client)
    connected.catch(forget)
    return connected
  }

  /** Starts the server, for the first time or again; resolves when it accepts connections. */
  async start() {
    if (this.server) throw new Error(`PostgreSQL node ${this.name} is running already`)
    const deadline = performance.now() + 20_000
    for (;;) {
      // The others know a node by its port: once it has run, it waits for the port rather than taking another.
      if (!this.#hasRun) this.#port = await freePort()
      const failure = await this.#launch()
      if (failure === undefined) break
      if (!passing.test(failure) || performance.now() > deadline) {
        throw new Error(`PostgreSQL node ${this.name} did not start: ${failure}`)
      }
      await sleep(50, undefined, { signal: this.#surroundings.servers.signal })
    }
    this.#hasRun = true
  }

  /** @returns {Promise<string | undefined>} why it failed */
  async #launch() {
    const { servers, postgres, user } = this.#surroundings
    this.#client = undefined
    const parameters = ['-D', this.#dataFolder, '-p', this.#port]
    const server = await servers.start(this.folder, postgres, parameters, {
      env: environment,
      ...(user && { uid: user.uid, gid: user.gid }),
      // Its own session: Ctrl-C in a terminal is for us, and we stop the server when it is time.
      detached: true,
    })
    this.#server = server
    try {
      const isOver = async () => server.hasExited || (await this.#isReady())
      await servers.until(`${this.name} accepts connections`, isOver)
    } catch (error) {
      await server.kill()
      throw error
    }
    return server.hasExited ? server.output : undefined
  }

  /**
   * The server says so in its postmaster.pid, as it does to pg_ctl: a connection would also succeed if another
   * server had got the port.
   */
  async #isReady() {
    const lines = (await readFile(join(this.#dataFolder, 'postmaster.pid'), 'utf8')).split('\n')
    return Number(lines[0]) === this.pid && lines[7]?.trim() === 'ready'
  }

  /** Shuts the server down in order; a no-op if it is not running. */
  stop() {
    return this.#end('SIGINT')
  }

  /** Ends the server at once, as a crash would; it recovers when it is started again. */
  async kill() {
    await this.server?.kill()
  }

  /** Ends the server without care for its data: for the clean-up. */
  discard() {
    return this.#end('SIGQUIT')
  }

  async restart() {
    await this.stop()
    await this.start()
  }

  /** @param {'SIGINT' | 'SIGQUIT'} signal PostgreSQL's words for a fast and for an immediate shutdown */
  async #end(signal) {
    // A primary waits for its standbys to receive everything, and a frozen one never does.
    const timer = setTimeout(() => void this.kill(), 5_000)
    await this.server?.kill(signal)
    clearTimeout(timer)
  }

  /** Stops the server's processes where they are (SIGSTOP): it neither answers nor closes a connection. */
  freeze() {
    this.server?.freeze()
    return Promise.resolve()
  }

  /** Lets a frozen server continue. */
  thaw() {
    this.server?.thaw()
    return Promise.resolve()
  }

  /** Makes a standby a primary; resolves when it takes writes. */
  async promote() {
    if (this.#surroundings.major >= 12) {
      await this.query('select pg_promote(false)')
    } else {
      await writeFile(join(this.#dataFolder, 'promote'), '')
      if (this.pid !== undefined) send(this.pid, 'SIGUSR1')
    }
    await this.until('takes writes', async () => {
      const [row] = await this.query('select pg_is_in_recovery() as is_standby')
      return row?.['is_standby'] === false
    })
  }

  /** Makes a standby go on receiving without applying; resolves when it has stopped to apply. */
  async pauseReplay() {
    await this.query('select pg_wal_replay_pause()')
    await this.until('has paused replay', async () => {
      const isPaused =
        this.#surroundings.major >= 14
          ? "pg_get_wal_replay_pause_state() = 'paused'"
          : 'pg_is_wal_replay_paused()'
      const [row] = await this.query(`select ${isPaused} as paused`)
      return row?.['paused'] === true
    })
  }

  /** Makes a standby apply what it has received, and all that comes. */
  async resumeReplay() {
    await this.query('select pg_wal_replay_resume()')
  }

  /**
   * The position in the log, in bytes: what a primary has written, what a standby has applied.
   *
   * @returns {Promise<bigint>}
   */
  async position() {
    const [row] = await this.query(
      `select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end
         - '0/0')::text as position`,
    )
    return BigInt(String(row?.['position']))
  }

  /** Resolves when this standby receives the log from its upstream. */
  async untilStreaming() {
    await this.until('streams', async () => {
      const [row] = await this.query('select status from pg_stat_wal_receiver')
      return row?.['status'] === 'streaming'
    })
  }

  /**
   * Resolves when this standby has applied all that another node had at the time of the call.
   *
   * @param {PostgresNode} node
   */
  async untilCaughtUpWith(node) {
    const goal = await node.position()
    await this.until(`has caught up with ${node.name}`, async () => (await this.position()) >= goal)
  }

  /** @param {string} what @param {() => Promise<boolean>} condition */
  async until(what, condition) {
    await this.#surroundings.servers.until(`${this.name} ${what}`, condition)
  }
}
