import { findProgram } from './servers.mjs'
import { freePort, until } from './postgres/processes.mjs'
import { parsePrometheusText } from './prometheus-text.mjs'

/** @import { Exposition } from './prometheus-text.mjs' */
/** @import { Gate } from './gate.mjs' */
/** @import { Program, Series } from './monitors.mjs' */
/** @import { Servers } from './servers.mjs' */
/** @import { System } from './system.js' */

/**
 * What the exporter of a system reads: the addresses of the nodes with the login, and what a node is called in the metrics: '' if it is not known.
 * @typedef {{ user: string, password: string, hosts: readonly string[], shard: string, labelOf: (port: string) => string }} Target
 */
/** What one node shows. A page is missing if it does not answer. @typedef {{ host: string, page: Exposition | undefined }} NodePage */
/** What an exporter shows of one follower, under the names of our metrics. @typedef {{ replica: string, lag_seqno?: number | undefined, lag_seconds?: number | undefined, retained_seqno?: number | undefined, follower_connected: number }} Follower */
/**
 * @typedef {object} Exporter
 * @property {string} [program] to start. Without one, the nodes serve the pages themselves.
 * @property {(target: Target, port: number) => { parameters?: string[], env?: Record<string, string> }} [start]
 * @property {(target: Target) => readonly string[]} paths of the pages, one for each node, or their whole URLs
 * @property {(pages: readonly NodePage[], target: Target) => { up: boolean, followers: Follower[] }} show
 * @property {RegExp} misses what it does not report at all. `old`: the last numbers while it cannot read the leader.
 */

const HOST = '127.0.0.1'
/** How old what they read may be: they read at each scrape, but replicas of Redis acknowledge once a second. */
const [POLL_MILLIS, TIMEOUT_MILLIS] = [1500, 2000]

