import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { appendFile, chown, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Servers } from '../servers.mjs'
import { checkReachable, findBinaries, majorOf, postgresUser } from './binaries.mjs'
import { environment, PostgresNode } from './node.mjs'

/** Settings of postgresql.conf, or of recovery.conf where a standby of PostgreSQL 10 or 11 has them. */
/** @typedef {Record<string, string | number | boolean>} Conf */

/**
 * @typedef {object} ClusterOptions
 * @property {Conf} [conf] settings of every node
 * @property {Servers} [servers] what the nodes belong to. Default: servers of its own.
 * @property {AbortSignal} [signal] stops what is being started on servers of its own. Call `stop()` all the same.
 * @property {import('./binaries.mjs').Binaries} [binaries] default: those that npm installed
 * @property {string} [template] where an empty database is kept for other clusters. It is created if it does not exist.
 */

/**
 * @typedef {object} PrimaryOptions
 * @property {string} [name] default: `primary`
 * @property {Conf} [conf]
 */

/**
 * @typedef {object} StandbyOptions
 * @property {string} name
 * @property {PostgresNode} of its upstream: a primary or, for a cascade, a standby
 * @property {string} [slot] the physical slot on the upstream that it streams through. It is created if it does not exist.
 * @property {string} [applicationName] default: the name of the node
 * @property {number} [port] of the upstream, or of a proxy before it
 * @property {Conf} [conf]
 */

/** Settings that a standby of PostgreSQL 10 and 11 has in recovery.conf. */
const recoverySettings = [
  'primary_conninfo',
  'primary_slot_name',
  'recovery_min_apply_delay',
  'recovery_target_timeline',
  'restore_command',
]

/** @type {Conf} Small, quick, and nearly silent when nothing is written. */
const defaults = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  wal_level: 'logical',
  max_wal_size: '512MB',
  checkpoint_timeout: '1h',
  wal_receiver_status_interval: '1s',
  wal_retrieve_retry_interval: '100ms',
  autovacuum: false,
  fsync: false,
  full_page_writes: false,
  shared_buffers: '16MB',
  dynamic_shared_memory_type: 'mmap',
}

/**
 * Real PostgreSQL servers on this machine's loopback interface, in a temporary folder.
 *
 * Standbys are made without pg_basebackup, which npm does not carry: every node starts as a copy of one new database that
 * never ran, and a standby streams the log from its first byte.
 */
export class PostgresCluster {
  #servers
  #template
  #binaries
  #major
  #user
  #conf
  /** @type {Map<string, PostgresNode>} */
  #nodes = new Map()

  /**
   * Use {@link PostgresCluster.create}.
   *
   * @param {Servers} servers
   * @param {import('./binaries.mjs').Binaries} binaries
   * @param {number} major
   * @param {ClusterOptions} options
   */
  constructor(servers, binaries, major, { conf = {}, template }) {
    this.#servers = servers
    this.#template = template ?? join(servers.folder, 'template')
    this.#binaries = binaries
    this.#major = major
    this.#user = postgresUser()
    this.#conf = conf
  }

