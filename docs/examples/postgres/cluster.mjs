import { execFile } from 'node:child_process'
import { appendFile, chmod, chown, mkdtemp, realpath, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { checkReachable, findBinaries, postgresUser } from './binaries.mjs'
import { Janitor } from './janitor.mjs'
import { environment, PostgresNode } from './node.mjs'

/** Settings of postgresql.conf. */
/** @typedef {Record<string, string | number | boolean>} Conf */

/**
 * @typedef {object} ClusterOptions
 * @property {Conf} [conf] settings of every node
 * @property {AbortSignal} [signal] gives up whatever is being started; `stop()` is still to be called
 * @property {(error: Error) => void} [onUnexpectedExit] called when a node ends that nobody stopped
 */

/**
 * @typedef {object} PrimaryOptions
 * @property {string} [name] `primary` unless said otherwise
 * @property {Conf} [conf]
 */

/**
 * @typedef {object} StandbyOptions
 * @property {string} name
 * @property {PostgresNode} of its upstream: a primary or, for a cascade, a standby
 * @property {string} [slot] the physical slot on the upstream that it streams through; made if there is none
 * @property {string} [applicationName] what the upstream knows it by, the node's name unless said otherwise
 * @property {Conf} [conf]
 */

/** @type {Conf} Small, quick, and as good as silent when nobody writes. */
const defaults = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  wal_level: 'logical',
  // A standby begins as an empty database, so its upstream keeps the whole log.
  wal_keep_size: '512MB',
  max_wal_size: '512MB',
  checkpoint_timeout: '1h',
  wal_receiver_status_interval: '1s',
  wal_retrieve_retry_interval: '100ms',
  autovacuum: false,
  fsync: false,
  full_page_writes: false,
  shared_buffers: '16MB',
}

/**
 * Real PostgreSQL servers on this machine's loopback interface, in a temporary folder.
 *
 * Standbys are made without pg_basebackup, which npm does not carry: every node begins as a copy of one new database
 * that never ran, and a standby streams the log from its first byte.
 */
export class PostgresCluster {
  #folder
  #binaries
  #user
  #conf
  #onUnexpectedExit
  #janitor
  #stopping = new AbortController()
  #signal
  /** @type {Map<string, PostgresNode>} */
  #nodes = new Map()
  /** @type {Set<Promise<unknown>>} */
  #programs = new Set()
  /** @type {Promise<void> | undefined} */
  #stopped

  /**
   * Use {@link PostgresCluster.create}.
   *
   * @param {string} folder
   * @param {{ initdb: string, postgres: string }} binaries
   * @param {import('./binaries.mjs').User} user
   * @param {ClusterOptions} options
   */
  constructor(folder, binaries, user, { conf = {}, signal, onUnexpectedExit = () => undefined }) {
    this.#folder = folder
    this.#binaries = binaries
    this.#user = user
    this.#conf = conf
    this.#onUnexpectedExit = onUnexpectedExit
    this.#janitor = new Janitor(folder)
    const stopped = this.#stopping.signal
    this.#signal = signal ? AbortSignal.any([signal, stopped]) : stopped
  }

  /**
   * Makes the folder and the database that all nodes begin with; takes about a second.
   *
   * @param {ClusterOptions} [options]
   */
  static async create(options = {}) {
    const binaries = await findBinaries()
    const user = postgresUser()
    checkReachable(
      binaries.postgres,
      user,
      'clone to a folder that everyone may read, as below /opt',
    )
    const parent = await realpath(tmpdir())
    checkReachable(parent, user, 'set TMPDIR to a folder that everyone may enter')
    options.signal?.throwIfAborted()
    const folder = await mkdtemp(join(parent, 'replication-lag-postgres-'))
    const cluster = new PostgresCluster(folder, binaries, user, options)
    try {
      if (user) await chown(folder, user.uid, user.gid)
      await chmod(folder, 0o700)
      await cluster.#initialize()
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  /** The temporary folder: the nodes' data folders, and their logs (`<name>.log`). */
  get folder() {
    return this.#folder
  }

  async #initialize() {
    const { initdb } = this.#binaries
    const template = join(this.#folder, 'template')
    const run = this.#run(initdb, [
      ...['--pgdata', template, '--username', 'postgres', '--auth', 'trust'],
      ...['--encoding', 'UTF8', '--locale', 'C', '--wal-segsize', '1'],
      ...['--no-sync', '--no-data-checksums', '--no-instructions'],
      // Also for initdb itself: shared memory in files of the data folder goes with it, whatever happens.
      ...['--set', 'dynamic_shared_memory_type=mmap'],
    ])
    try {
      await run
    } catch (cause) {
      const { code } = /** @type {NodeJS.ErrnoException} */ (cause)
      if (code !== 'ENOENT') throw cause
      // The file is there; what it is linked against is not.
      throw new Error(`${initdb} needs glibc, which Alpine Linux does not have`, { cause })
    }
  }