/** Other programs that report lag, by the systems that they read. @type {Readonly<Record<string, Exporter>>} */
const EXPORTERS = {
  redis: {
    program: 'redis_exporter',
    start: ({ user, password }, port) => ({
      parameters: ['-web.listen-address', `${HOST}:${port}`, '-connection-timeout', '2s'],
      env: { REDIS_ADDR: '', REDIS_USER: user, REDIS_PASSWORD: password },
    }),
    paths: ({ hosts }) => hosts.map((host) => `/scrape?target=redis://${host}`),
    misses: /old|last success/,
    // The leader lists its replicas. Each node says whether it answers.
    show(pages, { labelOf }) {
      const leader = pages.find(
        ({ page }) => page?.find('redis_instance_info', { role: 'master' })[0],
      )
      const offset = leader?.page?.value('redis_master_repl_offset') ?? NaN
      const isUp = (/** @type {string} */ replica) =>
        pages.find(({ host }) => host === replica)?.page?.value('redis_up') === 1
      const rows = leader?.page?.find('redis_connected_slave_offset_bytes') ?? []
      const ages = leader?.page?.find('redis_connected_slave_lag_seconds') ?? []
      const named = [leader?.host, ...rows.map(({ labels }) => labelOf(labels['slave_port'] ?? ''))]
      const left = () => pages.find(({ host }) => !named.includes(host))?.host ?? ''
      const followers = rows.map(({ labels, value }) => {
        const { slave_port: port = '', slave_state: state } = labels
        // One that announces another port is the one that is left.
        const replica = labelOf(port) || left()
        const age = ages.find((each) => each.labels['slave_port'] === port)?.value
        const isConnected = state === 'online' && isUp(replica)
        return {
          replica,
          lag_seqno: offset - value,
          lag_seconds: age,
          follower_connected: Number(isConnected),
        }
      })
      return { up: leader !== undefined, followers }
    },
  },
  postgres: {
    program: 'postgres_exporter',
    start: ({ user, password, hosts }, port) => ({
      parameters: [`--web.listen-address=${HOST}:${port}`],
      env: {
        DATA_SOURCE_NAME: `postgresql://${user}:${password}@${hosts[0]}/postgres?sslmode=disable&connect_timeout=2`,
      },
    }),
    paths: () => ['/metrics'],
    misses: /old|last success|age of|received of/,
    show([{ page } = {}]) {
      const slots = page?.find('pg_replication_slots_active') ?? []
      const retained = page?.find('pg_replication_slots_pg_wal_lsn_diff') ?? []
      const rows = page?.find('pg_stat_replication_pg_wal_lsn_diff') ?? []
      const followers = slots.map(({ labels: { slot_name: replica = '' }, value }) => ({
        replica,
        lag_seqno: rows.find(({ labels }) => labels['application_name'] === replica)?.value,
        retained_seqno: retained.find(({ labels }) => labels['slot_name'] === replica)?.value,
        follower_connected: value,
      }))
      return { up: page?.value('pg_up') === 1, followers }
    },
  },
  etcd: {
    paths: ({ hosts }) => hosts.map((host) => `http://${host}/metrics`),
    // A member that was added is not asked.
    misses: /old|last success|age of|learner/,
    show(pages, { labelOf }) {
      const isLeader = (/** @type {NodePage} */ { page }) =>
        page?.value('etcd_server_is_leader') === 1
      const leader = pages.find(isLeader)
      const committed = leader?.page?.value('etcd_server_proposals_committed_total') ?? NaN
      const followers = pages.flatMap((each) => {
        if (isLeader(each)) return []
        const applied = each.page?.value('etcd_server_proposals_applied_total')
        const connected = Number(each.page?.value('etcd_server_has_leader') === 1)
        const lag = applied === undefined ? undefined : Math.max(0, committed - applied)
        const replica = labelOf(each.host.replace(/.*:/, ''))
        return [{ replica, lag_seqno: lag, follower_connected: connected }]
      })
      return { up: leader !== undefined, followers }
    },
  },
  kafka: {
    program: 'kminion',
    start: ({ user, password, hosts }, port) => ({
      env: {
        EXPORTER_HOST: HOST,
        EXPORTER_PORT: `${port}`,
        KAFKA_BROKERS: hosts.join(','),
        KAFKA_SASL_ENABLED: 'true',
        KAFKA_SASL_USERNAME: user,
        KAFKA_SASL_PASSWORD: password,
      },
    }),
    paths: () => ['/metrics'],
    misses: /old|last success|age of/,
    show([{ page } = {}], { shard }) {
      const [topic_name = '', partition_id = ''] = shard.split('/')
      const labels = { topic_name, partition_id }
      const rows = page?.find('kminion_kafka_consumer_group_topic_partition_lag', labels) ?? []
      const followers = rows.map(({ labels: { group_id: replica = '' }, value: lag_seqno }) => {
        const members = page?.find('kminion_kafka_consumer_group_members', { group_id: replica })[0]
        return { replica, lag_seqno, follower_connected: Math.min(1, members?.value ?? 0) }
      })
      return { up: page?.value('kminion_exporter_up') === 1, followers }
    },
  },
  // It reports seconds, and no positions that can be compared. Its login needs more than the source does in MySQL.
  mariadb: {
    program: 'mysqld_exporter',
    start: ({ user, password }, port) => ({
      parameters: [`--web.listen-address=${HOST}:${port}`, `--mysqld.username=${user}`],
      env: { MYSQLD_EXPORTER_PASSWORD: password },
    }),
    paths: ({ hosts }) => hosts.map((host) => `/probe?target=${host}`),
    misses: /old|last success|lag of|source_up/,
    show(pages) {
      const isUp = (/** @type {NodePage} */ { page }) => page?.value('mysql_up') === 1
      const isLeader = (/** @type {NodePage} */ each) =>
        isUp(each) && !each.page?.find('mysql_slave_status_slave_io_running')[0]
      // A node that does not answer is a follower if another one leads.
      const followers = pages.flatMap((each) => {
        const [io] = each.page?.find('mysql_slave_status_slave_io_running') ?? []
        const [behind] = each.page?.find('mysql_slave_status_seconds_behind_master') ?? []
        if (isLeader(each) || (!io && !pages.some(isLeader))) return []
        return [
          { replica: each.host, lag_seconds: behind?.value, follower_connected: io?.value ?? 0 },
        ]
      })
      return { up: pages.some(isUp), followers }
    },
  },
}

