import { existsSync } from 'node:fs'
import { cp, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPool as createMariadbPool } from 'mariadb'
import { createConnection, createPool as createMysql2Pool } from 'mysql2/promise'
import { freePort } from './postgres/processes.mjs'

/** @import { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag' */
/** @import { Server, Servers } from './servers.mjs' */
/** @import { Gate } from './gate.mjs' */
/** @import { Connected, ConnectOptions, System } from './system.js' */

/** @typedef {{ query(sql: string): Promise<unknown>, end(): Promise<unknown> }} Client */

/**
 * What MariaDB and MySQL do not have in common.
 *
 * @typedef {object} Dialect
 * @property {string} scheme of its URL
 * @property {string} program
 * @property {readonly string[]} parameters of the program
 * @property {string} template a data folder to copy
 * @property {readonly string[]} users statements that create the users `replicator` and `monitor`, with the passwords
 * `replicator` and `monitor`, and `visitor`, with the password `monitor`, which may do nothing
 * @property {(port: number) => readonly string[]} follow statements that make a node the follower of what is at a port
 * @property {readonly string[]} restart statements that make a follower connect again
 * @property {readonly string[]} promote statements that make a follower a leader
 * @property {string} replicationState a query that has a row with `state` `ok` while a follower replicates
 * @property {(role: 'leader' | 'follower') => string} positionQuery whose `position` is the set of what a node has
 * @property {(position: string) => bigint} countOf how many transactions that is
 * @property {(options: { leader: Client, followers: Record<string, Client>, shard: string }) => ReplicationSource} createSource
 */

const SHARD = 'orders'
const FOLLOWERS = /** @type {const} */ (['replica-1', 'replica-2'])

/** One server, and the gate that it replicates through once it has a leader. */
class Member {
  /** @type {Server | undefined} */
  server
  /** @type {import('mysql2/promise').Connection | undefined} */
  #admin

  /**
   * @param {Servers} servers
   * @param {Dialect} dialect
   * @param {string} name
   * @param {number} id
   * @param {number} port
   */
  constructor(servers, dialect, name, id, port) {
    this.servers = servers
    this.dialect = dialect
    this.name = name
    this.id = id
    this.port = port
  }

  /** @param {readonly string[]} [more] parameters */
  async start(more = []) {
    const { servers, dialect, name, id, port } = this
    const folder = await servers.folderOf(name)
    const user = process.getuid?.() === 0 ? ['--user=root'] : []
    this.server = await servers.start(name, dialect.program, [
      ...dialect.parameters,
      ...user,
      `--datadir=${join(folder, 'data')}`,
      `--socket=${join(folder, 'socket')}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--port=${port}`,
      `--server-id=${id}`,
      '--bind-address=127.0.0.1',
      '--log-bin=bin',
      '--binlog-format=ROW',
      '--sync-binlog=0',
      '--innodb-buffer-pool-size=16M',
      '--innodb-flush-log-at-trx-commit=2',
      '--innodb-doublewrite=0',
      ...more,
    ])
    await servers.until(`${name} answers`, () => {
      if (this.server?.hasExited) throw new Error(this.server.output)
      return this.query('select 1 as one')
    })
  }

  async kill() {
    await this.server?.kill()
    this.#admin?.destroy()
    this.#admin = undefined
  }

  /**
   * Runs a statement as an administrator.
   *
   * @param {string} sql
   * @returns {Promise<Record<string, unknown>[]>} the rows
   */
  async query(sql) {
    if (!this.#admin) {
      const admin = await createConnection({ host: '127.0.0.1', port: this.port, user: 'root' })
      // Without a listener, a connection that breaks would end the process.
      admin.on('error', () => {
        if (this.#admin === admin) this.#admin = undefined
      })
      this.servers.onStop(() => {
        admin.destroy()
        return Promise.resolve()
      })
      this.#admin = admin
    }
    const [rows] = await this.#admin.query(sql)
    return /** @type {Record<string, unknown>[]} */ (rows)
  }

  /** @param {readonly string[]} statements */
  async run(statements) {
    for (const sql of statements) await this.query(sql)
  }

  /** @param {'leader' | 'follower'} role */
  async position(role) {
    const [row] = await this.query(this.dialect.positionQuery(role))
    return this.dialect.countOf(String(row?.['position']))
  }

  untilReplicating() {
    const { dialect, name } = this
    return this.servers.until(`${name} replicates`, async () =>
      (await this.query(dialect.replicationState)).some(({ state }) => state === 'ok'),
    )
  }
}

/**
 * Starts a leader and two followers.
 *
 * @param {Servers} servers
 * @param {Dialect} dialect
 */
export async function startFamily(servers, dialect) {
  const names = ['leader', ...FOLLOWERS]
  const members = await Promise.all(
    names.map(async (name, index) => {
      const member = new Member(servers, dialect, name, index + 1, await freePort())
      const folder = await servers.folderOf(name)
      await cp(dialect.template, join(folder, 'data'), { recursive: true })
      await member.start()
      return member
    }),
  )
  const [leader, ...followers] = /** @type {[Member, ...Member[]]} */ (members)
  await leader.run(dialect.users)
  await leader.run(['create database app', 'create table app.t (i int auto_increment primary key)'])
  const family = new Family(servers, dialect, leader, followers)
  await family.join()
  return family
}

/** @implements {System} */
export class Family {
  #servers
  #dialect
  /** @type {Map<string, Gate>} */
  #links = new Map()
  shard = SHARD
  followers = FOLLOWERS

