import { integer, optional, parseFields, required, text } from '../shared/fields.js'

/** The fields of `INFO replication`, by their names. Those that a server does not have are missing. */
const FIELDS = {
  role: required((value) => (value === 'master' || value === 'slave' ? value : undefined)),
  /** Names the history that the offsets belong to. */
  master_replid: required(text),
  /** Of a leader, how much it has written. Of a replica, its own. */
  master_repl_offset: required(integer),
  slave_repl_offset: optional(integer),
  /** What a replica has received, since Redis 7.0. */
  slave_read_repl_offset: optional(integer),
  master_link_status: optional(text),
  master_sync_in_progress: optional(integer),
}

/** The fields of a row `slaveN`. */
const ROW = {
  ip: required(text),
  port: required(integer),
  state: required(text),
  offset: required(integer),
  /** Of Valkey 8: `replica`, `rdb-channel` or `main-channel`. */
  type: optional(text),
}

export type Info = ReturnType<typeof parseFields<typeof FIELDS>> & {
  readonly rows: readonly Row[]
}
export type Row = ReturnType<typeof parseFields<typeof ROW>>

/**
 * Parses the answer to `INFO replication`.
 *
 * @throws Error that names the field that is missing or invalid.
 */
export function parseInfo(answer: unknown): Info {
  if (typeof answer !== 'string') throw new Error('the answer to INFO is not a text')
  const fields = toObject(answer.split(/\r?\n/), ':')
  const rows = Object.entries(fields).filter(([name]) => /^slave\d+$/.test(name))
  const parsed = rows.map(([, row]) => parseFields(ROW, toObject(row.split(','), '=')))
  return { ...parseFields(FIELDS, fields), rows: parsed }
}

/** Lines `name:value`, or parts `name=value`, as an object. */
function toObject(lines: readonly string[], separator: string): Record<string, string> {
  const pairs = lines.flatMap((line) => {
    const at = line.indexOf(separator)
    return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : []
  })
  return Object.fromEntries(pairs)
}
