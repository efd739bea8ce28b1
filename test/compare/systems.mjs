import { jetstream as clientOf, jetstreamManager } from '@nats-io/jetstream'
import { listOffsetsV9 } from '@platformatic/kafka'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { etcd, etcd36 } from '../servers/etcd.mjs'
import { JetStreamCluster } from '../servers/jetstream.mjs'
import { KafkaCluster } from '../servers/kafka.mjs'
import { currentMariadb, mariadb } from '../servers/mariadb.mjs'
import { mysql } from '../servers/mysql.mjs'
import { PostgresCluster } from '../servers/postgres/cluster.mjs'
import { currentRedis, redis } from '../servers/redis.mjs'

/** @import { Servers } from '../servers/servers.mjs' */
/** @import { System, SystemKind } from '../servers/system.js' */
/** @import { Family } from '../servers/mysql-family.mjs' */
/** @import { Comparison } from './compare.mjs' */

/** Starts the servers of each system. @type {Readonly<Record<string, (servers: Servers) => Promise<Comparison>>>} */
export const SYSTEMS = {
  postgres: startPostgres,
  redis: startRedis,
  mysql: (servers) =>
    startFamily(mysql, servers, {
      status: 'show replica status',
      seconds: 'Seconds_Behind_Source',
      io: 'Replica_IO_Running',
      applier: 'replica sql_thread',
    }),
  mariadb: async (servers) =>
    startFamily(await newestOf(currentMariadb, mariadb), servers, {
      status: 'show slave status',
      seconds: 'Seconds_Behind_Master',
      io: 'Slave_IO_Running',
      applier: 'slave sql_thread',
    }),
  jetstream: startJetStream,
  etcd: startEtcd,
  kafka: startKafka,
}

/** Returns the first kind if its servers are installed. @template {SystemKind} Kind @param {Kind} newest @param {Kind} other */
async function newestOf(newest, other) {
  return (await newest.isInstalled()) ? newest : other
}

/** Writes one entry, and returns where the leader is then. @param {Pick<System, 'write' | 'position'>} system */
async function writeOne(system) {
  await system.write(1)
  return system.position()
}