/**
 * Starts the exporter of a system, as one more program that monitors it.
 *
 * @param {Servers} servers
 * @param {string} system its name
 * @param {System} started
 * @param {{ url: string, gates: Readonly<Record<string, Gate>> }} through what the monitors reach it: `gates` are those of each
 *   node, if the system has none
 * @returns {Promise<Program>} without what needs a program of Node.js
 */
export async function startExporter(servers, system, started, through) {
  const exporter = EXPORTERS[system]
  if (!exporter) throw new Error(`--exporter: there is none for ${system}`)
  const { program, misses } = exporter
  const path = program && (await findProgram(program))
  if (program && !path) throw new Error(`${program} is not on the PATH: build it first`)
  const [, user = '', password = '', hosts = ''] =
    /\/\/(?:(.*):(.*)@)?([^/?]+)/.exec(through.url) ?? []
  const { shard, ports } = started
  const labelOf = (/** @type {string} */ port) => {
    const [node = ''] = Object.entries(ports ?? {}).find((each) => `${each[1]}` === port) ?? []
    const named = Object.entries(started.gates ?? {}).find((each) => `${each[1].port}` === port)
    return through.gates[node] ? `${HOST}:${through.gates[node].port}` : (named?.[0] ?? '')
  }
  const target = { user, password, hosts: hosts.split(','), shard, labelOf }
  const [name, port] = [program ?? `${system} itself`, await freePort()]
  const { parameters = [], env } = exporter.start?.(target, port) ?? {}
  const server =
    path && (await servers.start(name, path, parameters, { env: { ...process.env, ...env } }))
  const read = async () => {
    const pages = exporter.paths(target).map(async (path, index) => {
      const address = path.startsWith('/') ? `http://${HOST}:${port}${path}` : path
      const headers = { 'X-Prometheus-Scrape-Timeout-Seconds': `${TIMEOUT_MILLIS / 1000}` }
      const page = await fetch(address, { headers, signal: AbortSignal.timeout(2500) })
        .then((response) => response.text())
        .then(parsePrometheusText)
        .catch(() => undefined)
      return { host: target.hosts[index] ?? '', page }
    })
    return toSeries(exporter.show(await Promise.all(pages), target), shard)
  }
  if (server)
    await until(`${name} answers`, () => fetch(`http://${HOST}:${port}/`).then(() => true))
  const times = { pollMillis: POLL_MILLIS, timeoutMillis: TIMEOUT_MILLIS }
  const monitor = { name, program: name, ...times, port, misses: misses.source, read }
  const stop = async () => server && server.kill()
  const running = { name, monitors: [monitor], log: [], stop }
  return /** @type {Program} */ (/** @type {unknown} */ (running))
}

/** @param {ReturnType<Exporter['show']>} shown @param {string} shard @returns {Series[]} */
function toSeries({ up, followers }, shard) {
  const ofFollowers = followers.flatMap(({ replica, ...numbers }) =>
    Object.entries(numbers).flatMap(([name, value]) => {
      const isKnown = replica !== '' && value !== undefined && !Number.isNaN(value)
      return isKnown
        ? { metric: `replication_${name}`, source: undefined, shard, replica, value }
        : []
    }),
  )
  const ofSource = { source: 'x', shard: undefined, replica: undefined, value: Number(up) }
  return [{ metric: 'replication_source_up', ...ofSource }, ...ofFollowers]
}
