import { checkObject, hasMethods, optionError } from '../../support/option-errors.js'
import { describeError } from '../../support/log.js'
import type { ShardId } from '../../support/names.js'
import { checkShardOptions, parseClients } from '../shared/options.js'
import { isMissingPrivilege, isNotAvailable, isUnknownVariable } from './errors.js'

/** What is used of a Pool or a Connection of `mysql2/promise` or `mariadb`. */
export interface MysqlClient {
  query(sql: string): Promise<unknown>
}

/** Options of `mariadbSource` and `mysqlSource`. */
export interface MysqlSourceOptions<Follower> {
  /**
   * A Pool or a Connection, of `mysql2/promise` or of `mariadb`, of each node, by the name to report it under. The source
   * finds out which one leads. Give each its own Pool, because a Connection does not reconnect. Connect each to its own
   * server, not through a proxy or an address that moves.
   *
   * @example { 'db-1': mysql.createPool({ host: 'db-1.example', user: 'monitor', password }) }
   */
  readonly nodes: Readonly<Record<string, MysqlClient>>
  /** The shard to report the followers under. */
  readonly shard: ShardId
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default the system and the shard, as in `mysql:orders`
   */
  readonly name?: string | undefined
  /**
   * Decides which followers to report. It is called for each follower at each read.
   *
   * @default all are reported
   * @example ({ replica }) => replica !== 'delayed'
   */
  readonly filter?: ((follower: Follower) => boolean) | undefined
}

const EXPECTED_CLIENT = 'a Pool or a Connection of mysql2/promise or mariadb'

/** @throws TypeError that names the invalid option. */
export function checkOptions<Follower>(system: string, options: MysqlSourceOptions<Follower>) {
  checkObject('options', options)
  const { nodes, ...rest } = options
  for (const option of ['leader', 'followers']) {
    if (!(option in rest)) continue
    throw new TypeError(
      `${option}: list all servers in the option nodes instead. The source finds the leader`,
    )
  }
  const clients = parseClients('nodes', nodes, checkClient)
  if (clients.size === 0) throw optionError('nodes', 'at least one client', nodes)
  return { nodes: clients, ...checkShardOptions(system, rest) }
}

function checkClient(option: string, client: unknown): void {
  // A connection string can hold a password.
  const shown = typeof client === 'string' ? client.replace(/(?<=[:=]).*/s, '…') : client
  if (!hasMethods(client, 'query')) throw optionError(option, EXPECTED_CLIENT, shown)
  // Callback clients of mysql2 cannot be awaited. They are recognized by their `promise()` method.
  if (!hasMethods(client, 'promise')) return
  throw optionError(option, `${EXPECTED_CLIENT}, not one that uses callbacks`, client)
}

/** @internal Runs a query, and returns its rows. */
async function queryRows(client: MysqlClient, sql: string): Promise<unknown[]> {
  const answer = await client.query(sql)
  // mysql2 answers with rows and fields, mariadb with rows.
  const rows: unknown = Array.isArray(answer) && Array.isArray(answer[0]) ? answer[0] : answer
  if (Array.isArray(rows)) return rows as unknown[]
  throw optionError('client', `${EXPECTED_CLIENT}, whose queries return rows`, answer)
}

/** @internal Whether a node is in a Galera cluster. */
export async function isGaleraNode(client: MysqlClient): Promise<boolean> {
  const asking = queryRows(client, "show global status like 'wsrep_cluster_size'")
  const [row] = await asking.catch(() => [])
  return Number((row as { Value?: unknown } | undefined)?.Value ?? 0) > 0
}

/**
 * Asks a server for the variables that a source needs.
 *
 * @param advice what to use instead, if it is another kind of server.
 */
export async function queryVariables(
  client: MysqlClient,
  sql: string,
  advice: (version: string) => string,
): Promise<unknown> {
  try {
    return (await queryRows(client, sql))[0]
  } catch (error) {
    if (!isUnknownVariable(error)) throw error
    const [row] = await queryRows(client, 'select version() as version')
    const { version } = (row ?? {}) as { version?: unknown }
    const found = typeof version === 'string' ? version : 'unknown'
    throw new Error(`its version is ${found}: ${advice(found)}`, { cause: error })
  }
}

/** @internal Where a server replicates from: a row for each of its sources, or why the rows cannot be read. */
export type ReplicationRows =
  | { readonly rows: readonly unknown[]; readonly isHidden?: false; readonly problem?: undefined }
  /** The user lacks the privilege. */
  | { readonly rows?: undefined; readonly isHidden: true; readonly problem?: undefined }
  | { readonly rows?: undefined; readonly isHidden?: false; readonly problem: string }

/** @internal Asks for the state of replication. */
export async function queryReplication(client: MysqlClient, sql: string): Promise<ReplicationRows> {
  try {
    return { rows: await queryRows(client, sql) }
  } catch (error) {
    if (isMissingPrivilege(error)) return { isHidden: true }
    if (!isNotAvailable(error)) throw error
    return { problem: `its replication state cannot be read: ${describeError(error)}` }
  }
}

/**
 * Asks a server for its position and for its replication state, one after the other. The position of a follower comes last,
 * so that it is new when the answer is there. That of a leader comes first: it is compared with what followers answered before.
 */
export async function askBoth<Position, State>(
  isLeader: boolean,
  askPosition: () => Promise<Position>,
  askState: () => Promise<State>,
): Promise<[Position, State]> {
  if (isLeader) return [await askPosition(), await askState()]
  const state = await askState()
  return [await askPosition(), state]
}
