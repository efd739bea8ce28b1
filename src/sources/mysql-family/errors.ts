import { explain as explainError, type Advice } from '../shared/errors.js'

const ADVICE: Advice = [
  [
    /Access denied|ACCESS_DENIED/,
    'check the user, its password, and from which hosts it may connect',
  ],
  [/not allowed to connect/, 'create the user for the host of this process'],
  [/public ?key/i, 'use TLS, or set allowPublicKeyRetrieval'],
  [/Too many connections/i, 'use fewer connections, or raise max_connections'],
  [/closed state|connection closed/, 'a Connection does not reconnect: if it is one, use a Pool'],
  [/does not match certificate/, 'the certificate is for another host: use a name that is in it'],
]

/** Returns an error that names the node, its host, port and user where they are known, and says what to do. */
export function explain(title: string, node: string, client: unknown, error: unknown): Error {
  const { code, sqlMessage, cause } = (error ?? {}) as Partial<Record<string, unknown>>
  // The message of the mariadb client ends with the query.
  const shown = isFromServer(error) ? { code, message: sqlMessage, cause } : error
  return explainError(`${title} ${node}${addressOf(node, client)}`, shown, ADVICE)
}

/** Whether an error has the message of a server, apart from the query. */
function isFromServer(error: unknown): boolean {
  return typeof (error as { sqlMessage?: unknown } | null | undefined)?.sqlMessage === 'string'
}

/** An unknown column, a syntax error, an unknown table, and a table that does not exist. */
const NOT_AVAILABLE: readonly unknown[] = [1054, 1064, 1109, 1146]

/** Whether a server does not have what a statement reads. With other errors, the connection may have failed. */
export function isNotAvailable(error: unknown): boolean {
  return NOT_AVAILABLE.includes((error as { errno?: unknown } | null | undefined)?.errno)
}

/** Whether the user lacks a privilege: to see the state of replication, or to read a table. */
export function isMissingPrivilege(error: unknown): boolean {
  const { errno } = (error ?? {}) as { errno?: unknown }
  return errno === 1227 || errno === 1142
}

/** Whether the server does not have a variable. */
export function isUnknownVariable(error: unknown): boolean {
  return (error as { errno?: unknown } | null | undefined)?.errno === 1193
}

export function listOf(names: readonly string[]): string {
  const last = names.at(-1)
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${last}` : String(last)
}

/** Returns where a client of mysql2 connects to. mariadb clients do not expose it. */
function addressOf(node: string, client: unknown): string {
  const { pool, connection } = client as Partial<Record<string, { config?: unknown }>>
  const config = (pool?.config ?? connection?.config) as Config | undefined
  const { host, port, user } = config?.connectionConfig ?? config ?? {}
  if (host === undefined) return ''
  const address = `${host}:${port}`
  return `${address === node ? '' : ` at ${address}`}${user === undefined ? '' : `, user ${user}`}`
}

interface Config {
  readonly connectionConfig?: Config
  readonly host?: string
  readonly port?: number
  readonly user?: string
}
