import {
  boolean,
  integer,
  nullable,
  optional,
  parseFields,
  required,
  text,
} from '../shared/fields.js'

/** How each field of an answer is parsed: first those of the node, then those of one follower. */
const COLUMNS = {
  /** The role that reads, quoted for SQL. */
  role_name: required(text),
  in_recovery: required(boolean),
  /** The newest WAL position, while it is known. */
  leader: nullable(integer),
  system_identifier: required(text),
  /** The timeline of that position. NULL on a standby that receives nothing at the moment. */
  timeline: nullable(integer),
  /** The timeline that a standby would start with after a restart. It can be an older one. */
  restart_timeline: required(integer),
  /** When the server started, which tells it from other servers. */
  started: optional(text),
  /** Process id and start of the connection. NULL for a slot without a walsender. */
  connection: nullable(text),
  /** The state of the walsender. NULL if the role may not see it. */
  state: nullable(text),
  application_name: nullable(text),
  /** NULL for a connection through a Unix socket. */
  client_addr: nullable(text),
  /** The name of its permanent slot. */
  slot_name: nullable(text),
  /** `physical`, `logical` or `none`, also of a temporary slot. */
  slot_type: nullable(text),
  connected: nullable(boolean),
  /** Whether it has shown that it receives WAL and applies nothing. */
  receives_only: optional(boolean),
  wal_status: optional(text),
  /** Why the slot is lost, if it is. */
  lost: nullable(text),
  applied: nullable(integer),
  received: optional(integer),
  /** The oldest position that the slot keeps. */
  retained: optional(integer),
  /** When the follower sent its last status message, by its own clock. */
  reply: optional(text),
}

export type Row = ReturnType<typeof parseFields<typeof COLUMNS>>

/**
 * Parses all rows of an answer.
 *
 * @throws Error that names the field if something is missing or malformed, or names the right that the role needs.
 */
export function parseAnswer(answer: readonly unknown[]): [Row, ...Row[]] {
  const [first, ...rest] = answer.map((row) => parseFields(COLUMNS, row))
  if (!first) throw new Error('the answer has no row')
  const rows: [Row, ...Row[]] = [first, ...rest]
  // Without pg_monitor, PostgreSQL shows the connections of followers and hides the rest.
  if (rows.every(({ connection, state }) => connection === undefined || state !== undefined)) {
    return rows
  }
  const role = first.role_name
  throw new Error(
    `the role ${role} may not see the positions of followers: GRANT pg_monitor TO ${role}`,
  )
}
