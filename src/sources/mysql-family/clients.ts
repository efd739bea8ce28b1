import { describeError } from '../../support/log.js'
import type { ShardId } from '../../support/names.js'
import {
  checkObject,
  hasMethods,
  optionError,
  warnAboutUnknown,
} from '../../support/option-errors.js'
import { withAdvice, type Advice } from '../shared/advice.js'
import { askAll, Node, unreachable } from '../shared/nodes.js'
import type { FollowerReading } from '../source.js'
import { checkNameAndFilter, parseClients, parseShard, passesFilter } from '../shared/options.js'

/** What is used of a Pool or a Connection of `mysql2/promise` or `mariadb`. */
export interface MysqlClient {
  query(sql: string): Promise<unknown>
}

/** Options of `mariadbSource` and `mysqlSource`. */
export interface MysqlSourceOptions<Follower> {
  /**
   * A Pool or a Connection, of `mysql2/promise` or of `mariadb`, of the leader. Give the source a Pool of its own: a
   * Connection does not reconnect.
   */
  readonly leader: MysqlClient
  /**
   * The same for each follower, by the name to report it under. Connect each to its own server, not through a proxy that
   * balances.
   *
   * @example { 'replica-1': mysql.createPool({ host: 'replica-1.example', user: 'monitor', password }) }
   */
  readonly followers: Readonly<Record<string, MysqlClient>>
  /** The shard to report the followers under. */
  readonly shard: ShardId
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default the system and the shard, as in `mysql:orders`
   */
  readonly name?: string
  /**
   * Decides which followers to report. It is called for each follower at each read.
   *
   * @default all are reported
   * @example ({ replica }) => replica !== 'delayed'
   */
  readonly filter?: (follower: Follower) => boolean
}

const EXPECTED_CLIENT = 'a Pool or a Connection of mysql2/promise or mariadb'

/** @throws TypeError that names the invalid option. */
export function checkOptions<Follower>(system: string, options: MysqlSourceOptions<Follower>) {
  checkObject('options', options)
  const { leader, followers, shard, name, filter, ...unknown } = options
  warnAboutUnknown(`${system}Source`, unknown)
  checkClient('leader', leader)
  const clients = parseClients('followers', followers, checkClient)
  const id = parseShard(shard)
  checkNameAndFilter({ name, filter })
  const passes = (follower: Follower) => passesFilter(filter, follower)
  return { leader, followers: clients, shard: id, name: name ?? `${system}:${id}`, passes }
}

function checkClient(option: string, client: unknown): void {
  // A connection string can hold a password.
  const shown = typeof client === 'string' ? client.replace(/(?<=[:=]).*/s, '…') : client
  if (!hasMethods(client, 'query')) throw optionError(option, EXPECTED_CLIENT, shown)
  // Clients of mysql2 that take callbacks, whose answer cannot be awaited, have a method that returns one that can.
  if (!hasMethods(client, 'promise')) return
  throw optionError(option, `${EXPECTED_CLIENT}, not one that takes callbacks`, client)
}

/** Runs a query, and returns its rows. */
export async function queryRows(client: MysqlClient, sql: string): Promise<unknown[]> {
  const answer = await client.query(sql)
  // mysql2 answers with rows and fields, mariadb with rows.
  const rows: unknown = Array.isArray(answer) && Array.isArray(answer[0]) ? answer[0] : answer
  if (Array.isArray(rows)) return rows as unknown[]
  throw optionError('client', `${EXPECTED_CLIENT}, which answers with rows`, answer)
}

/** Runs a query that needs a right. Returns `undefined` if the user does not have it. */
export async function queryIfAllowed(
  client: MysqlClient,
  sql: string,
): Promise<unknown[] | undefined> {
  try {
    return await queryRows(client, sql)
  } catch (error) {
    const { errno } = (error ?? {}) as { errno?: unknown }
    // The right to see the state of replication, and the right to read a table.
    if (errno === 1227 || errno === 1142) return undefined
    throw error
  }
}

/** A follower that has answered, or what to report of one that has not. */
export type FollowerAnswer<Answer> =
  | { readonly answer: Answer; readonly lost?: undefined }
  | { readonly answer?: undefined; readonly lost: FollowerReading }

/** A leader and its followers. Each is asked one question at a time. */
export class LeaderAndFollowers<LeaderState, FollowerState> {
  private readonly leader: Node<LeaderState>
  private readonly followers: ReadonlyMap<string, Node<FollowerState>>

