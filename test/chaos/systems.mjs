import { etcd } from '../servers/etcd.mjs'
import { jetstream } from '../servers/jetstream.mjs'
import { kafka } from '../servers/kafka.mjs'
import { mariadb } from '../servers/mariadb.mjs'
import { mysql } from '../servers/mysql.mjs'
import { postgres } from '../servers/postgres.mjs'
import { redis } from '../servers/redis.mjs'

/**
 * What the oracle has to know of a system.
 *
 * @typedef {object} Traits
 * @property {boolean} asksFollowers whether the monitor asks each follower. Otherwise one node says who is connected.
 * @property {boolean} [hearsOverLink] whether that node knows positions only from the connections of the followers
 * @property {number} lostMillis how long the system takes to notice that a follower is gone
 */

/** @typedef {Traits & { kind: import('../servers/system.js').SystemKind, cannot?: string }} Subject */

/** @type {Readonly<Record<string, Subject>>} */
export const SUBJECTS = {
  // Its wal_sender_timeout is 5 s.
  postgres: { kind: postgres, asksFollowers: false, hearsOverLink: true, lostMillis: 6000 },
  redis: { kind: redis, asksFollowers: true, lostMillis: 0 },
  mariadb: { kind: mariadb, asksFollowers: true, lostMillis: 0 },
  mysql: { kind: mysql, asksFollowers: true, lostMillis: 0 },
  // A leader waits so long for a follower.
  jetstream: { kind: jetstream, asksFollowers: true, lostMillis: 15_000 },
  etcd: { kind: etcd, asksFollowers: true, lostMillis: 0 },
  // Its one broker cannot fail over.
  kafka: { kind: kafka, asksFollowers: false, lostMillis: 0, cannot: 'leader killed' },
}
