import { parseFields, required, text, integer, fieldError } from '../shared/fields.js'

/** The answer to `INFO replication`. Its fields are parsed where they are used: one that is odd affects nothing else. */
export interface Info {
  readonly role: 'master' | 'slave'
  readonly fields: Fields
}

/** Values by their names. Those that a server does not have are missing. */
export type Fields = Readonly<Record<string, string>>

/** What the answer of a node must have, in Redis from 4.0 on. */
const NEEDED = {
  /** Names the history that the offsets belong to. */
  master: ['master_replid', 'master_repl_offset'],
  slave: ['master_replid', 'slave_repl_offset'],
}

/**
 * Parses the answer to `INFO replication`.
 *
 * @throws Error that names the field that is missing or invalid.
 */
export function parseInfo(answer: unknown): Info {
  if (typeof answer !== 'string') throw new Error('the answer to INFO is not a string')
  const fields = parseLines(answer)
  const { role } = fields
  if (role !== 'master' && role !== 'slave') throw fieldError('role', role)
  const missing = NEEDED[role].find((name) => fields[name] === undefined)
  if (missing !== undefined) throw fieldError(missing, undefined)
  return { role, fields }
}

/** Parses lines `name:value`. */
export function parseLines(answer: string): Fields {
  return toObject(answer.split(/\r?\n/), ':')
}

/** What a leader says of itself. */
const LEADER = {
  master_replid: required(text),
  /** How much it has written. */
  master_repl_offset: required(integer),
}

/** A leader's position, and the history that it belongs to. */
export interface Position {
  readonly id: string
  readonly offset: bigint
  /** The history that it continued when it was promoted or restarted, and the first offset that it does not have of it. */
  readonly formerId: string | undefined
  readonly formerEnd: bigint | undefined
}

/** @throws Error that names the field that is invalid. */
export function positionOf({ fields }: Info): Position {
  const { master_replid: id, master_repl_offset: offset } = parseFields(LEADER, fields)
  // Without a former history, the offset is -1.
  const formerEnd = integer(fields['second_repl_offset'])
  return { id, offset, formerId: fields['master_replid2'], formerEnd }
}

/** A replica that a leader sees. */
export interface Row {
  readonly address: string
  /** What it has acknowledged. It is `undefined` while it synchronizes. */
  readonly offset: bigint | undefined
  /** Whether this is the second connection of a replica that synchronizes. */
  readonly isSecond: boolean
}

/** The fields of a row `slaveN`. */
const ROW = {
  ip: required(text),
  port: required(integer),
  state: required(text),
}
const ONLINE = { offset: required(integer) }

/** Parses the rows of the replicas that a leader sees. Adds what is wrong with those that are invalid. */
export function parseRows({ fields }: Info, problems: string[]): Row[] {
  return rowsOf(fields).flatMap(([name, value]): Row[] => {
    const row = toObject(value.split(','), '=')
    try {
      const { ip, port, state } = parseFields(ROW, row)
      // Tools such as `redis-cli --replica` have no port.
      if (port === 0n) return []
      const isSecond = row['type'] === 'rdb-channel'
      const offset = state === 'online' && !isSecond ? parseFields(ONLINE, row).offset : undefined
      return [{ address: `${ip}:${port}`, offset, isSecond }]
    } catch (error) {
      problems.push(`row ${name} cannot be read: ${(error as Error).message}`)
      return []
    }
  })
}

/** Returns the rows of replicas, with their names. */
export function rowsOf(fields: Fields): [name: string, value: string][] {
  return Object.entries(fields).filter(([name]) => /^slave\d+$/.test(name))
}

/** Lines `name:value`, or parts `name=value`, as an object. */
function toObject(lines: readonly string[], separator: string): Fields {
  const pairs = lines.flatMap((line) => {
    const at = line.indexOf(separator)
    return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : []
  })
  return Object.fromEntries(pairs)
}
