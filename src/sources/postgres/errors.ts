import { describeError } from '../../support/log.js'
import { withAdvice, type Advice } from '../shared/advice.js'

/** What to do about an error, by its code or message. The first that matches. */
const ADVICE: Advice = [
  [/still wait for/, 'it has no connectionTimeoutMillis, or one that exceeds the poll timeout'],
  [/exceeded when trying to connect/, 'it is in use: give the source a Pool of its own'],
  [/connection timeout|ETIMEDOUT|UNREACH/, 'check host, port, network, firewall, and the server'],
  [/ECONNREFUSED/, 'check host and port, and whether the server runs'],
  [/ENOTFOUND|EAI_AGAIN/, 'check the name of the host'],
  [/not queryable|onnection terminated/, 'a Client does not reconnect: if it is one, use a Pool'],
  [/28P01|28000/, 'check the password, pg_hba.conf, and whether the server wants SSL'],
  [/42501/, 'grant pg_monitor to the role'],
  [/53300/, 'use fewer connections, or raise max_connections'],
  [/57014/, 'raise the statement_timeout of the role'],
  [/unsupported startup parameter/, 'see ignore_startup_parameters of PgBouncer'],
  [/Aurora/, 'Aurora replicates in its storage, which this source cannot read'],
  [/42P01|42703|42883|42601/, 'the source needs PostgreSQL 10 or newer'],
]

/** Returns an error that names host, port and role, never the password, and says what happened and what to do. */
export function explain(error: unknown, client: object): Error {
  const { host, port, user } = serverOf(client) as Partial<Record<string, string>>
  const address = host === undefined ? '' : ` at ${host}:${port}`
  const server = `PostgreSQL${address}${user === undefined ? '' : `, role ${user}`}`
  const { code } = (error ?? {}) as { code?: unknown }
  const message = `${server}: ${withAdvice(describeError(error), ADVICE)}`
  return Object.assign(new Error(message), typeof code === 'string' && { code })
}

/** Returns what has the host, port and user of a client. */
function serverOf(client: object): object {
  const { Client, options } = client as { Client?: new (o: object) => object; options?: object }
  if (!Client) return client
  try {
    // A new Client evaluates connection string, environment and defaults. It does not connect.
    return new Client({ ...options, stream: undefined })
  } catch {
    return {}
  }
}
