import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { PostgresCluster } from '../servers/postgres/cluster.mjs'
import { Gate } from '../servers/gate.mjs'

// Takes one real cluster through incidents, and prints what this package and plain SQL show beside the truth, as a
// Markdown table. `npm run compare:postgres`, or `-- --seconds 10` for how long each incident lasts.

/** @typedef {import('../../test/servers/postgres/node.mjs').PostgresNode} PostgresNode */
/** @typedef {{ bytes?: number | undefined, seconds?: number | undefined, connected?: boolean | undefined }} Lag */

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '8' } } })
const incidentMillis = Number(values.seconds) * 1000
const pollMillis = 1000

/** Writes a heartbeat ten times a second, and about 500 kB of WAL a second while it is busy. */
class Load {
  isBusy = true
  /** When each heartbeat was written, by its number. @type {number[]} */
  written = []
  #client
  #stop = new AbortController()
  /** @type {Promise<void> | undefined} */
  #running

  /** @param {pg.Client} client */
  constructor(client) {
    this.#client = client
  }

  async start() {
    await this.#client.query('create table heartbeat (number int); create table bulk (text text)')
    this.#running = this.#run()
  }

  async #run() {
    while (!this.#stop.signal.aborted) {
      if (this.isBusy) {
        const number = this.written.length
        await this.#client.query(
          `begin; insert into heartbeat values (${number});
           insert into bulk select repeat('x', 1000) from generate_series(1, 40); commit`,
        )
        this.written.push(performance.now())
      }
      await sleep(100)
    }
  }

  async stop() {
    this.#stop.abort()
    await this.#running
  }
}

/** What is true of a standby, asked from itself as long as it answers. */
class Truth {
  #node
  #primary
  #load
  #position = 0n
  #heartbeat = -1

  /**
   * @param {PostgresNode} node
   * @param {PostgresNode} primary
   * @param {Load} load
   */
  constructor(node, primary, load) {
    this.#node = node
    this.#primary = primary
    this.#load = load
  }

  /** @returns {Promise<Lag>} */
  async read() {
    if (this.#node.pid !== undefined) {
      const [row] = await this.#node.query(
        'select coalesce(max(number), -1) as number from heartbeat',
      )
      this.#heartbeat = Number(row?.['number'])
      this.#position = await this.#node.position()
    }
    const next = this.#load.written[this.#heartbeat + 1]
    return {
      bytes: Number((await this.#primary.position()) - this.#position),
      seconds: next === undefined ? 0 : (performance.now() - next) / 1000,
    }
  }
}

/** This package, as a service would use it. */
class Monitor {
  #producer

  /** @param {pg.Pool} pool */
  constructor(pool) {
    const sources = [postgresSource({ client: pool, shard: 'pg', expect: ['s1', 's2'] })]
    this.#producer = new ReplicationLagMetricProducer({ sources, pollIntervalMillis: pollMillis })
  }

  /**
   * @param {string} name
   * @returns {Promise<Lag>}
   */
  async read(name) {
    const { resourceMetrics } = await this.#producer.collect()
    const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
    const value = (/** @type {string} */ metric) =>
      metrics
        .find(({ descriptor }) => descriptor.name === metric)
        ?.dataPoints.find(({ attributes }) => attributes['replica'] === name)?.value
    const connected = value('replication_follower_connected')
    return {
      bytes: value('replication_lag_seqno'),
      seconds: value('replication_lag_seconds'),
      connected: connected === undefined ? undefined : connected === 1,
    }
  }

  stop() {
    return this.#producer.shutdown()
  }
}

/**
 * What most dashboards ask.
 *
 * @param {PostgresNode} primary
 * @param {string} name
 * @returns {Promise<Lag>}
 */
async function readPlainSql(primary, name) {
  const [row] = await primary.query(
    `select (pg_current_wal_lsn() - replay_lsn)::float8 as bytes, extract(epoch from replay_lag)::float8 as seconds
      from pg_stat_replication where application_name = $1`,
    [name],
  )
  if (!row) return {}
  const number = (/** @type {unknown} */ value) => (value === null ? undefined : Number(value))
  return { bytes: number(row['bytes']), seconds: number(row['seconds']), connected: true }
}

/** @param {Lag} lag */
function format({ bytes, seconds, connected }) {
  const parts = [
    seconds === undefined ? undefined : `${seconds.toFixed(1)} s`,
    bytes === undefined ? undefined : `${(bytes / 1e6).toFixed(2)} MB`,
    connected === false ? 'not connected' : undefined,
  ]
  return parts.filter((part) => part !== undefined).join(', ') || 'nothing'
}

async function main() {
  const cluster = await PostgresCluster.create({ conf: { wal_sender_timeout: '3s' } })
  /** @type {(() => unknown)[]} */
  const cleanUp = [() => cluster.stop()]
  try {
    const primary = await cluster.startPrimary()
    const link = await Gate.open(primary.port)
    cleanUp.unshift(() => link.stop())
    const s1 = await cluster.startStandby({ name: 's1', of: primary, slot: 's1', port: link.port })
    const s2 = await cluster.startStandby({ name: 's2', of: primary })
    const client = new pg.Client(primary.connectionConfig())
    client.on('error', () => undefined)
    await client.connect()
    const load = new Load(client)
    cleanUp.unshift(async () => {
      await load.stop()
      await client.end()
    })
    await load.start()

    const pool = new pg.Pool({
      ...primary.connectionConfig(),
      max: 2,
      connectionTimeoutMillis: 1000,
    })
    pool.on('error', () => undefined)
    let monitor = new Monitor(pool)
    cleanUp.unshift(async () => {
      await monitor.stop()
      await pool.end()
    })
    const restartMonitor = async () => {
      await monitor.stop()
      monitor = new Monitor(pool)
    }
    const truths = { s1: new Truth(s1, primary, load), s2: new Truth(s2, primary, load) }

    console.log('| incident | truth | this package, each second | plain SQL |')
    console.log('| --- | --- | --- | --- |')
    /**
     * @param {string} title
     * @param {'s1' | 's2'} name
     * @param {() => unknown} [begin]
     */
    const incident = async (title, name, begin) => {
      await begin?.()
      const end = performance.now() + incidentMillis
      while (performance.now() < end) {
        await Promise.all([truths.s1.read(), truths.s2.read()])
        await sleep(200)
      }
      const truth = await truths[name].read()
      const shown = [truth, await monitor.read(name), await readPlainSql(primary, name)]
      console.log(`| ${title} | ${shown.map(format).join(' | ')} |`)
    }

    await incident('healthy and busy', 's1')
    await incident('nobody writes', 's1', () => (load.isBusy = false))
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
      await sleep(incidentMillis / 4)
      await primary.query(
        "select pg_drop_replication_slot('s1') from pg_replication_slots where not active",
      )
    })
  } finally {
    for (const step of cleanUp) await step()
  }
}

await main()
