import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { PostgresCluster } from '../servers/postgres/cluster.mjs'

/** @param {import('../servers/servers.mjs').Servers} servers @returns {Promise<import('./compare.mjs').Comparison>} */
export async function start(servers) {
  const cluster = await PostgresCluster.create({ conf: { wal_sender_timeout: '3s' } })
  servers.onStop(() => cluster.stop())
  const primary = await cluster.startPrimary()
  const link = await servers.gate(primary.port)
  const s1 = await cluster.startStandby({ name: 's1', of: primary, slot: 's1', port: link.port })
  const s2 = await cluster.startStandby({ name: 's2', of: primary })
  await primary.query('create table bulk (text text)')
  const options = { max: 2, connectionTimeoutMillis: 1000 }
  const pool = new pg.Pool({ ...primary.connectionConfig(), ...options })
  pool.on('error', () => undefined)
  servers.onStop(() => pool.end())

  return {
    command: '`pg_stat_replication`',
    source: postgresSource({ client: pool, shard: 'pg', expect: ['s1', 's2'] }),
    async write() {
      await primary.query("insert into bulk select repeat('x', 1000) from generate_series(1, 10)")
      return primary.position()
    },
    position: (name) => (name === 's1' ? s1 : s2).position(),
    // What most dashboards ask.
    async plain(name) {
      const [row] = await primary.query(
        `select (pg_current_wal_lsn() - replay_lsn)::float8 as bytes, extract(epoch from replay_lag)::float8 as seconds
          from pg_stat_replication where application_name = $1`,
        [name],
      )
      if (!row) return {}
      const number = (/** @type {unknown} */ value) => (value === null ? undefined : Number(value))
      return { count: number(row['bytes']), seconds: number(row['seconds']), connected: true }
    },
    format: (bytes) => `${(bytes / 1e6).toFixed(2)} MB`,
    async run({ incident, load, restartMonitor }) {
      await incident('healthy and busy', 's1')
      await incident('nothing is written', 's1', () => (load.isBusy = false))
      load.isBusy = true
      await incident('replay paused', 's1', () => s1.pauseReplay())
      await incident('caught up again', 's1', () => s1.resumeReplay())
      await incident('link cut', 's1', () => link.close())
      await incident('link back', 's1', () => link.reopen())
      await incident('standby with a slot killed', 's1', () => s1.kill())
      await incident('standby without a slot killed', 's2', () => s2.kill())
      await incident('monitor restarted, standby with a slot dead', 's1', restartMonitor)
      await incident('monitor restarted, standby without a slot dead', 's2')
      await incident('both back', 's2', () => Promise.all([s1.start(), s2.start()]))
      await incident('slot of a dead standby dropped', 's1', async () => {
        await s1.kill()
        await sleep(2000)
        await primary.query(
          "select pg_drop_replication_slot('s1') from pg_replication_slots where not active",
        )
      })
    },
  }
}
