import { OncePerSubject } from '../../support/log.js'
import { parseName, type ShardId } from '../../support/names.js'
import { checkObject, hasMethods, optionError } from '../../support/option-errors.js'
import type { ReplicationReading, ReplicationSource } from '../source.js'
import { checkShardOptions } from '../shared/options.js'
import { Connection, EXPECTED_CLIENT, isPool } from './connection.js'
import type { PostgresClient, PostgresPool } from './connection.js'
import { explainError } from './errors.js'
import { Followers, type PostgresFollower } from './followers.js'
import { parseAnswer, type Answer } from './answer.js'

export type { PostgresClient, PostgresPool, PostgresPoolClient } from './connection.js'
export type { PostgresFollower } from './followers.js'

/** Options of {@link postgresSource}. */
export interface PostgresSourceOptions {
  /**
   * A `pg` Pool, or a `pg` Client that is connected, of the node whose followers to report. Its role needs `pg_monitor`.
   * With a Pool, a read that misses its deadline costs one connection. With a Client, the next read waits until the server
   * has answered the last one.
   */
  readonly client: PostgresPool | PostgresClient
  /** The shard to report the followers under: the name of the database cluster. */
  readonly shard: ShardId
  /**
   * The name of the source: the `source` attribute of its metrics. Set it if several sources have one shard.
   *
   * @default `postgres:` and the shard
   */
  readonly name?: string | undefined
  /**
   * Decides which followers to report. It is called for each follower at each read.
   *
   * @default all are reported
   * @example ({ slotType }) => slotType !== 'logical'
   */
  readonly filter?: ((follower: PostgresFollower) => boolean) | undefined
  /**
   * Decides which followers connect only now and then, such as a consumer that runs in batches. They count as connected
   * while they are away. What their slots keep is reported as for others.
   *
   * @default none
   * @example ({ slotName }) => slotName === 'nightly_export'
   */
  readonly intermittent?: ((follower: PostgresFollower) => boolean) | undefined
  /**
   * Names of followers that should be there. One that is not is reported as not connected, and without a lag if it was not
   * seen before. A standby without a connected follower reports none of them, and a node does not expect itself.
   *
   * @default none
   */
  readonly expect?: readonly string[] | undefined
}

/**
 * Reads the followers of one PostgreSQL node, of a primary or of a standby that others stream from.
 *
 * The leader seqno is the node's own newest WAL position. The applied seqno is what a standby has replayed, or what the
 * consumer of a logical slot has confirmed. All are bytes of WAL since `0/0`. A follower is named by its slot, else by its
 * `application_name`, else by its address. Of several with one name, the later ones get `@address` too.
 *
 * @throws TypeError that names the invalid option.
 */
export function postgresSource(options: PostgresSourceOptions): ReplicationSource {
  const { client, shard, name, ...followerOptions } = checkOptions(options)
  const connection = new Connection(client)
  // If an address reaches a primary and a standby in turn, memory of one does not apply to the other.
  const primary = new Followers(followerOptions)
  const standby = new Followers(followerOptions)
  const warnings = new OncePerSubject()
  /** Start times of the servers that answered. A restarted server counts as another. */
  const servers = new Set<string | undefined>()
  let lastServer: string | undefined

  function toReading(answer: Answer): ReplicationReading {
    const { in_recovery, started } = answer.node
    const isBack = started !== lastServer && servers.has(started)
    if (isBack) warnings.warn('servers', () => `source "${name}": ${DIFFERENT_SERVERS}`)
    servers.add(started)
    lastServer = started
    const reading = (in_recovery ? standby : primary).read(answer)
    const isWhole = reading.followers.every(({ connected }) => connected)
    connection.maxAgeMillis = isWhole ? MAX_AGE_MILLIS : MAX_AGE_IN_DOUBT_MILLIS
    const shards = [{ shard, ...reading }]
    if (reading.leaderSeqno === undefined) return { shards, note: UNKNOWN_POSITION }
    if (reading.followers.length > 0) return { shards }
    return { shards, note: in_recovery ? UNUSED_STANDBY : UNUSED_PRIMARY }
  }

  return {
    name,
    async read(signal) {
      try {
        return toReading(parseAnswer(await connection.query(signal)))
      } catch (error) {
        throw explainError(error, client)
      }
    },
  }
}

/** How old a connection may become: while all is well, and while a follower is not connected, so that the node may be an old primary. */
const MAX_AGE_MILLIS = 60_000
const MAX_AGE_IN_DOUBT_MILLIS = 5_000

const UNKNOWN_POSITION = 'a standby whose newest position is not known at the moment'
const UNUSED_PRIMARY = 'a primary that no follower streams from'
const UNUSED_STANDBY = 'a standby that no follower streams from: its upstream reports its lag'
const DIFFERENT_SERVERS =
  'its address reaches different servers in turn, so followers seem to come and go. ' +
  'Use an address that follows the primary, or one source with a name for each server'

function checkOptions(options: PostgresSourceOptions) {
  checkObject('options', options)
  const { client, intermittent, expect = [], ...rest } = options
  const isClient = hasMethods(client, 'query') || (hasMethods(client, 'connect') && isPool(client))
  // A connection string can hold a password.
  const shown = typeof client === 'string' ? String(client).replace(/(?<=[:=]).*/s, '…') : client
  if (!isClient) throw optionError('client', EXPECTED_CLIENT, shown)
  const checked = checkShardOptions('postgres', rest)
  if (intermittent !== undefined && !hasMethods(intermittent, 'call')) {
    throw optionError('intermittent', 'a function', intermittent)
  }
  const isList = Array.isArray(expect) && expect.every((each) => parseName(each) !== undefined)
  if (!isList) throw optionError('expect', 'an array of names', expect)
  return { ...checked, client, intermittent, expect: expect.map(String) }
}
