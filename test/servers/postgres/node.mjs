import { spawn } from 'node:child_process'
import { closeSync, openSync, statSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { childrenOf, freePort, keepAlive, send, tail, until } from './processes.mjs'

/**
 * What the nodes of one cluster share.
 * @typedef {object} Surroundings
 * @property {string} folder the cluster's folder
 * @property {string} postgres the path of the `postgres` program
 * @property {number} major its major version
 * @property {import('./binaries.mjs').User} user who runs it
 * @property {AbortSignal} signal aborted once the cluster is stopped
 * @property {(error: Error) => void} onUnexpectedExit
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
  /** @type {string} */
  name
  #surroundings
  #dataFolder
  #log
  #port = 0
  #hasRun = false
  #isFrozen = false
  #queries = 0
  /** @type {Promise<Client> | undefined} */
  #client
  /** @type {{ pid: number, ended: Promise<string>, isExpectedToEnd: boolean } | undefined} */
  #server

  /** @param {string} name @param {Surroundings} surroundings */
  constructor(name, surroundings) {
    this.name = name
    this.#surroundings = surroundings
    this.#dataFolder = join(surroundings.folder, name)
    this.#log = join(surroundings.folder, `${name}.log`)
  }

  /** The port on 127.0.0.1; it stays the same over restarts. */
  get port() {
    return this.#port
  }

  /** The postmaster's process id, while it runs. */
  get pid() {
    return this.#server?.pid
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
    if (this.#server) throw new Error(`PostgreSQL node ${this.name} is running already`)
    const deadline = performance.now() + 20_000
    for (;;) {
      // The others know a node by its port: once it has run, it waits for the port rather than taking another.
      if (!this.#hasRun) this.#port = await freePort()
      const failure = await this.#launch()
      if (failure === undefined) break
      if (!passing.test(failure) || performance.now() > deadline) {
        throw new Error(`PostgreSQL node ${this.name} did not start: ${failure}`)
      }
      await sleep(50, undefined, { signal: this.#surroundings.signal })
    }
    this.#hasRun = true
  }

  /** @returns {Promise<string | undefined>} why it failed */
  async #launch() {
    const { folder, postgres, user, signal, onUnexpectedExit } = this.#surroundings
    signal.throwIfAborted()
    const log = openSync(this.#log, 'a')
    const logStart = statSync(this.#log).size
    const child = spawn(postgres, ['-D', this.#dataFolder, '-p', String(this.#port)], {
      cwd: folder,
      env: environment,
      ...(user && { uid: user.uid, gid: user.gid }),
      stdio: ['ignore', log, log],
      // Its own session: Ctrl-C in a terminal is for us, and we stop the server when it is time.
      detached: true,
    })
    closeSync(log)
    child.unref()
    /** @type {Promise<string>} */
    const ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message))
      child.once('exit', (code, name) => resolve(name ? `killed by ${name}` : `exit code ${code}`))
    })
    if (child.pid === undefined) return ended

    const server = { pid: child.pid, ended, isExpectedToEnd: true }
    this.#server = server
    this.#client = undefined
    const explain = (/** @type {string} */ end) => `${end}\n${tail(this.#log, logStart)}`
    void ended.then((end) => {
      this.#server = undefined
      this.#isFrozen = false
      if (server.isExpectedToEnd) return
      onUnexpectedExit(new Error(`PostgreSQL node ${this.name} ended by itself: ${explain(end)}`))
    })
    const readiness = new AbortController()
    const isReady = until(`${this.name} accepts connections`, () => this.#isReady(server.pid), {
      timeoutMillis: 60_000,
      signal: AbortSignal.any([signal, readiness.signal]),
    })
    try {
      const end = await Promise.race([isReady.then(() => undefined), ended])
      if (end !== undefined) return explain(end)
    } catch (error) {
      await this.#end('SIGQUIT')
      throw error
    } finally {
      readiness.abort()
    }
    server.isExpectedToEnd = false
    return undefined
  }

  /**
   * The server says so in its postmaster.pid, as it does to pg_ctl: a connection would also succeed if another
   * server had got the port.
   *
   * @param {number} pid
   */
  async #isReady(pid) {
    const lines = (await readFile(join(this.#dataFolder, 'postmaster.pid'), 'utf8')).split('\n')
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
  }

  /** Shuts the server down in order; a no-op if it is not running. */
  async stop() {
    await this.#end('SIGINT')
  }

  /** Ends the server at once, as a crash would; it recovers when it is started again. */
  async kill() {
    const server = this.#server
    if (!server) return
    server.isExpectedToEnd = true
    const children = await childrenOf(server.pid)
    // Frozen children would never notice that their postmaster is gone.
    for (const pid of [server.pid, ...children]) send(pid, 'SIGKILL')
    await keepAlive(server.ended)
  }

  /** Ends the server without care for its data: for the clean-up. */
  async discard() {
    await this.#end('SIGQUIT')
  }

  async restart() {
    await this.stop()
    await this.start()
  }

  /** @param {'SIGINT' | 'SIGQUIT'} signal PostgreSQL's words for a fast and for an immediate shutdown */
  async #end(signal) {
    const server = this.#server
    if (!server) return
    server.isExpectedToEnd = true
    if (this.#isFrozen) await this.thaw()
    send(server.pid, signal)
    // A primary waits for its standbys to receive everything, and a frozen one never does.
    const timer = setTimeout(() => void this.kill(), 5_000)
    await server.ended
    clearTimeout(timer)
  }

  /** Stops the server's processes where they are (SIGSTOP): it neither answers nor closes a connection. */
  async freeze() {
    const pid = this.#runningPid()
    this.#isFrozen = true
    // The postmaster first, so that it starts no more children.
    send(pid, 'SIGSTOP')
    for (const child of await childrenOf(pid)) send(child, 'SIGSTOP')
  }

  /** Lets a frozen server go on. */
  async thaw() {
    const pid = this.#runningPid()
    for (const child of await childrenOf(pid)) send(child, 'SIGCONT')
    send(pid, 'SIGCONT')
    this.#isFrozen = false
  }

  #runningPid() {
    if (!this.#server) throw new Error(`PostgreSQL node ${this.name} is not running`)
    return this.#server.pid
  }

  /** Makes a standby a primary; resolves when it takes writes. */
  async promote() {
    if (this.#surroundings.major >= 12) {
      await this.query('select pg_promote(false)')
    } else {
      await writeFile(join(this.#dataFolder, 'promote'), '')
      send(this.#runningPid(), 'SIGUSR1')
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
    await until(`${this.name} ${what}`, condition, { signal: this.#surroundings.signal })
  }
}
