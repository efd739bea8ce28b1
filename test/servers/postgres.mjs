import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'
import { PostgresCluster } from './postgres/cluster.mjs'

/** @typedef {import('./system.js').ConnectOptions} ConnectOptions */

const SHARD = 'orders'
const PASSWORD = 'secret'

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
      'host all monitor 127.0.0.1/32 scram-sha-256\n' +
        'host all,replication all 127.0.0.1/32 trust\n',
    )
    const conf = { hba_file: rules }
    let leader = await cluster.startPrimary({ conf })
    await leader.query(`create role monitor login password '${PASSWORD}'`)
    await leader.query('create table written (text text)')

    /** @param {string} name */
    const follow = async (name) => {
      const link = await servers.gate(leader.port)
      const options = { name, of: leader, slot: name, port: link.port, conf }
      return { node: await cluster.startStandby(options), link, options }
    }
    const followers = new Map([
      ['standby_1', await follow('standby_1')],
      ['standby_2', await follow('standby_2')],
    ])
    const get = (/** @type {string} */ name) => {
      const follower = followers.get(name)
      if (!follower) throw new Error(`there is no follower ${name}`)
      return follower
    }

    return {
      followers: ['standby_1', 'standby_2'],
      shard: SHARD,
      get url() {
        return leader.url()
      },
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
        followers.set('standby_3', await follow('standby_3'))
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
      async failOver() {
        const [first, second] = [get('standby_1'), get('standby_2')]
        await leader.kill()
        await first.node.promote()
        leader = first.node
        await leader.query("select pg_create_physical_replication_slot('standby_2', true)")
        second.link.moveTo(leader.port)
        await second.node.untilStreaming()
        return 'standby_2'
      },
    }
  },
}
