import { formatValue } from '../../support/log.js'
import {
  boolean,
  integer,
  nullable,
  optional,
  parseFields,
  required,
  text,
} from '../shared/fields.js'

/** The columns about the node, which are the same in every row. */
const NODE = {
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
  /** When the server started, which distinguishes it from other servers. */
  started: optional(text),
  /** Names that the node may have as a follower of another: the name of its slot, and what it calls itself. */
  cluster_name: optional(text),
  own_slot: optional(text),
  own_application: optional(text),
}

/** A part of a name: several of them together are short enough for a name. */
function shortText(value: unknown): string | undefined {
  const parsed = text(value)
  return parsed !== undefined && parsed.length <= 256 ? parsed : undefined
}

/** The columns about one follower. */
const FOLLOWER = {
  /** Process id and start of the connection. NULL for a slot without a walsender. */
  connection: nullable(text),
  /** The state of the walsender. NULL if the role may not see it. */
  state: nullable(text),
  application_name: nullable(shortText),
  /** NULL for a connection through a Unix socket. */
  client_addr: nullable(shortText),
  /** The name of its permanent slot. */
  slot_name: nullable(text),
  /** `physical`, `logical` or `none`. A temporary slot has a type too. */
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

/** The node that was read. */
export type Server = ReturnType<typeof parseFields<typeof NODE>>

/** A slot or a connection of the node. */
export type Row = ReturnType<typeof parseFields<typeof FOLLOWER>>

export interface Answer {
  readonly node: Server
  readonly rows: readonly Row[]
  /** What is wrong with rows that were left out. */
  readonly problems: readonly string[]
}

/**
 * Parses an answer. Rows of followers that are malformed are left out.
 *
 * @throws Error that names the field if something about the node is missing or malformed, or names the privilege that the
 * role needs.
 */
export function parseAnswer(answer: readonly unknown[]): Answer {
  if (answer.length === 0) throw new Error('the answer has no row')
  const node = parseFields(NODE, answer[0])
  const rows = new Map<string, Row>()
  const problems: string[] = []
  for (const each of answer as readonly Partial<Record<string, unknown>>[]) {
    const { slot_name, connection, application_name } = each
    if ((slot_name ?? connection ?? undefined) === undefined) continue
    const subject = slot_name
      ? `slot ${formatValue(slot_name)}`
      : `the connection of ${formatValue(application_name ?? connection)}`
    try {
      const row = parseFields(FOLLOWER, each)
      const id = (row.slot_name ?? row.connection) as string
      if (rows.has(id)) throw new Error('it is listed twice')
      rows.set(id, row)
    } catch (error) {
      problems.push(`${subject} is left out: ${(error as Error).message}`)
    }
  }
  checkPrivilege(node, [...rows.values()])
  return { node, rows: [...rows.values()], problems }
}

/** Without pg_monitor, PostgreSQL shows the connections of followers and hides the rest. */
function checkPrivilege({ role_name }: Server, rows: readonly Row[]): void {
  if (rows.every(({ connection, state }) => connection === undefined || state !== undefined)) return
  throw new Error(
    `the role ${role_name} may not see the positions of followers: GRANT pg_monitor TO ${role_name}`,
  )
}
