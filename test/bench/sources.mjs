import { etcdSource } from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { kafkaSource } from 'opentelemetry-instrumentation-replication-lag/sources/kafka'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { redisSource } from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { formatMillis, median, report, takeTurns } from './measure.mjs'

// What one poll of each source costs this process, without the system's own time: clients answer at once, as servers did.

/** @typedef {import('opentelemetry-instrumentation-replication-lag').ReplicationSource} ReplicationSource */

const [FEW, MANY] = [3, 100]

/** @param {number} count */
const numbers = (count) => Array.from({ length: count }, (_, i) => i + 1)

/**
 * @param {object} state
 * @param {readonly object[]} links
 */
const serverWith = (state, links) => ({
  query: (/** @type {string} */ sql) =>
    Promise.resolve([sql.includes('@@global') ? [state] : links, []]),
})

/** @type {Record<string, (followers: number) => ReplicationSource>} */
const SYSTEMS = {
  PostgreSQL(followers) {
    const rows = numbers(followers).map((i) => ({
      role_name: 'monitor',
      in_recovery: 'false',
      leader: '1000',
      system_identifier: '7712205833477952562',
      timeline: '1',
      restart_timeline: '1',
      started: '1795638037718737',
      connection: `${i} 1795638043464581`,
      state: 'streaming',
      application_name: `standby_${i}`,
      client_addr: '10.0.0.1',
      slot_name: `standby_${i}`,
      slot_type: 'physical',
      connected: 'true',
      receives_only: 'false',
      wal_status: 'reserved',
      lost: null,
      applied: '900',
      received: '950',
      retained: '950',
      reply: '1795638043706317',
    }))
    return postgresSource({ client: { query: () => Promise.resolve({ rows }) }, shard: 'orders' })
  },
  Redis(followers) {
    const rows = numbers(followers).map(
      (i) => `slave${i - 1}:ip=10.0.0.${i},port=6379,state=online,offset=151,lag=0`,
    )
    const answer = [
      '# Replication',
      'role:master',
      `connected_slaves:${followers}`,
      ...rows,
      'master_replid:e11f1d609cdbc8025f135a2230dd6abab4c19a07',
      'master_repl_offset:151',
    ].join('\r\n')
    return redisSource({ client: { info: () => Promise.resolve(answer) }, shard: 'cache' })
  },
  MariaDB(followers) {
    const link = {
      Slave_IO_Running: 'Yes',
      Slave_SQL_Running: 'Yes',
      Last_IO_Errno: 0,
      Last_SQL_Errno: 0,
      Master_Server_Id: 1000,
      Gtid_IO_Pos: '0-1000-106',
      Replicate_Do_Domain_Ids: '',
      Replicate_Ignore_Domain_Ids: '',
    }
    const leader = {
      server_id: '1000',
      gtid_slave_pos: '',
      gtid_binlog_state: '0-1000-107',
      gtid_binlog_pos: '0-1000-107',
      log_bin: 'ON',
      address: 'db-0:3306',
    }
    /** @type {Record<string, ReturnType<typeof serverWith>>} */
    const nodes = { leader: serverWith(leader, []) }
    for (const i of numbers(followers)) {
      const id = { server_id: String(i), address: `db-${i}:3306` }
      const state = { ...leader, ...id, gtid_binlog_state: '', gtid_slave_pos: '0-1000-7' }
      nodes[`replica-${i}`] = serverWith(state, [link])
    }
    return mariadbSource({ nodes, shard: 'orders' })
  },
  MySQL(followers) {
    const uuid = (/** @type {number} */ i) =>
      `f1ccbf41-e929-11f1-8ec3-${String(i).padStart(12, '0')}`
    const channel = {
      source_uuid: uuid(0),
      service_state: 'ON',
      last_error_number: '0',
      received_transaction_set: `${uuid(0)}:9-107`,
    }
    const state = (/** @type {number} */ i, /** @type {string} */ executed) => ({
      server_uuid: uuid(i),
      gtid_mode: 'ON',
      gtid_executed: `${uuid(0)}:${executed}`,
      address: `db-${i}:3306`,
    })
    /** @type {Record<string, ReturnType<typeof serverWith>>} */
    const nodes = { leader: serverWith(state(0, '1-108'), []) }
    for (const i of numbers(followers)) {
      nodes[`replica-${i}`] = serverWith(state(i, '1-8'), [channel])
    }
    return mysqlSource({ nodes, shard: 'orders' })
  },
  JetStream(followers) {
    const consumers = numbers(followers).map((i) => ({
      stream_name: 'ORDERS',
      name: `consumer-${i}`,
      created: '2026-11-25T23:39:27.017281459Z',
      config: { durable_name: `consumer-${i}`, name: `consumer-${i}`, num_replicas: 1 },
      num_ack_pending: 1,
      num_pending: 30,
      cluster: { name: 'nats', leader: 'nats_1' },
    }))
    const stream = {
      name: 'ORDERS',
      created: '2026-11-25T23:39:26.225380622Z',
      cluster: { name: 'nats', leader: 'nats_1' },
      config: { name: 'ORDERS', num_replicas: 1 },
      state: {
        messages: 31,
        first_seq: 1,
        last_seq: 31,
        last_ts: '2026-11-25T23:39:27.441586627Z',
      },
      consumer_detail: consumers,
    }
    const jsz = { server_id: 'ID', account_details: [{ name: '$G', stream_detail: [stream] }] }
    const varz = { server_id: 'ID', server_name: 'nats_1' }
    return jetstreamSource({
      servers: ['http://nats-1:8222'],
      consumers: true,
      fetch: (url) => respond(url.includes('/varz') ? varz : jsz),
    })
  },
  etcd(followers) {
    const ids = [0, ...numbers(followers)]
    const members = ids.map((i) => ({ ID: String(1000 + i), name: `etcd-${i}` }))
    return etcdSource({
      endpoints: ids.map((i) => `http://etcd-${i}:2379`),
      shard: 'registry',
      fetch: (url) => {
        if (url.endsWith('/member/list')) return respond({ members })
        const member_id = String(1000 + Number(/etcd-(\d+)/.exec(url)?.[1]))
        const header = { cluster_id: '3943897800735704630', member_id, raft_term: '2' }
        const indexes = { raftIndex: '9', raftTerm: '2', raftAppliedIndex: '9' }
        return respond({ header, leader: '1000', ...indexes })
      },
    })
  },
  Kafka(followers) {
    const partitions = numbers(followers).map((i) => i - 1)
    const admin = {
      connect: () => Promise.resolve(),
      listTopics: () => Promise.resolve(['orders']),
      listGroups: () => Promise.resolve({ groups: [] }),
      fetchOffsets: () => {
        const rows = partitions.map((partition) => ({ partition, offset: '4', metadata: null }))
        return Promise.resolve([{ topic: 'orders', partitions: rows }])
      },
      fetchTopicOffsets: () =>
        Promise.resolve(
          partitions.map((partition) => ({ partition, offset: '10', high: '10', low: '2' })),
        ),
    }
    return kafkaSource({ admin, groups: ['billing'] })
  },
}

/** @param {object} answer */
function respond(answer) {
  const text = JSON.stringify(answer)
  return Promise.resolve({ ok: true, status: 200, text: () => Promise.resolve(text) })
}

/** @param {number} followers */
async function measure(followers) {
  const reads = Object.entries(SYSTEMS).map(([system, create]) => {
    const source = create(followers)
    return async () => {
      const { shards } = await source.read(new AbortController().signal)
      const count = shards.reduce((sum, shard) => sum + shard.followers.length, 0)
      if (count !== followers) throw new Error(`${system}: expected ${followers}, got ${count}`)
    }
  })
  return takeTurns(...reads)
}

const [few, many] = [await measure(FEW), await measure(MANY)]
report(
  ...Object.keys(SYSTEMS).map((system, i) => ({
    metric: `one poll of ${system}, ${MANY} followers`,
    value: median(many[i] ?? []),
    unit: ' ms',
    detail: `${formatMillis(median(few[i] ?? []))} with ${FEW}`,
  })),
)