  /** Prepares the empty database that all nodes start with. @param {ClusterOptions} [options] */
  static async create(options = {}) {
    const binaries = options.binaries ?? (await findBinaries())
    const user = postgresUser()
    checkReachable(
      binaries.postgres,
      user,
      'clone to a folder that everyone may read, as below /opt',
    )
    const parent = await realpath(tmpdir())
    checkReachable(parent, user, 'set TMPDIR to a folder that everyone may enter')
    const major = await majorOf(binaries)
    const servers = options.servers ?? (await Servers.create(options))
    const cluster = new PostgresCluster(servers, binaries, major, options)
    // Killed servers would break connections that are still closing.
    servers.onStop(() => Promise.all([...cluster.#nodes.values()].map((node) => node.discard())))
    try {
      if (user) await chown(servers.folder, user.uid, user.gid)
      if (!existsSync(cluster.#template)) await cluster.#initialize()
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  /** Creates the empty database. It takes about two seconds. */
  async #initialize() {
    const { initdb, postgres } = this.#binaries
    const folder = join(this.folder, 'template')
    await this.#run(initdb, initdbParameters(folder, this.#major))
    // Nothing creates databases here. Without their templates, copying is a third of the work.
    const drop =
      'update pg_database set datistemplate = false\ndrop database template0\ndrop database template1\n'
    const script = 'printf "$2" | "$0" --single -F -D "$1" postgres'
    await this.#run('/bin/sh', ['-c', script, postgres, folder, drop])
    if (folder === this.#template) return
    // Another process may have been faster.
    await rename(folder, this.#template).catch((/** @type {unknown} */ error) => {
      if (!existsSync(this.#template)) throw error
    })
  }

  /** The temporary folder: the nodes' data folders, and their logs (`<name>.log`). */
  get folder() {
    return this.#servers.folder
  }

  /** The major version of PostgreSQL. */
  get major() {
    return this.#major
  }

  /**
   * Starts a server that takes writes. A second one shares the system identifier with the first, but not its history.
   *
   * @param {PrimaryOptions} [options]
   */
  async startPrimary({ name = 'primary', conf = {} } = {}) {
    const node = this.#add(name)
    await this.#createFolder(name, conf)
    await node.start()
    return node
  }

  /** Starts a server that follows another. Resolves when it streams. @param {StandbyOptions} options */
  async startStandby(options) {
    const node = await this.addStandby(options)
    await node.start()
    await node.untilStreaming()
    return node
  }

  /**
   * Creates the data folder of a server that follows another, and does not start it.
   *
   * @param {StandbyOptions} options
   */
  async addStandby(options) {
    await this.createSlot(options.of, options.slot)
    const node = this.#add(options.name)
    await this.#createStandbyFolder(options)
    return node
  }

  /**
   * Removes the data of a standby that does not run, and creates it again as {@link addStandby} does.
   *
   * @param {StandbyOptions} options
   */
  async wipeStandby(options) {
    await this.createSlot(options.of, options.slot)
    await rm(join(this.folder, options.name), { recursive: true })
    await this.#createStandbyFolder(options)
  }

  /** @param {StandbyOptions} options */
  async #createStandbyFolder({ name, of, slot, applicationName = name, port = of.port, conf }) {
    const settings = { ...standbySettings({ applicationName, port, slot }), ...conf }
    if (this.#major >= 12) {
      await this.#createFolder(name, settings)
      await this.#signalStandby({ name })
      return
    }
    const entries = Object.entries(settings)
    const isRecovery = (/** @type {string} */ key) => recoverySettings.includes(key)
    const others = Object.fromEntries(entries.filter(([key]) => !isRecovery(key)))
    await this.#createFolder(name, others)
    const recovery = Object.fromEntries(entries.filter(([key]) => isRecovery(key)))
    const file = join(this.folder, name, 'recovery.conf')
    await this.#write(file, format({ standby_mode: true, ...recovery }))
  }

  /**
   * Makes a node that was stopped in order, a primary until then, follow the node that took over. Start it next. Needs
   * PostgreSQL 12 or newer.
   *
   * @param {PostgresNode} node
   * @param {{ of: PostgresNode, slot?: string, port?: number }} options
   */
  async follow(node, { of, slot, port = of.port }) {
    await this.createSlot(of, slot)
    const settings = standbySettings({ applicationName: node.name, port, slot })
    await appendFile(join(this.folder, node.name, 'postgresql.conf'), format(settings))
    await this.#signalStandby(node)
  }

  /** @param {{ name: string }} node */
  #signalStandby({ name }) {
    return this.#write(join(this.folder, name, 'standby.signal'), '')
  }

  /** Creates a physical slot if it does not exist. @param {PostgresNode} of @param {string | undefined} slot */
  async createSlot(of, slot) {
    if (slot !== undefined) {
      await of.query(
        `select pg_create_physical_replication_slot($1, true)
          where not exists (select from pg_replication_slots where slot_name = $1)`,
        [slot],
      )
    }
  }

  /** Ends all servers, even frozen ones, and removes the folder. May be called more than once. */
  stop() {
    return this.#servers.stop()
  }

  /** @param {string} name */
  #add(name) {
    if (!/^[a-z][a-z0-9_-]*$/.test(name) || name === 'template') {
      throw new TypeError(
        `name: expected a-z, 0-9, _ and -, a letter first, got ${JSON.stringify(name)}`,
      )
    }
    if (this.#nodes.has(name)) throw new TypeError(`name: there is a node ${name} already`)
    const node = new PostgresNode(name, {
      servers: this.#servers,
      postgres: this.#binaries.postgres,
      major: this.#major,
      user: this.#user,
    })
    this.#nodes.set(name, node)
    return node
  }

  /** @param {string} name @param {Conf} conf */
  async #createFolder(name, conf) {
    const dataFolder = join(this.folder, name)
    await this.#run('cp', ['-Rp', this.#template, dataFolder])
    // A standby starts as an empty database, so its upstream keeps the whole log.
    const keep = this.#major >= 13 ? { wal_keep_size: '512MB' } : { wal_keep_segments: 512 }
    const settings = { ...defaults, ...keep, ...this.#conf, ...conf }
    await appendFile(join(dataFolder, 'postgresql.conf'), format(settings))
  }

  /**
   * Runs a program as PostgreSQL's user. It is not interrupted, because it takes a second at most. Nothing comes after it
   * once the servers are stopped.
   *
   * @param {string} program
   * @param {string[]} parameters
   */
  async #run(program, parameters) {
    this.#servers.signal.throwIfAborted()
    await runAs(this.#user, program, parameters, this.folder)
    this.#servers.signal.throwIfAborted()
  }

  /** @param {string} file @param {string} content */
  async #write(file, content) {
    await writeFile(file, content)
    if (this.#user) await chown(file, this.#user.uid, this.#user.gid)
  }
}

/** @param {string} folder @param {number} major */
function initdbParameters(folder, major) {
  return [
    ...['--pgdata', folder, '--username', 'postgres', '--auth', 'trust'],
    ...['--encoding', 'UTF8', '--locale', 'C', '--no-sync'],
    ...(major >= 11 ? ['--wal-segsize', '1'] : []),
    ...(major >= 14 ? ['--no-instructions'] : []),
    // Checksums are the default since PostgreSQL 18.
    ...(major >= 18 ? ['--no-data-checksums'] : []),
    // Also for initdb itself: shared memory in files of the data folder is removed with the folder.
    ...(major >= 16 ? ['--set', 'dynamic_shared_memory_type=mmap'] : []),
  ]
}

/**
 * @param {import('./binaries.mjs').User} user
 * @param {string} program
 * @param {string[]} parameters
 * @param {string} folder
 */
async function runAs(user, program, parameters, folder) {
  try {
    await promisify(execFile)(program, parameters, {
      cwd: folder,
      env: environment,
      ...(user && { uid: user.uid, gid: user.gid }),
    })
  } catch (cause) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (cause)
    if (code !== 'ENOENT') throw cause
    // The file is there. What it is linked against is not.
    throw new Error(`${program} needs glibc, which Alpine Linux does not have`, { cause })
  }
}

/** @param {{ applicationName: string, port: number, slot: string | undefined }} options @returns {Conf} */
function standbySettings({ applicationName, port, slot }) {
  const upstream = { host: '127.0.0.1', port, user: 'postgres' }
  const conninfo = Object.entries({ ...upstream, application_name: applicationName })
  return {
    primary_conninfo: conninfo.map(([key, value]) => `${key}=${quote(String(value))}`).join(' '),
    recovery_target_timeline: 'latest',
    ...(slot !== undefined && { primary_slot_name: slot }),
  }
}

/** @param {Conf} settings */
function format(settings) {
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${quote(String(value))}\n`)
  return lines.join('')
}

/** Quotes a value for postgresql.conf or for a connection string. @param {string} text */
function quote(text) {
  return `'${text.replace(/[\\']/g, '\\$&')}'`
}