/** @param {Servers} servers @returns {Promise<Comparison>} */
async function startPostgres(servers) {
  const cluster = await PostgresCluster.create({ servers, conf: { wal_sender_timeout: '3s' } })
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

/** @param {Servers} servers @returns {Promise<Comparison>} */
async function startRedis(servers) {
  const system = await (await newestOf(currentRedis, redis)).start(servers)
  const { source } = await system.connect()
  const [first, second] = system.followers
  let leadsByMistake = false

  return {
    command: '`redis-cli info replication` on the leader',
    source,
    write: () => writeOne(system),
    position: (name) => system.position(name),
    truth: (name) => (leadsByMistake && name === second ? { connected: false } : undefined),
    format: (bytes) => (bytes < 10_000 ? `${bytes} B` : `${(bytes / 1000).toFixed(0)} kB`),
    async plain(name) {
      const { port } = system.member(name)
      const info = await system.leader.info()
      const replicas = [...info].filter(([field]) => /^slave\d+$/.test(field))
      const line = replicas.find(([, value]) => value.includes(`port=${port},`))?.[1]
      const offset = /offset=(\d+)/.exec(line ?? '')?.[1]
      if (offset === undefined) return { connected: false }
      const count = Number(info.get('master_repl_offset')) - Number(offset)
      return { count, connected: line?.includes('state=online') }
    },
    async run({ incident, load }) {
      await incident('healthy and busy', first)
      await incident('one replica frozen', first, () => system.pause(first))
      await incident('the same: the healthy replica', second)
      await incident('thawed', first, () => system.resume(first))
      await incident('its link hangs', first, () => system.cut(first))
      await incident('the link is back', first, () => system.mend(first))
      await incident('a replica killed', second, () => system.kill(second))
      await incident('it is back', second, () => system.restart(second))
      await incident('a replica promoted by mistake', second, () => {
        leadsByMistake = true
        return system.claimLead(second)
      })
      await incident('it follows again', second, () => {
        leadsByMistake = false
        return system.followAgain(second)
      })
      const former = system.leaderName
      await incident('failover: the old leader follows', former, () => system.failOver())
      const [follower] = system.followers
      await incident('a link hangs, nothing is written', follower, async () => {
        load.isBusy = false
        await system.cut(follower)
      })
    },
  }
}

/**
 * @param {SystemKind} kind
 * @param {Servers} servers
 * @param {{ status: string, seconds: string, io: string, applier: string }} words of the system
 * @returns {Promise<Comparison>}
 */
async function startFamily(kind, servers, words) {
  const system = /** @type {Family} */ (/** @type {unknown} */ (await kind.start(servers)))
  const { source } = await system.connect()
  const [first, second] = system.followers
  const run = (/** @type {string} */ name, /** @type {string} */ statement) =>
    system.member(name).query(statement)

  return {
    command: `\`${words.status}\` on the replica`,
    source,
    write: () => writeOne(system),
    position: (name) => system.position(name),
    async plain(name) {
      const [row] = await run(name, words.status)
      const seconds = row?.[words.seconds]
      return {
        seconds: typeof seconds === 'number' ? seconds : undefined,
        connected: row?.[words.io] === 'Yes',
      }
    },
    async run({ incident, load }) {
      await incident('healthy and busy', first)
      await incident('applying stopped', first, () => run(first, `stop ${words.applier}`))
      await incident('the same: the healthy replica', second)
      await incident('applying again', first, () => run(first, `start ${words.applier}`))
      await incident('its link hangs', first, () => system.cut(first))
      await incident('the link is back', first, () => system.mend(first))
      await incident('a replica frozen', first, () => system.pause(first))
      await incident('the same: the healthy replica', second)
      await incident('thawed', first, () => system.resume(first))
      await incident('a replica killed', second, () => system.kill(second))
      await incident('it is back', second, () => system.restart(second))
      const former = system.leaderName
      await incident('failover: the old leader follows', former, () => system.failOver())
      const [follower] = system.followers
      await incident('a link hangs, nothing is written', follower, async () => {
        load.isBusy = false
        await system.cut(follower)
      })
    },
  }
}

/** @param {Servers} servers @returns {Promise<Comparison>} */
async function startEtcd(servers) {
  const cluster = await (await newestOf(etcd36, etcd)).start(servers)
  const { source } = await cluster.connect()
  const [first, second] = cluster.followers
  /** @type {string | undefined} */
  let removed
  const applied = async (/** @type {string} */ name) =>
    BigInt((await cluster.status(name)).raftAppliedIndex)

  return {
    command: '`etcdctl endpoint status`',
    source,
    write: () => writeOne(cluster),
    position: applied,
    truth: (name) => (name === removed ? {} : undefined),
    // It asks the members one after the other.
    async plain(name) {
      const follower = await applied(name)
      return { count: Number((await applied(cluster.leaderName)) - follower) }
    },
    async run({ incident, load }) {
      await incident('healthy and busy', first)
      await incident('one member frozen', first, () => cluster.pause(first))
      await incident('the same: the healthy member', second)
      await incident('thawed', first, () => cluster.resume(first))
      await incident('one member cut off', first, () => cluster.cut(first))
      await incident('its link is back', first, () => cluster.mend())
      await incident('a member killed', second, () => cluster.kill(second))
      await incident('it is back', second, () => cluster.restart(second))
      const former = cluster.leaderName
      await incident('the leader killed and started: it follows', former, () => cluster.failOver())
      await incident('a learner added', 'learner', () => cluster.addFollower())
      await incident('it is removed', 'learner', () => {
        removed = 'learner'
        return cluster.removeFollower(removed)
      })
      await incident('cut off, nothing is written', cluster.followers[0], async () => {
        load.isBusy = false
        await cluster.cut(cluster.followers[0])
      })
    },
  }
}

const MIRROR = 'mirror/COPY'
const CONSUMER = 'consumer/worker'

/** A consumer that acknowledges all but the messages that it is to hold. */
class Worker {
  isHolding = false
  /** The sequence numbers that it has not acknowledged. @type {number[]} */
  held = []

  /** @param {import('@nats-io/transport-node').NatsConnection} connection */
  async run(connection) {
    const manager = await jetstreamManager(connection)
    const ack_wait = 3600e9
    await manager.consumers.add('ORDERS', {
      durable_name: 'worker',
      ack_policy: 'explicit',
      ack_wait,
    })
    const consumer = await clientOf(connection).consumers.get('ORDERS', 'worker')
    for await (const message of await consumer.consume()) {
      if (this.isHolding && message.seq % 50 === 0) this.held.push(message.seq)
      else message.ack()
    }
  }
}

/** @param {Servers} servers @returns {Promise<Comparison>} */
async function startJetStream(servers) {
  const cluster = await JetStreamCluster.start(servers)
  const { source } = await cluster.connect({ source: { consumers: true } })
  await cluster.manage(({ streams }) =>
    streams.add({
      name: 'COPY',
      mirror: { name: 'ORDERS' },
      placement: { cluster: 'demo', tags: [cluster.leaderName] },
    }),
  )
  const [first, second] = cluster.followers
  const worker = new Worker()

  return {
    command: '`nats stream info`',
    source,
    write: () =>
      cluster.use(async (connection) => {
        const { seq } = await clientOf(connection).publish('orders.new', 'x', { timeout: 500 })
        return BigInt(seq)
      }),
    async position(name) {
      if (name !== MIRROR) return cluster.position(name)
      return BigInt((await cluster.stream(cluster.leaderName, 'COPY')).state.last_seq)
    },
    truth(name, load) {
      if (name !== CONSUMER) return undefined
      const [oldest] = worker.held
      const { seconds } = oldest === undefined ? { seconds: 0 } : load.lag(BigInt(oldest - 1))
      return { count: worker.held.length, seconds }
    },
    plain: (name) =>
      cluster.manage(async ({ streams, consumers }) => {
        if (name === MIRROR) return { count: (await streams.info('COPY')).mirror?.lag }
        if (name === CONSUMER) {
          const { num_pending, num_ack_pending } = await consumers.info('ORDERS', 'worker')
          return { count: num_pending + num_ack_pending }
        }
        const { cluster: group } = await streams.info('ORDERS')
        /** @type {{ lag?: number, current: boolean } | undefined} a lag of 0 is left out */
        const found = group?.replicas?.find((each) => each.name === name)
        return { count: found?.lag ?? 0, connected: found?.current }
      }),
    async run({ incident, load }) {
      await incident('healthy and busy: a server', first)
      await incident('the same: a mirror', MIRROR)
      await incident('one server frozen', first, () => cluster.pause(first))
      await incident('the same: the healthy server', second)
      await incident('the same: a mirror', MIRROR)
      await incident('thawed', first, () => cluster.resume(first))
      await incident('one server cut off', first, () => cluster.cut(first))
      await incident('its link is back', first, () => cluster.mend(first))
      await incident('a consumer', CONSUMER, () => {
        void cluster.use((connection) => worker.run(connection)).catch(() => undefined)
      })
      worker.isHolding = true
      await incident('it does not acknowledge one message of 50', CONSUMER)
      await incident('nothing is written', CONSUMER, () => (load.isBusy = false))
      await incident('a server killed, nothing is written', first, () => cluster.kill(first))
      await incident('it is back', first, () => cluster.restart(first))
    },
  }
}

const TOPIC = 'orders'
const [BILLING, SHIPPING] = ['billing', 'shipping']
const BROKER = 'broker/2'

/** @param {Servers} servers @returns {Promise<Comparison>} */
async function startKafka(servers) {
  const cluster = await KafkaCluster.start(servers, 3)
  const { admin } = cluster
  await cluster.createTopic(TOPIC, { assignments: [{ partition: 0, brokers: [1, 2, 3] }] })
  await cluster.restart(BILLING)
  await cluster.restart(SHIPPING)
  const { source } = await cluster.connect({
    client: '@platformatic/kafka',
    source: { topics: [TOPIC], brokers: listOffsetsV9 },
  })
  const endOf = async (/** @type {number} */ broker) => {
    // Otherwise the client keeps the brokers that it knew.
    await admin.metadata({ topics: [], forceUpdate: true })
    const connection = (await admin.connectToBrokers([broker])).get(broker)
    if (!connection) throw new Error(`there is no connection to broker ${broker}`)
    const partitions = [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1n }]
    const topics = [{ name: TOPIC, partitions }]
    const answer = await listOffsetsV9.api.async(connection, -2, 0, topics)
    return answer.topics[0]?.partitions[0]?.offset ?? 0n
  }

  return {
    command: '`kafka-consumer-groups.sh`',
    source,
    async write() {
      await cluster.write(1, { acks: 1 })
      return endOf(1)
    },
    async position(name) {
      if (name === BROKER) return endOf(2)
      const partitions = [{ partitionIndex: 0, timestamp: -2n }]
      const [topic] = await admin.listOffsets({ topics: [{ name: TOPIC, partitions }] })
      const start = topic?.partitions[0]?.offset ?? 0n
      const committed = await cluster.position(name)
      return committed > start ? committed : start
    },
    async truth(name) {
      if (name === BROKER) return undefined
      const ahead = (await cluster.position(name)) - (await cluster.position())
      return ahead > 0n ? { count: Number(-ahead) } : undefined
    },
    // LOG-END-OFFSET and CURRENT-OFFSET of `--describe`, and the number of members.
    async plain(name) {
      if (name === BROKER) return {}
      const committed = await cluster.position(name)
      const end = await cluster.position()
      const found = (await admin.listGroups({ types: ['classic'] })).get(name)
      return { count: Number(end - committed), connected: found?.state === 'STABLE' }
    },
    async run({ incident, load }) {
      await incident('healthy and busy: a group', SHIPPING)
      await incident('the same: a broker that copies', BROKER)
      await incident('a consumer paused', BILLING, () => cluster.cut(BILLING))
      await incident('the same: the other group', SHIPPING)
      await incident('it consumes again', BILLING, () => cluster.mend(BILLING))
      await incident('a broker that copies frozen', BROKER, () =>
        cluster.broker(2).server?.freeze(),
      )
      await incident('thawed', BROKER, () => cluster.broker(2).server?.thaw())
      await incident('the consumer of a group ended', BILLING, () => cluster.kill(BILLING))
      await incident('the records that it lacks deleted', BILLING, async () => {
        load.isBusy = false
        const offset = await cluster.position()
        const topics = [{ name: TOPIC, partitions: [{ partition: 0, offset }] }]
        await admin.deleteRecords({ topics })
      })
      load.isBusy = true
      await incident('it is back', BILLING, () => cluster.restart(BILLING))
      await incident('a commit past the end, nothing is written', BILLING, async () => {
        load.isBusy = false
        await cluster.kill(BILLING)
        await cluster.commit(BILLING, TOPIC, Number(await cluster.position()) + 1000)
      })
    },
  }
}
