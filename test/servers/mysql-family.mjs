import { existsSync } from 'node:fs'
import { cp, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPool as createMariadbPool } from 'mariadb'
import { createConnection, createPool as createMysql2Pool } from 'mysql2/promise'
import { Members } from './members.mjs'
import { freePort, until } from './postgres/processes.mjs'

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
 * @property {(member: { id: number, port: number, isChanged: boolean }) => readonly string[]} changeIdentity statements that give a
 * follower another id or channel, or its own again. The port is that of what it follows
 * @property {string} links a query for the connections of a follower to its leaders
 * @property {(row: Record<string, unknown>) => boolean} isLinked
 * @property {(row: Record<string, unknown>) => string} receivedOf what it has received, in the form of `position`
 * @property {readonly [privilege: string, user: string]} monitor
 * @property {readonly string[]} pauseApplying statements that stop a follower from applying what it receives
 * @property {readonly string[]} resumeApplying
 * @property {readonly string[]} restart statements that make a follower connect again
 * @property {readonly string[]} promote statements that make a follower a leader
 * @property {readonly string[]} demote statements that a former leader needs before it follows
 * @property {string} replicationState a query that has a row with `state` `ok` while a follower replicates
 * @property {(role: 'leader' | 'follower') => string} positionQuery whose `position` is the set of what a node has
 * @property {(position: string) => bigint} countOf how many transactions that is
 * @property {(options: { nodes: Record<string, Client>, shard: string }) => ReplicationSource} createSource
 */

const SHARD = 'orders'
const NAMES = ['leader', 'replica-1', 'replica-2']

/** One server, and the gate that it replicates through once it has a leader. */
export class Member {
  /** @type {Server | undefined} */
  server
  /** @type {Gate | undefined} */
  link
  /** Whether it has another id or channel at the moment. */
  isChanged = false
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

  /** Creates its data folder, without any data. */
  async create() {
    const data = join(await this.servers.folderOf(this.name), 'data')
    await rm(data, { recursive: true, force: true })
    await cp(this.dialect.template, data, { recursive: true })
  }

  /** Replaces its data folder. A server skips transactions that have its own id, so it gets another one. */
  async createAgain() {
    this.id += 10
    await this.create()
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

  /** Makes it follow another one, through its gate. @param {Member} leader */
  async follow(leader) {
    const { link } = this
    if (link) link.moveTo(leader.port)
    else this.link = await this.servers.gate(leader.port)
    if (!this.server || this.server.hasExited) await this.start()
    await this.run(link ? this.dialect.restart : this.dialect.follow(this.link?.port ?? 0))
    await this.untilReplicating()
  }

  untilReplicating(timeoutMillis = 60_000) {
    const { dialect, name } = this
    const replicates = async () =>
      (await this.query(dialect.replicationState)).some(({ state }) => state === 'ok')
    const { signal } = this.servers
    return until(`${name} replicates`, replicates, { timeoutMillis, signal })
  }
}

/** Starts a leader and two followers. @param {Servers} servers @param {Dialect} dialect */
export async function startFamily(servers, dialect) {
  const members = await startMembers(servers, dialect, NAMES)
  const [leader, ...others] = /** @type {[Member, ...Member[]]} */ (members)
  await leader.run(dialect.users)
  await leader.run(['create database app', 'create table app.t (i int auto_increment primary key)'])
  for (const member of others) await member.follow(leader)
  const family = new Family(servers, dialect, members)
  for (const { name } of others) await family.untilCaughtUp(name)
  return family
}

/**
 * Starts servers that do not follow each other yet.
 *
 * @param {Servers} servers
 * @param {Dialect} dialect
 * @param {readonly string[]} names
 * @param {(index: number) => readonly string[]} [parameters] more parameters of each
 */
export function startMembers(servers, dialect, names, parameters = () => []) {
  return Promise.all(
    names.map(async (name, index) => {
      const member = new Member(servers, dialect, name, index + 1, await freePort())
      await member.create()
      await member.start(parameters(index))
      return member
    }),
  )
}

/** @extends {Members<Member>} @implements {System} */
export class Family extends Members {
  #servers
  #dialect
  /** Connections that leave none to others. @type {import('mysql2/promise').Connection[]} */
  #held = []
  shard = SHARD

  /** @param {Servers} servers @param {Dialect} dialect @param {readonly Member[]} members the leader first */
  constructor(servers, dialect, members) {
    super(members)
    this.#servers = servers
    this.#dialect = dialect
  }