  /**
   * Starts a server that takes writes. A second one shares the system identifier with the first, but not its history.
   *
   * @param {PrimaryOptions} [options]
   */
  async startPrimary({ name = 'primary', conf = {} } = {}) {
    const node = await this.#add(name, conf)
    await node.start()
    return node
  }

  /**
   * Starts a server that follows another; resolves when it streams.
   *
   * @param {StandbyOptions} options
   */
  async startStandby({ name, of, slot, applicationName = name, conf = {} }) {
    if (slot !== undefined) {
      await of.query(
        `select pg_create_physical_replication_slot($1, true)
          where not exists (select from pg_replication_slots where slot_name = $1)`,
        [slot],
      )
    }
    const upstream = { host: '127.0.0.1', port: of.port, user: 'postgres' }
    const conninfo = Object.entries({ ...upstream, application_name: applicationName })
    const node = await this.#add(name, {
      primary_conninfo: conninfo.map(([key, value]) => `${key}=${quote(String(value))}`).join(' '),
      ...(slot !== undefined && { primary_slot_name: slot }),
      ...conf,
    })
    await this.#write(join(this.#folder, name, 'standby.signal'), '')
    await node.start()
    await node.untilStreaming()
    return node
  }

  /** Ends all servers, also frozen ones, and removes the folder. May be called more than once. */
  stop() {
    return (this.#stopped ??= this.#stop())
  }

  async #stop() {
    this.#stopping.abort(new Error('the PostgreSQL cluster was stopped'))
    await Promise.allSettled(this.#programs)
    await Promise.all([...this.#nodes.values()].map((node) => node.discard()))
    this.#nodes.clear()
    await this.#janitor.finish()
  }

  /**
   * @param {string} name
   * @param {Conf} conf
   */
  async #add(name, conf) {
    if (!/^[a-z][a-z0-9_-]*$/.test(name) || name === 'template') {
      throw new TypeError(
        `name: expected a-z, 0-9, _ and -, a letter first, got ${JSON.stringify(name)}`,
      )
    }
    if (this.#nodes.has(name)) throw new TypeError(`name: there is a node ${name} already`)
    const node = new PostgresNode(name, {
      folder: this.#folder,
      postgres: this.#binaries.postgres,
      user: this.#user,
      signal: this.#signal,
      onUnexpectedExit: this.#onUnexpectedExit,
    })
    this.#nodes.set(name, node)
    const dataFolder = join(this.#folder, name)
    await this.#run('cp', ['-Rp', join(this.#folder, 'template'), dataFolder])
    const settings = Object.entries({ ...defaults, ...this.#conf, ...conf })
    const lines = settings.map(([key, value]) => `${key} = ${quote(String(value))}\n`)
    await appendFile(join(dataFolder, 'postgresql.conf'), lines.join(''))
    return node
  }

  /**
   * Runs a program as PostgreSQL's user. It is not interrupted, as it is over in a second; but nothing comes after it
   * once the cluster is stopped.
   *
   * @param {string} program
   * @param {string[]} parameters
   */
  async #run(program, parameters) {
    this.#signal.throwIfAborted()
    const run = promisify(execFile)(program, parameters, {
      cwd: this.#folder,
      env: environment,
      ...(this.#user && { uid: this.#user.uid, gid: this.#user.gid }),
    })
    this.#programs.add(run)
    try {
      await run
    } finally {
      this.#programs.delete(run)
    }
    this.#signal.throwIfAborted()
  }

  /**
   * @param {string} file
   * @param {string} content
   */
  async #write(file, content) {
    await writeFile(file, content)
    if (this.#user) await chown(file, this.#user.uid, this.#user.gid)
  }
}

/**
 * As postgresql.conf and a connection string both read it.
 *
 * @param {string} text
 */
function quote(text) {
  return `'${text.replace(/[\\']/g, '\\$&')}'`
}
