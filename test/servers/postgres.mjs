import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'
import { PostgresCluster } from './postgres/cluster.mjs'

/** @typedef {import('./system.js').ConnectOptions} ConnectOptions */

const SHARD = 'orders'
const PASSWORD = 'secret'

/** @import { PostgresNode } from './postgres/node.mjs' */
/** @import { Gate } from './gate.mjs' */
/** @typedef {{ node: PostgresNode, link: Gate, options: import('./postgres/cluster.mjs').StandbyOptions }} Standby */

/** @type {import('./system.js').SystemKind} */
export const postgres = {
  title: 'PostgreSQL',
  unit: 'bytes',
  install: 'npm install (its servers come from npm)',
  isInstalled: () => Promise.resolve(true),
  async start(servers) {
    const cluster = await PostgresCluster.create({ signal: servers.signal })
    servers.onStop(() => cluster.stop())
    const rules = join(cluster.folder, 'pg_hba.conf')
    await writeFile(
      rules,
      'host all monitor,watcher 127.0.0.1/32 scram-sha-256\n' +
        'host all,replication all 127.0.0.1/32 trust\n',
    )
    const conf = { hba_file: rules, wal_sender_timeout: '5s' }
    let leader = await cluster.startPrimary({ conf })
    await leader.query(`create role monitor login password '${PASSWORD}'`)
    await leader.query(`create role watcher login password '${PASSWORD}' in role pg_monitor`)
    await leader.query('create table written (text text)')

    /** Follows the leader. */
    const address = await servers.gate(leader.port)
    /** The followers that stream, as the leader said when it was asked last. */
    let streaming = new Set()
    const nodes = new Map([[leader.name, leader]])
    /** @type {Map<string, Standby>} */
    const followers = new Map()
    /** Starts a standby, without any data. @param {string} name */
    const follow = async (name) => {
      const link = await servers.gate(leader.port)
      const options = { name, of: leader, slot: name, port: link.port, conf }
      let node = nodes.get(name)
      if (node) {
        await createSlot(leader, name)
        await cluster.wipeStandby(options)
        await node.start()
        await node.untilStreaming()
      } else nodes.set(name, (node = await cluster.startStandby(options)))
      followers.set(name, { node, link, options })
    }
    await follow('standby_1')
    await follow('standby_2')
    const get = (/** @type {string} */ name) => {
      const follower = followers.get(name)
      if (!follower) throw new Error(`there is no follower ${name}`)
      return follower
    }

    return {
      get followers() {
        return /** @type {[string, string]} */ ([...followers.keys()].slice(0, 2))
      },
      get leaderName() {
        return leader.name
      },
      shard: SHARD,
      // The time is that of wal_sender_timeout.
      knows: { fromOneNode: true, overLinks: true, lostMillis: 6000 },
      get url() {
        return leader.url(`watcher:${PASSWORD}`).replace(`:${leader.port}`, `:${address.port}`)
      },
      get nodes() {
        return [leader.name, ...followers.keys()]
      },
      get gates() {
        return { [leader.name]: address }
      },
      async stateOf(name) {
        if (name !== leader.name) {
          const linked = streaming.has(name)
          return { position: await get(name).node.position(), leads: false, linked }
        }
        const rows = await leader.query('select application_name as name from pg_stat_replication')
        streaming = new Set(rows.map((row) => row['name']))
        return { position: await leader.position(), leads: true, linked: true }
      },
      pauseApplying: (name) => get(name).node.pauseReplay(),
      resumeApplying: (name) => get(name).node.resumeReplay(),
      revoke: () => leader.query('revoke pg_monitor from watcher'),
      grant: () => leader.query('grant pg_monitor to watcher'),
      changePassword: (password = PASSWORD) =>
        leader.query(`alter role watcher password '${password}'`),
      exhaust: () => leader.query('alter role watcher connection limit 0'),
      relieve: () => leader.query('alter role watcher connection limit -1'),
      /** The rest of its file is filled, so the position leaps. */
      truncate: () => leader.query('select pg_switch_wal()'),
      killLeader: () => leader.kill(),
      startLeader: () => leader.start(),
      throttle: (name, bytesPerSecond) => get(name).link.throttle(bytesPerSecond),
      async connect({ fault, source } = {}) {
        const gate = await servers.gate(leader.port)
        const login =
          fault === undefined
            ? {}
            : { user: 'monitor', password: fault === 'missing right' ? PASSWORD : 'wrong' }
        const pool = new pg.Pool({
          ...leader.connectionConfig(),
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
      },
      async write(count) {
        await leader.query(
          "insert into written select repeat('x', 100) from generate_series(1, $1::int)",
          [count],
        )
      },
      position: (follower) => (follower === undefined ? leader : get(follower).node).position(),
      cut(follower) {
        get(follower).link.close()
        return Promise.resolve()
      },
      mend(follower) {
        get(follower).link.reopen()
        return Promise.resolve()
      },
      kill: (follower) => get(follower).node.kill(),
      async restart(follower) {
        const { node } = get(follower)
        await node.start()
        await node.untilStreaming()
      },
      pause: (follower) => get(follower).node.freeze(),
      resume: (follower) => get(follower).node.thaw(),
      async addFollower() {
        await follow('standby_3')
        await get('standby_3').node.untilCaughtUpWith(leader)
        return 'standby_3'
      },
      async removeFollower(follower) {
        await get(follower).node.stop()
        await leader.query('select pg_drop_replication_slot($1)', [follower])
        followers.delete(follower)
      },
      async wipe(follower) {
        const { node, options } = get(follower)
        await node.kill()
        await cluster.wipeStandby(options)
        await node.start()
        await node.untilStreaming()
      },
      freeze: () => leader.freeze(),
      thaw: () => leader.thaw(),
      /** The killed leader comes back as an empty standby. */
      async failOver() {
        const killed = leader
        const [first, ...others] = [...followers.values()]
        if (!first) throw new Error('no follower')
        await killed.kill()
        await first.node.promote()
        leader = first.node
        address.moveTo(leader.port)
        followers.delete(leader.name)
        for (const { node, link } of others) {
          await createSlot(leader, node.name)
          link.moveTo(leader.port)
          await node.untilStreaming()
        }
        await follow(killed.name)
        return others[0]?.node.name ?? ''
      },
    }
  },
}

/** @param {PostgresNode} node @param {string} name */
function createSlot(node, name) {
  return node.query(
    `select pg_create_physical_replication_slot($1, true)
      where not exists (select from pg_replication_slots where slot_name = $1)`,
    [name],
  )
}
