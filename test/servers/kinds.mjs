import { etcd } from './etcd.mjs'
import { jetstream } from './jetstream.mjs'
import { kafka } from './kafka.mjs'
import { mariadb } from './mariadb.mjs'
import { mysql } from './mysql.mjs'
import { postgres } from './postgres.mjs'
import { redis } from './redis.mjs'

/** All systems, by the names of their sources. @type {Readonly<Record<string, import('./system.js').SystemKind>>} */
export const KINDS = { postgres, redis, mariadb, mysql, jetstream, etcd, kafka }
