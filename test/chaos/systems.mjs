import { etcd } from '../servers/etcd.mjs'
import { jetstream } from '../servers/jetstream.mjs'
import { kafka } from '../servers/kafka.mjs'
import { mariadb } from '../servers/mariadb.mjs'
import { mysql } from '../servers/mysql.mjs'
import { postgres } from '../servers/postgres.mjs'
import { redis } from '../servers/redis.mjs'

/** @typedef {{ kind: import('../servers/system.js').SystemKind, cannot?: string }} Subject */
/** Whether the monitor asks each follower, or one node which knows their positions (only over their links); and how long it takes to notice that one is gone. @typedef {{ asksFollowers?: boolean, hearsOverLink?: boolean, lostMillis?: number }} Traits */

/** @type {Readonly<Record<string, Subject & Traits>>} */
export const SYSTEMS = {
  // Its wal_sender_timeout is 5 s.
  postgres: { kind: postgres, hearsOverLink: true, lostMillis: 6000 },
  redis: { kind: redis, asksFollowers: true },
  mariadb: { kind: mariadb, asksFollowers: true },
  mysql: { kind: mysql, asksFollowers: true },
  jetstream: { kind: jetstream, asksFollowers: true, lostMillis: 15_000 },
  etcd: { kind: etcd, asksFollowers: true },
  kafka: { kind: kafka, cannot: 'leader killed' },
}