  /** @param {string} name */
  async stateOf(name) {
    const member = this.member(name)
    const leads = this.leader === member
    const position = await member.position(leads ? 'leader' : 'follower')
    const rows = leads ? [] : await member.query(this.#dialect.links)
    const linked = rows.some((row) => this.#dialect.isLinked(row))
    const received = rows.map((row) => this.#dialect.countOf(this.#dialect.receivedOf(row)))
    return { position, received: received.find((count) => count > 0n), leads, linked }
  }

  /** @param {string} follower */
  async changeIdentity(follower) {
    const member = this.member(follower)
    member.isChanged = !member.isChanged
    const { id, link, isChanged } = member
    await member.run(this.#dialect.changeIdentity({ id, port: link?.port ?? 0, isChanged }))
    await member.untilReplicating()
  }

  /** @param {string} follower */
  pauseApplying(follower) {
    return this.member(follower).run(this.#dialect.pauseApplying)
  }

  /** @param {string} follower */
  resumeApplying(follower) {
    return this.member(follower).run(this.#dialect.resumeApplying)
  }

  revoke() {
    const [privilege, user] = this.#dialect.monitor
    return this.leader.query(`revoke ${privilege} from ${user}`)
  }

  grant() {
    const [privilege, user] = this.#dialect.monitor
    return this.leader.query(`grant ${privilege} to ${user}`)
  }

  changePassword(password = 'monitor') {
    return this.leader.query(`alter user ${this.#dialect.monitor[1]} identified by '${password}'`)
  }

  /** Opens more connections than will be allowed. */
  async exhaust() {
    const { port } = this.leader
    const login = { host: '127.0.0.1', port, user: 'monitor', password: 'monitor' }
    this.#held = await Promise.all(Array.from({ length: 12 }, () => createConnection(login)))
    for (const each of this.#held) each.on('error', () => undefined)
    await this.leader.query('set global max_connections = 10')
  }

  async relieve() {
    await this.leader.query('set global max_connections = 100')
    for (const each of this.#held) each.destroy()
  }

  truncate() {
    return this.leader.query('flush binary logs')
  }

  async killLeader() {
    await this.leader.kill()
  }

  async startLeader() {
    await this.leader.start()
  }

  get url() {
    const addresses = this.members.map(({ port }) => `127.0.0.1:${port}`)
    return `${this.#dialect.scheme}://monitor:monitor@${addresses.join(',')}`
  }

  get ports() {
    return Object.fromEntries(this.members.map(({ name, port }) => [name, port]))
  }

  /** @param {ConnectOptions} [options] @returns {Promise<Connected>} */
  async connect({ client = 'mysql2', fault, source } = {}) {
    const user = fault === 'missing right' ? 'visitor' : 'monitor'
    const password = fault === 'wrong password' ? 'wrong' : 'monitor'
    const named = await Promise.all(
      this.members.map(async ({ name, port }) => {
        const gate = await this.#servers.gate(port)
        const connection =
          client === 'mariadb'
            ? mariadbPool(gate.port, user, password)
            : mysql2Pool(gate.port, user, password)
        return { name, gate, connection }
      }),
    )
    const gates = Object.fromEntries(named.map(({ name, gate }) => [name, gate]))
    const nodes = Object.fromEntries(named.map(({ name, connection }) => [name, connection]))
    /** @type {Promise<unknown> | undefined} */
    let closing
    const close = async () => {
      closing ??= Promise.allSettled(named.map(({ connection }) => connection.end()))
      await closing
    }
    this.#servers.onStop(close)
    return {
      source: this.#dialect.createSource({ nodes, shard: SHARD, ...source }),
      gate: /** @type {Gate} */ (gates[this.leader.name]),
      gates,
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

  /** @override @param {string} follower */
  async kill(follower) {
    await this.member(follower).kill()
  }

  /** @param {string} follower */
  async restart(follower) {
    await this.member(follower).start()
    // It can have lost what it needs, when several incidents came together.
    await this.member(follower)
      .untilReplicating(20_000)
      .catch(() => this.wipe(follower))
  }

  /** It replicates all from the start again. @param {string} follower */
  async wipe(follower) {
    const member = this.member(follower)
    await member.kill()
    await member.createAgain()
    await member.start()
    await member.run(this.#dialect.follow(member.link?.port ?? 0))
    await member.untilReplicating()
  }

  /** @param {string} follower */
  async claimLead(follower) {
    await this.member(follower).run(this.#dialect.promote)
  }

  /** @param {string} follower */
  async followAgain(follower) {
    const member = this.member(follower)
    await member.run(this.#dialect.follow(member.link?.port ?? 0))
    await member.untilReplicating()
  }

  /** The killed leader comes back as a replica. With its data, it can have more than the new one. */
  async failOver({ keepsData = true } = {}) {
    const killed = this.leader
    await killed.kill()
    const [first, second] = this.replicas
    const [a, b] = await Promise.all([first.position('follower'), second.position('follower')])
    const [next, other] = a >= b ? [first, second] : [second, first]
    await this.promote(next.name)
    await other.follow(next)
    if (!keepsData) await killed.createAgain()
    await killed.start()
    if (keepsData) await killed.run(this.#dialect.demote)
    await killed.follow(next)
    return other.name
  }

  /** Makes a follower a leader. The others are left as they are. @param {string} name */
  async promote(name) {
    const next = this.member(name)
    await next.run(this.#dialect.promote)
    next.link = undefined
    this.setLeader(next)
  }

  /** @param {string} name */
  async untilCaughtUp(name) {
    await this.#servers.until(`${name} has caught up`, async () => {
      return (await this.position(name)) === (await this.position())
    })
  }
}

/** @param {number} port @param {string} user @param {string} password @returns {Client} */
function mysql2Pool(port, user, password) {
  const host = '127.0.0.1'
  return createMysql2Pool({ host, port, user, password, connectionLimit: 2, connectTimeout: 1000 })
}

/** @param {number} port @param {string} user @param {string} password @returns {Client} */
function mariadbPool(port, user, password) {
  return createMariadbPool({
    host: '127.0.0.1',
    port,
    user,
    password,
    connectionLimit: 2,
    minimumIdle: 0,
    // It tries again and again to connect, for this time.
    acquireTimeout: 150,
    connectTimeout: 130,
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