  /**
   * @param {Servers} servers
   * @param {Dialect} dialect
   * @param {Member} leader
   * @param {readonly Member[]} replicas
   */
  constructor(servers, dialect, leader, replicas) {
    this.#servers = servers
    this.#dialect = dialect
    this.leader = leader
    this.replicas = replicas
  }

  /** Makes the replicas follow the leader, each through a gate, and waits until they have caught up. */
  async join() {
    for (const replica of this.replicas) {
      const link = await this.#servers.gate(this.leader.port)
      this.#links.set(replica.name, link)
      await replica.run(this.#dialect.follow(link.port))
    }
    for (const replica of this.replicas) {
      await replica.untilReplicating()
      await this.#untilEqual(replica)
    }
  }

  /** @param {string} name */
  member(name) {
    const found = this.replicas.find((replica) => replica.name === name)
    if (!found) throw new Error(`no such follower: ${name}`)
    return found
  }

  get url() {
    const addresses = [this.leader, ...this.replicas].map(({ port }) => `127.0.0.1:${port}`)
    return `${this.#dialect.scheme}://monitor:monitor@${addresses.join(',')}`
  }

  /** @param {ConnectOptions} [options] @returns {Promise<Connected>} */
  async connect({ client = 'mysql2', fault, source } = {}) {
    // A pool of mariadb tries again and again to connect, for this time. Two of them are waited for in turn.
    const timeout = fault === 'wrong password' ? 100 : 250
    /** @param {number} port */
    const create = (port) =>
      client === 'mariadb'
        ? mariadbPool(port, user, password, timeout)
        : mysql2Pool(port, user, password)
    const user = fault === 'missing right' ? 'visitor' : 'monitor'
    const password = fault === 'wrong password' ? 'wrong' : 'monitor'
    const gate = await this.#servers.gate(this.leader.port)
    const leader = create(gate.port)
    const followers = Object.fromEntries(
      this.replicas.map(({ name, port }) => [name, create(port)]),
    )
    /** @type {Promise<unknown> | undefined} */
    let closing
    const close = async () => {
      closing ??= Promise.allSettled([leader, ...Object.values(followers)].map((c) => c.end()))
      await closing
    }
    this.#servers.onStop(close)
    const options = { leader, followers, shard: SHARD, ...source }
    return {
      source: this.#dialect.createSource(options),
      gate,
      close,
    }
  }

  /** @param {number} count */
  async write(count) {
    for (let i = 0; i < count; i++) await this.leader.query('insert into app.t values (null)')
  }

  /** @param {string} [follower] */
  position(follower) {
    return follower === undefined
      ? this.leader.position('leader')
      : this.member(follower).position('follower')
  }

  /** @param {string} follower */
  cut(follower) {
    this.#links.get(follower)?.close()
    return Promise.resolve()
  }

  /** @param {string} follower */
  mend(follower) {
    this.#links.get(follower)?.reopen()
    return Promise.resolve()
  }

  /** @param {string} follower */
  async kill(follower) {
    await this.member(follower).kill()
  }

  /** @param {string} follower */
  async restart(follower) {
    await this.member(follower).start()
    await this.member(follower).untilReplicating()
  }

  freeze() {
    this.leader.server?.freeze()
    return Promise.resolve()
  }

  thaw() {
    this.leader.server?.thaw()
    return Promise.resolve()
  }

  async failOver() {
    await this.leader.kill()
    const [next, other] = /** @type {[Member, Member]} */ (this.replicas)
    await this.#servers.until('one follower has all that the other has', async () => {
      const [a, b] = await Promise.all([next.position('follower'), other.position('follower')])
      return a >= b
    })
    await next.run(this.#dialect.promote)
    this.leader = next
    this.replicas = [other]
    this.#links.get(other.name)?.moveTo(next.port)
    await other.run(this.#dialect.restart)
    await other.untilReplicating()
    return other.name
  }

  /** @param {Member} replica */
  async #untilEqual(replica) {
    await this.#servers.until(`${replica.name} has caught up`, async () => {
      return (await replica.position('follower')) === (await this.leader.position('leader'))
    })
  }
}

/**
 * @param {number} port
 * @param {string} user
 * @param {string} password
 * @returns {Client}
 */
function mysql2Pool(port, user, password) {
  const host = '127.0.0.1'
  return createMysql2Pool({ host, port, user, password, connectionLimit: 2, connectTimeout: 300 })
}

/**
 * @param {number} port
 * @param {string} user
 * @param {string} password
 * @param {number} timeout in milliseconds
 * @returns {Client}
 */
function mariadbPool(port, user, password, timeout) {
  return createMariadbPool({
    host: '127.0.0.1',
    port,
    user,
    password,
    connectionLimit: 2,
    minimumIdle: 0,
    acquireTimeout: timeout,
    connectTimeout: timeout - 20,
    // MySQL sends its public key, without TLS.
    allowPublicKeyRetrieval: true,
  })
}

/**
 * Returns a data folder of this name in the temporary folder. It is created once.
 *
 * @param {string} name of this kind and version of server
 * @param {(folder: string) => Promise<unknown>} create creates it, in a folder that exists
 */
export async function templateOf(name, create) {
  const folder = join(tmpdir(), `replication-lag-${process.getuid?.() ?? 0}-${name}`)
  if (existsSync(folder)) return folder
  const draft = await mkdtemp(`${folder}-`)
  try {
    await create(join(draft, 'data'))
    // Fails if another process was faster.
    await rename(join(draft, 'data'), folder).catch(() => undefined)
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return folder
}
