import { explain, type Advice } from '../shared/errors.js'

/** What to do about errors of PostgreSQL and of pg, by their codes or messages. The first that matches. */
const ADVICE: Advice = [
  [/still waiting for/, 'it has no connectionTimeoutMillis, or one that exceeds the poll timeout'],
  [/exceeded when trying to connect/, 'it is in use: give the source a Pool of its own'],
  [/connection timeout/, 'check host, port, network, firewall, and the server'],
  [/ENOENT/, 'check the folder of the socket, and whether the server runs'],
  [/not queryable|onnection terminated/, 'a Client does not reconnect: if it is one, use a Pool'],
  [/ERR_INVALID_URL/, 'check the port, and encode special characters of the password (%40 for @)'],
  [/client password must be/, 'no password is set: put it into the URL, or set PGPASSWORD'],
  [/does not support SSL/, 'leave out sslmode, or turn on ssl at the server'],
  [
    /SELF_SIGNED|UNABLE_TO_(VERIFY|GET)/,
    'trust its authority: sslrootcert=/path/to/ca.pem in the URL, or NODE_EXTRA_CA_CERTS',
  ],
  [/28P01/, 'check the password and the role. In a URL, encode special characters (%40 for @)'],
  [/28000/, 'check the role, pg_hba.conf, and whether the server wants SSL'],
  [/3D000/, 'name a database that exists, such as postgres'],
  [/42501/, 'grant pg_monitor to the role'],
  [/57P03/, 'wait until it has started. A standby also needs hot_standby = on'],
  [/53300/, 'use fewer connections, or raise max_connections'],
  [/57014/, 'raise the statement_timeout of the role'],
  [/unsupported startup parameter/, 'see ignore_startup_parameters of PgBouncer'],
  [/Aurora/, 'Aurora replicates in its storage, which this source cannot read'],
  [/42P01|42703|42883|42601/, 'the source needs PostgreSQL 10 or newer'],
]

/** What is known of the server that a client connects to. */
interface Server {
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly user?: string | undefined
  /** What is wrong with its URL. Parts of its password may then be in the host, the port and the messages. */
  readonly fault?: string | undefined
}

/** Returns an error that names host, port and role, never the password, and says what happened and what to do. */
export function explainError(error: unknown, client: object): Error {
  const { host, port, user, fault } = findServer(client)
  if (fault !== undefined) return new Error(`PostgreSQL: ${fault}`)
  const address = host === undefined ? '' : ` at ${host}:${port}`
  return explain(`PostgreSQL${address}${user ? `, role ${user}` : ''}`, error, ADVICE)
}

/** Returns the server that a Client or a Pool connects to. */
function findServer(client: object): Server {
  const { Client, options } = client as { Client?: new (o: object) => Server; options: object }
  if (!Client) return client
  try {
    const { connectionString, host, stream } = options as Partial<Record<string, unknown>>
    const fault = findFault(connectionString)
    if (fault !== undefined) return { fault }
    // A new Client evaluates connection string, environment and defaults. It does not connect.
    const found = new Client({ ...options, stream: undefined })
    // A stream of the application reaches the server by itself.
    if (stream) return { user: found.user }
    if (found.host?.includes(',')) return { fault: SEVERAL_HOSTS }
    if ([connectionString, host, process.env['PGHOST']].some(Boolean)) return found
    const { port, user } = found
    return { host: `${found.host} (no host is set)`, port, user }
  } catch {
    return {}
  }
}

const NO_URL = 'the connection string is not a URL such as postgres://role:password@host/database'
const UNENCODED =
  'the URL has an @ after its host. Encode special characters of the password: %40 for @, %2F for /, %23 for #, %3F for ?'
const SEVERAL_HOSTS =
  'pg does not support several hosts in one URL. Use an address that follows the primary, or one source for each host'

/** Finds out why a URL reaches another server than the one that it was written for. */
function findFault(url: unknown): string | undefined {
  // A path is the folder of a socket.
  if (typeof url !== 'string' || url === '' || url.startsWith('/')) return undefined
  const [, authority, rest] = /^[a-z][a-z\d+.-]*:\/\/([^/?#]*)(.*)/is.exec(url) ?? []
  if (authority === undefined || rest === undefined) return NO_URL
  if (rest.includes('@')) return UNENCODED
  return authority.replace(/.*@/s, '').includes(',') ? SEVERAL_HOSTS : undefined
}
