import { parseName, type ShardId } from '../follower.js'
import { checkObject, hasMethods, optionError, refuseUnknown } from '../option-errors.js'
import { POSTGRES_QUERY, type PostgresRow } from './postgres-query.js'
import { PostgresSlots } from './postgres-slots.js'
import type { FollowerReading, ReplicationReading, ReplicationSource } from './source.js'
import { StableNames } from './stable-names.js'

/** What is used of a `pg` Client: one connection, that is already connected. */
export interface PostgresClient {
  query(text: string): Promise<{ rows: unknown[] }>
}

/** What is used of a `pg` Pool. Each read takes one connection of it and gives it back. */
export interface PostgresPool {
  readonly totalCount: number
  connect(): Promise<PostgresPoolClient>
}

/** A connection of a pool. */
export interface PostgresPoolClient extends PostgresClient {
  release(destroy?: boolean): void
  on(event: 'error', listener: () => void): unknown
  off(event: 'error', listener: () => void): unknown
}

/** Options of {@link postgresSource}. */
export interface PostgresSourceOptions {
  /**
   * A `pg` Pool or Client of the node whose followers to report. With a Pool a read that misses its deadline costs that
   * one connection; with a Client the next read waits until the server has answered the last. The role needs `pg_monitor`.
   */
  readonly client: PostgresPool | PostgresClient
  /** The shard to report the followers under: the name of the database cluster. */
  readonly shard: ShardId
}

/**
 * Reads the followers of one PostgreSQL node, a primary or a standby that others stream from.
 *
 * Leader seqno: the node's own newest WAL position. Applied seqno: what the follower has replayed; for a logical slot
 * what its consumer has confirmed (`confirmed_flush_lsn`); for a physical slot that nobody is connected to, what its
 * standby had replayed when it was last seen, but no more than from where on the slot holds WAL (`restart_lsn`). Both are
 * bytes of WAL since `0/0`.
 *
 * A follower is named by its slot, else its `application_name`, else its address; of several that would have one name,
 * the later ones get `@address` as well.
 *
 * @throws TypeError that names the option that cannot work.
 */
export function postgresSource(options: PostgresSourceOptions): ReplicationSource {
  const { client, shard } = checkOptions(options)
  const memory: Memory = {
    names: new StableNames(),
    slots: new PostgresSlots(),
    timeline: new Timeline(),
  }
  return {
    name: `postgres:${shard}`,
    async read(signal) {
      const { rows } = await query(client, signal)
      return toReading(shard, rows as PostgresRow[], memory)
    },
  }
}

/** What a source remembers from read to read. */
interface Memory {
  readonly names: StableNames
  readonly slots: PostgresSlots
  readonly timeline: Timeline
}

/** The timeline that a node is on. */
class Timeline {
  #systemIdentifier: string | undefined
  #newest = 0

  /** The epoch of a node's positions. A standby that receives nothing for now is still on the timeline that it was on. */
  epochOf({ system_identifier, timeline, restart_timeline }: PostgresRow): string {
    const last = system_identifier === this.#systemIdentifier ? this.#newest : 0
    this.#systemIdentifier = system_identifier
    this.#newest = timeline ?? Math.max(last, restart_timeline)
    return `${system_identifier}/${this.#newest}`
  }
}

function toReading(
  shard: string,
  rows: PostgresRow[],
  { names, slots, timeline }: Memory,
): ReplicationReading {
  const node = rows[0]
  if (!node) throw new Error('the query returned no row')
  const hidden = rows.find(({ connection, state }) => connection !== null && state === null)
  if (hidden) {
    const role = hidden.role_name
    throw new Error(
      `the role ${role} may not see the positions of followers: GRANT pg_monitor TO ${role}`,
    )
  }
  const epoch = timeline.epochOf(node)
  slots.see(rows, epoch)
  const followers = toFollowers(rows, names, slots)
  const removed = slots.takeRetracted()
  if (node.leader === null) {
    return { shards: [], note: 'a standby that has neither received nor replayed any WAL yet' }
  }
  const leaderSeqno = BigInt(node.leader)
  const reading = {
    shards: [{ shard, leaderSeqno, followers, epoch, ...(removed.length > 0 && { removed }) }],
  }
  if (followers.length > 0) return reading
  return {
    ...reading,
    note: node.in_recovery
      ? 'a standby that no follower streams from; its own lag is reported by the node that it follows'
      : 'a primary that no follower streams from',
  }
}

function toFollowers(
  rows: PostgresRow[],
  names: StableNames,
  slots: PostgresSlots,
): FollowerReading[] {
  // A slot that was never used has no position, and neither has what only receives WAL.
  const measured = rows.filter(
    (row) => (row.applied !== null && !slots.isReceiver(row)) || row.lost !== null,
  )
  const bearers = measured.map(({ connection, slot_name, application_name, client_addr }) => {
    // A slot is the same follower, whichever connection holds it and wherever that comes from.
    if (slot_name !== null) return { key: `slot ${slot_name}`, name: slot_name, address: 'slot' }
    const address = client_addr ?? 'local'
    return { key: `connection ${connection as string}`, name: application_name ?? address, address }
  })
  const replicas = names.assign(bearers)
  return measured.map((row, index) => {
    const replica = replicas[index] as string
    const appliedSeqno = slots.appliedOf(row)
    slots.reported(row, replica)
    return {
      replica,
      connected: row.connected === true,
      ...(appliedSeqno !== undefined && { appliedSeqno }),
      ...(row.lost !== null && { problem: problemOf(row) }),
    }
  })
}

function problemOf({ slot_name, lost }: PostgresRow): string {
  const why =
    lost === 'wal_removed'
      ? 'the server has removed WAL that it needs'
      : `the server has invalidated it (${lost})`
  return `its slot ${slot_name} is lost: ${why}, so it must be rebuilt`
}

async function query(
  client: PostgresPool | PostgresClient,
  signal: AbortSignal,
): Promise<{ rows: unknown[] }> {
  if (!isPool(client)) return client.query(POSTGRES_QUERY)
  const connection = await client.connect()
  if (signal.aborted) {
    connection.release()
    throw signal.reason
  }
  // Destroying the connection is the only way out of a query that hangs, be it that the server is there no more.
  const destroy = () => connection.release(true)
  signal.addEventListener('abort', destroy)
  // Without a listener, a connection that breaks while it is lent out would end the process.
  connection.on('error', ignore)
  const giveBack = (broken: boolean) => {
    connection.off('error', ignore)
    signal.removeEventListener('abort', destroy)
    if (!signal.aborted) connection.release(broken)
  }
  try {
    const result = await connection.query(POSTGRES_QUERY)
    giveBack(false)
    return result
  } catch (error) {
    giveBack(true)
    throw error
  }
}

function ignore(): void {
  // The query that was under way has been rejected with the same error.
}

function isPool(client: PostgresPool | PostgresClient): client is PostgresPool {
  return 'totalCount' in client
}

function checkOptions(options: PostgresSourceOptions): PostgresSourceOptions & { shard: string } {
  checkObject('options', options)
  const { client, shard, ...unknown } = options
  refuseUnknown(unknown)
  const isClient = hasMethods(client, 'query') || (hasMethods(client, 'connect') && isPool(client))
  if (!isClient) throw optionError('client', 'a Pool or Client of pg', client)
  const name = parseName(shard)
  if (name === undefined)
    throw optionError('shard', 'a non-empty string or a non-negative integer', shard)
  return { client, shard: name }
}
