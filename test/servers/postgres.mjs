import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'
import { Members } from './members.mjs'
import { PostgresCluster } from './postgres/cluster.mjs'

/** @import { Gate } from './gate.mjs' */
/** @import { PostgresNode } from './postgres/node.mjs' */
/** @import { Servers } from './servers.mjs' */
/** @import { System } from './system.js' */

const SHARD = 'orders'
const PASSWORD = 'secret'

/** @type {import('./system.js').SystemKind} */
export const postgres = {
  title: 'PostgreSQL',
  unit: 'bytes',
  install: 'npm install (its servers come from npm)',
  isInstalled: () => Promise.resolve(true),
  start: (servers) => PostgresSystem.start(servers),
}

/** One leader and its standbys, each with a slot. @extends {Members<PostgresNode>} @implements {System} */
export class PostgresSystem extends Members {
  shard = SHARD
  // The time is that of wal_sender_timeout.
  knows = { fromOneNode: true, overLinks: true, lostMillis: 6000 }
  #servers
  #cluster
  #conf
  #address
  /** The followers that stream, as the leader said when it was asked last. */
  #streaming = new Set()
  /** One that was removed, and can be added again. @type {PostgresNode | undefined} */
  #removed

  /**
   * Use {@link PostgresSystem.start}.
   *
   * @param {Servers} servers
   * @param {PostgresCluster} cluster
   * @param {import('./postgres/cluster.mjs').Conf} conf
   * @param {{ leader: PostgresNode, address: Gate }} start `address` follows the leader
   */
  constructor(servers, cluster, conf, { leader, address }) {
    super([leader])
    this.#servers = servers
    this.#cluster = cluster
    this.#conf = conf
    this.#address = address
  }

  /** @param {Servers} servers @param {import('./postgres/cluster.mjs').Conf} [settings] of all nodes */
  static async start(servers, settings = {}) {
    const cluster = await PostgresCluster.create({ servers })
    const rules = join(cluster.folder, 'pg_hba.conf')
    await writeFile(
      rules,
      'host all monitor,watcher 127.0.0.1/32 scram-sha-256\n' +
        'host all,replication all 127.0.0.1/32 trust\n',
    )
    const conf = { hba_file: rules, wal_sender_timeout: '5s', ...settings }
    const leader = await cluster.startPrimary({ conf })
    await leader.query(`create role monitor login password '${PASSWORD}'`)
    await leader.query(`create role watcher login password '${PASSWORD}' in role pg_monitor`)
    const address = await servers.gate(leader.port)
    const system = new PostgresSystem(servers, cluster, conf, { leader, address })
    await system.#add('standby_1')
    await system.#add('standby_2')
    return system
  }

  /** Starts a new standby. @param {string} name */
  async #add(name) {
    const link = await this.#servers.gate(this.leader.port)
    const options = { name, of: this.leader, slot: name, port: link.port, conf: this.#conf }
    const node = await this.#cluster.startStandby(options)
    node.link = link
    this.setMembers([...this.members, node])
  }

  /** Removes the data of a node that does not run, and starts it as an empty standby. @param {PostgresNode} node */
  async #rebuild(node) {
    const { port } = (node.link ??= await this.#servers.gate(this.leader.port))
    const { folder, name } = node
    const standby = { name: folder, applicationName: name, of: this.leader, slot: name, port }
    await this.#cluster.wipeStandby({ ...standby, conf: this.#conf })
    await this.restart(name)
  }

  get url() {
    const { port } = this.leader
    return this.leader.url(`watcher:${PASSWORD}`).replace(`:${port}`, `:${this.#address.port}`)
  }

