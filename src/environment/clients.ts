import { connect as connectTcp, type Socket } from 'node:net'
import type { KafkajsAdmin } from '../sources/kafka/index.js'
import type { MysqlClient } from '../sources/mysql-family/mysql.js'
import type { PostgresPool } from '../sources/postgres/index.js'
import type { RedisClient } from '../sources/redis/index.js'
import { findPackage as find } from './packages.js'
import type { Host, SourceUrl } from './source-url.js'

// Clients come from the application. Each function checks that its package is installed and returns a function that loads it
// and connects: a package that is loaded before the OpenTelemetry SDK starts would not be instrumented. Connections do
// not keep the process running.

export function createPostgresPool(connectionString: string): () => PostgresPool {
  const load = find('pg') as () => { Pool: Constructor<PostgresPool & Emitter> }
  return () => {
    const { Pool } = load()
    const options = { max: 1, connectionTimeoutMillis: 3000, allowExitOnIdle: true }
    const pool = new Pool({ ...options, connectionString })
    // Without a listener, a lost connection would end the process. The next read reports it.
    pool.on('error', () => undefined)
    return pool
  }
}

export function connectRedis({ scheme, user, password }: SourceUrl): (host: Host) => RedisClient {
  const load = find('ioredis') as () => { Redis: Constructor<IoRedis> }
  const login = { ...(user && { username: user }), ...(password !== undefined && { password }) }
  return ({ host, port = 6379 }) => {
    const redis = new (load().Redis)({
      ...{ host, port, ...login, ...(scheme === 'rediss' && { tls: {} }) },
      ...{ lazyConnect: true, connectTimeout: 1500, socketTimeout: 3000, maxRetriesPerRequest: 0 },
      // `INFO` is answered while a server loads its data.
      enableReadyCheck: false,
      // Its timer would keep the process running. A read connects again instead.
      retryStrategy: () => null,
    })
    // `connect` only says "Connection is closed"; the `error` event has the reason.
    let failure: unknown
    redis.on('error', (error) => (failure = error))
    redis.on('connect', () => redis.stream.unref())
    return {
      async info(section) {
        if (redis.status === 'wait' || redis.status === 'end') {
          failure = undefined
          await redis.connect().catch((error: unknown) => {
            throw failure ?? error
          })
        }
        return redis.info(section)
      },
    }
  }
}

export function connectMysql(
  { user, password }: SourceUrl,
  ssl: boolean,
): (host: Host) => MysqlClient {
  const load = find('mysql2/promise') as () => Mysql2
  const login = { ...(user && { user }), ...(password !== undefined && { password }) }
  return ({ host, port = 3306 }) => {
    // With TLS, Node.js takes the name to check from here if the host is an IP address.
    const stream = () =>
      Object.assign(connectTcp({ host, port }).setNoDelay().unref(), { _host: host })
    const tls = ssl && { ssl: { verifyIdentity: true } }
    const options = { connectionLimit: 1, connectTimeout: 1500, ...tls }
    return load().createPool({ host, port, ...login, ...options, stream })
  }
}

export function createKafkaAdmin(
  { hosts, user, password }: SourceUrl,
  ssl: boolean,
  mechanism: string,
): () => KafkajsAdmin {
  const load = find('kafkajs') as () => { Kafka: Constructor<{ admin(): KafkajsAdmin }> }
  const brokers = hosts.map(({ address, port }) =>
    port === undefined ? `${address}:9092` : address,
  )
  return () => {
    const { Kafka } = load()
    // The first one may have stopped answering, and a client that is not connected asks no other.
    brokers.push(...brokers.splice(0, 1))
    const kafka = new Kafka({
      clientId: 'replication-lag',
      brokers: [...brokers],
      ...(user && { sasl: { mechanism, username: user, password } }),
      ssl,
      requestTimeout: 2000,
      retry: { retries: 1, initialRetryTime: 20 },
      // The source reports what is wrong.
      logLevel: 0,
    })
    return kafka.admin()
  }
}

type Constructor<T> = new (options: object) => T

interface Emitter {
  on(event: string, listener: (argument: unknown) => void): unknown
}

interface Mysql2 {
  createPool(options: object): MysqlClient
}

interface IoRedis extends Emitter, RedisClient {
  readonly status: string
  readonly stream: Socket
  connect(): Promise<void>
}