  constructor(
    private readonly title: string,
    private readonly clients: Pick<ReturnType<typeof checkOptions>, 'leader' | 'followers'>,
    askLeader: (client: MysqlClient) => Promise<LeaderState>,
    askFollower: (client: MysqlClient) => Promise<FollowerState>,
  ) {
    this.leader = new Node(() => askLeader(clients.leader))
    const nodes = [...clients.followers].map(
      ([name, client]) => [name, new Node(() => askFollower(client))] as const,
    )
    this.followers = new Map(nodes)
  }

  async readFollowers(signal: AbortSignal): Promise<Map<string, FollowerAnswer<FollowerState>>> {
    const answers = await askAll(this.followers, signal)
    signal.throwIfAborted()
    const read = new Map<string, FollowerAnswer<FollowerState>>()
    for (const [name, answered] of answers) {
      const client = this.clients.followers.get(name)
      const answer =
        'error' in answered
          ? { lost: unreachable(name, explain(this.title, client, answered.error)) }
          : answered
      read.set(name, answer)
    }
    return read
  }

  async readLeader(signal: AbortSignal): Promise<LeaderState> {
    try {
      return await this.leader.ask(signal)
    } catch (error) {
      throw signal.aborted
        ? signal.reason
        : explain(`${this.title} leader`, this.clients.leader, error)
    }
  }
}

/** What to do about an error. The first that matches. */
const ADVICE: Advice = [
  [
    /Access denied|ACCESS_DENIED/,
    'check the user, its password, and from which hosts it may connect',
  ],
  [/not allowed to connect/, 'create the user for the host of this process'],
  [
    /Unknown system variable/,
    'use mariadbSource for MariaDB 10.2 or newer, and mysqlSource for MySQL 5.7 or newer',
  ],
  [/ECONNREFUSED/, 'check host and port, and whether the server runs'],
  [/ENOTFOUND|EAI_AGAIN/, 'check the name of the host'],
  [/public ?key/i, 'use TLS, or set allowPublicKeyRetrieval'],
  [/Too many connections/i, 'use fewer connections, or raise max_connections'],
  [/closed state|connection closed/, 'a Connection does not reconnect: if it is one, use a Pool'],
  [/timeout|ETIMEDOUT|UNREACH|not answered yet/i, 'check host, port, network, and the server'],
]

/** Returns an error that names the server, host, port and user where they are known, and says what to do. */
function explain(title: string, client: unknown, error: unknown): Error {
  const { code, sqlMessage, cause } = (error ?? {}) as Partial<Record<string, unknown>>
  const isOfServer = typeof sqlMessage === 'string'
  // The message of the mariadb client ends with the query.
  const description = describeError(isOfServer ? { code, message: sqlMessage, cause } : error)
  return new Error(`${title}${addressOf(client)}: ${withAdvice(description, ADVICE)}`)
}

/** Returns where a client of mysql2 connects to. Those of mariadb keep it to themselves. */
function addressOf(client: unknown): string {
  const { pool, connection } = client as Partial<Record<string, { config?: unknown }>>
  const config = (pool?.config ?? connection?.config) as Config | undefined
  const { host, port, user } = config?.connectionConfig ?? config ?? {}
  const name = user === undefined ? '' : `, user ${user}`
  return host === undefined ? '' : ` at ${host}:${port}${name}`
}

interface Config {
  readonly connectionConfig?: Config
  readonly host?: string
  readonly port?: number
  readonly user?: string
}

/** Who a server is. */
export interface Identity {
  /** What must be its own: `server_uuid` or `server_id`. */
  readonly id: string
  /** Its host and port, as it knows them. */
  readonly address: string
}

/**
 * Splits off the answers of the leader itself: an address that follows the leader can reach a node that is listed as a
 * follower too.
 *
 * @returns the other answers, the names of the leader with a note if there are any, and the ids that several servers have.
 */
export function splitOff<State extends Identity>(
  leader: Identity,
  answers: readonly (readonly [string, FollowerAnswer<State>])[],
) {
  const isLeader = ([, { answer }]: (typeof answers)[number]) =>
    answer?.id === leader.id && answer.address === leader.address
  const others = answers.filter((each) => !isLeader(each))
  const removed = answers.filter(isLeader).map(([replica]) => replica)
  const ids = [leader.id, ...others.flatMap(([, { answer }]) => answer?.id ?? [])]
  const shared = new Set(ids.filter((id, index) => ids.indexOf(id) !== index))
  const note = removed.length > 0 && { note: `not followers but the leader: ${removed.join(', ')}` }
  return { others, removed, note, shared }
}