  get gates() {
    return { [this.leader.name]: this.#address }
  }

  /** @param {string} name */
  async stateOf(name) {
    const node = this.member(name)
    const position = await node.position()
    if (node !== this.leader) {
      const [row] = await node.query("select (pg_last_wal_receive_lsn() - '0/0')::text as received")
      const { received: text } = /** @type {{ received: string | null }} */ (row)
      const received = text === null ? undefined : BigInt(text)
      return { position, received, leads: false, linked: this.#streaming.has(name) }
    }
    const rows = await node.query('select application_name as name from pg_stat_replication')
    this.#streaming = new Set(rows.map((row) => row['name']))
    return { position, leads: true, linked: true }
  }

  pauseApplying = (/** @type {string} */ name) => this.member(name).pauseReplay()
  resumeApplying = (/** @type {string} */ name) => this.member(name).resumeReplay()
  revoke = () => this.leader.query('revoke pg_monitor from watcher')
  grant = () => this.leader.query('grant pg_monitor to watcher')
  changePassword = (password = PASSWORD) =>
    this.leader.query(`alter role watcher password '${password}'`)
  exhaust = () => this.leader.query('alter role watcher connection limit 0')
  relieve = () => this.leader.query('alter role watcher connection limit -1')
  /** The rest of its file is filled, so the position leaps. */
  truncate = () => this.leader.query('select pg_switch_wal()')
  killLeader = () => this.leader.kill()
  startLeader = () => this.leader.start()

  /** @param {import('./system.js').ConnectOptions} [options] */
  async connect({ fault, source } = {}) {
    const gate = await this.#servers.gate(this.leader.port)
    const login =
      fault === undefined
        ? {}
        : { user: 'monitor', password: fault === 'missing right' ? PASSWORD : 'wrong' }
    const pool = new pg.Pool({
      ...this.leader.connectionConfig(),
      port: gate.port,
      max: 1,
      connectionTimeoutMillis: 400,
      ...login,
    })
    pool.on('error', () => undefined)
    const close = async () => {
      await pool.end()
      await gate.stop()
    }
    return { source: postgresSource({ client: pool, shard: SHARD, ...source }), gate, close }
  }

  /** Writes messages, which fill no table. @param {number} count */
  async write(count) {
    await this.leader.query(
      "select count(pg_logical_emit_message(true, 'written', repeat('x', 100))) from generate_series(1, $1::int)",
      [count],
    )
  }

  /** @param {string} [name] */
  position(name = this.leader.name) {
    return this.member(name).position()
  }

  /** @param {string} follower */
  async restart(follower) {
    const node = this.member(follower)
    await node.start()
    await node.untilStreaming()
  }

  async addFollower() {
    if (this.#removed) {
      this.setMembers([...this.members, this.#removed])
      await this.#rebuild(this.#removed)
    } else await this.#add('standby_3')
    await this.member('standby_3').untilCaughtUpWith(this.leader)
    return 'standby_3'
  }

  /** @param {string} follower */
  async removeFollower(follower) {
    const node = this.member(follower)
    await node.stop()
    node.link = undefined
    this.#removed = node
    await this.leader.query('select pg_drop_replication_slot($1)', [follower])
    this.setMembers(this.members.filter(({ name }) => name !== follower))
  }

  /** @param {string} follower */
  async wipe(follower) {
    const node = this.member(follower)
    await node.kill()
    await this.#rebuild(node)
  }

  /** Its slot and its application_name become others, or its own again. @param {string} follower */
  async rename(follower) {
    const node = this.member(follower)
    const name = follower === node.folder ? `${follower}_renamed` : node.folder
    await this.#cluster.createSlot(this.leader, name)
    const [row] = await node.query('show primary_conninfo')
    const conninfo = String(row?.['primary_conninfo']).replace(`'${follower}'`, `'${name}'`)
    await node.query(`alter system set primary_slot_name = '${name}'`)
    await node.query(`alter system set primary_conninfo = '${conninfo.replaceAll("'", "''")}'`)
    await node.query('select pg_reload_conf()')
    await this.#servers.until('the old slot is dropped', async () => {
      const dropped = await this.leader.query(
        `select pg_drop_replication_slot(slot_name) from pg_replication_slots
          where slot_name = $1 and not active`,
        [follower],
      )
      return dropped.length > 0
    })
    node.name = name
    await node.untilStreaming()
    return name
  }

  /** The leader comes back as a standby: empty, or with its data if it was stopped in order. */
  async failOver({ keepsData = false } = {}) {
    const former = this.leader
    const [next, ...others] = this.replicas
    await (keepsData ? former.stop() : former.kill())
    await next.promote()
    this.setLeader(next)
    this.#address.moveTo(next.port)
    for (const node of others) {
      await this.#cluster.createSlot(next, node.name)
      node.link?.moveTo(next.port)
      await node.untilStreaming()
    }
    former.link?.moveTo(next.port)
    if (!keepsData) await this.#rebuild(former)
    else {
      const { port } = (former.link ??= await this.#servers.gate(next.port))
      await this.#cluster.follow(former, { of: next, slot: former.name, port })
      await this.restart(former.name)
      // Its own slots would keep its log now.
      await former.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots')
    }
    return others[0].name
  }
}
