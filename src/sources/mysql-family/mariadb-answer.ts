import { integer, optional, parseFields, required, text } from '../shared/fields.js'
import { askBoth, queryReplication, queryVariables, type MysqlClient } from './clients.js'
import { flag, parseColumns, string } from './columns.js'
import type { Link, ServerState } from './topology.js'

/** `domain-server-seqno`. */
export interface Gtid {
  readonly domain: string
  readonly server: string
  readonly seqno: bigint
}

/** One GTID for each domain. */
export type Position = ReadonlyMap<string, Gtid>

/** What a server says of itself. */
export interface MariadbState extends ServerState {
  /** The last GTID in its binary log. `undefined` if it cannot be read. */
  readonly binlog: Position | undefined
  /** The last GTID that it has replicated. `undefined` if it cannot be read. */
  readonly slave: Position | undefined
  /** The last GTID of each domain and server in its binary log, by `domain-server`. */
  readonly written: ReadonlyMap<string, Gtid>
  readonly hasBinlog: boolean
  /** The domain of what it writes. */
  readonly domain: string
  readonly links: readonly MariadbLink[] | undefined
  /** What could not be read that only a leader needs. */
  readonly leaderProblems: readonly string[]
}

/** A row of `show all slaves status`. */
export interface MariadbLink extends Link {
  readonly received: Position
  /** Whether it leaves out a domain. */
  ignores(domain: string): boolean
  readonly problem: string | undefined
}

const STATE = `select cast(@@global.gtid_slave_pos as char) as gtid_slave_pos,
  cast(@@global.gtid_binlog_pos as char) as gtid_binlog_pos,
  cast(@@global.gtid_binlog_state as char) as gtid_binlog_state,
  cast(@@global.server_id as char) as server_id, concat(@@global.hostname, ':', @@global.port) as address,
  cast(@@global.gtid_domain_id as char) as gtid_domain_id, cast(@@global.log_bin as char) as log_bin,
  cast(@@global.read_only as char) as read_only`

const GTID = /^(\d{1,10})-(\d{1,10})-(\d{1,20})$/

function gtids(value: unknown): Gtid[] | undefined {
  if (typeof value !== 'string') return undefined
  const parts = value.replace(/\s+/g, '').split(',')
  const list: Gtid[] = []
  for (const part of parts.filter((each) => each !== '')) {
    const [, domain = '', server = '', sequence] = GTID.exec(part) ?? []
    const seqno = integer(sequence)
    if (seqno === undefined) return undefined
    list.push({ domain: String(BigInt(domain)), server: String(BigInt(server)), seqno })
  }
  return list
}

/** A list with one GTID for each domain. */
function byDomain(value: unknown): Position | undefined {
  const list = gtids(value)
  const map = list && new Map(list.map((gtid) => [gtid.domain, gtid]))
  return map?.size === list?.length ? map : undefined
}

function byDomainAndServer(value: unknown): ReadonlyMap<string, Gtid> | undefined {
  const list = gtids(value)
  return list && new Map(list.map((gtid) => [`${gtid.domain}-${gtid.server}`, gtid]))
}

function numbers(value: unknown): readonly string[] | undefined {
  return typeof value === 'string' && /^[\d, ]*$/.test(value)
    ? (value.match(/\d+/g) ?? [])
    : undefined
}

const NEEDED = { server_id: required(integer) }

const AS_LEADER = { gtid_binlog_pos: required(byDomain) }
const AS_FOLLOWER = { gtid_slave_pos: required(byDomain) }

const MORE = {
  gtid_binlog_state: required(byDomainAndServer),
  gtid_domain_id: optional(integer),
  log_bin: optional(flag),
  address: optional(string),
  read_only: optional(flag),
}

const LINK = {
  Master_Server_Id: required(integer),
  Master_Host: optional(string),
  Master_Port: optional(integer),
  Slave_IO_Running: required(text),
  Slave_SQL_Running: required(text),
  Last_IO_Errno: required(integer),
  Last_SQL_Errno: required(integer),
  Gtid_IO_Pos: required(byDomain),
  Replicate_Do_Domain_Ids: required(numbers),
  Replicate_Ignore_Domain_Ids: required(numbers),
}

/** Asks a node for its position and from where it replicates. See {@link askBoth}. */
export async function askMariadb(client: MysqlClient, isLeader: boolean): Promise<MariadbState> {
  const [row, replication] = await askBoth(
    isLeader,
    () =>
      queryVariables(client, STATE, (version) =>
        /mariadb/i.test(version)
          ? 'mariadbSource needs MariaDB 10.2 or newer'
          : 'use mysqlSource for MySQL',
      ),
    () => queryReplication(client, 'show all slaves status'),
  )
  const { server_id } = parseFields(NEEDED, row)
  const leaderProblems: string[] = []
  const problems = replication.problem === undefined ? [] : [replication.problem]
  const { gtid_binlog_pos } = parseColumns(AS_LEADER, row, leaderProblems)
  const { gtid_slave_pos } = parseColumns(AS_FOLLOWER, row, problems)
  const more = parseColumns(MORE, row, problems)
  return {
    id: String(server_id),
    address: more.address ?? '',
    isReadOnly: more.read_only,
    binlog: gtid_binlog_pos,
    slave: gtid_slave_pos,
    written: more.gtid_binlog_state ?? new Map(),
    hasBinlog: more.log_bin !== false,
    domain: String(more.gtid_domain_id ?? 0),
    links: replication.rows?.map(parseLink),
    isHidden: replication.isHidden === true,
    leaderProblems,
    problems,
  }
}

function parseLink(row: unknown): MariadbLink {
  const problems: string[] = []
  const columns = parseColumns(LINK, row, problems)
  const { Master_Server_Id: id = 0n, Slave_IO_Running: io, Slave_SQL_Running: sql } = columns
  const included = columns.Replicate_Do_Domain_Ids ?? []
  const excluded = columns.Replicate_Ignore_Domain_Ids ?? []
  if (problems.length > 0) {
    // It names what cannot be read.
  } else if (io !== 'Yes') {
    problems.push(`its IO thread is not connected (${io}), last error ${columns.Last_IO_Errno}`)
  } else if (sql !== 'Yes') {
    problems.push(`its SQL thread does not run, last error ${columns.Last_SQL_Errno}`)
  }
  return {
    leader: id === 0n ? '' : String(id),
    address: `${columns.Master_Host}:${columns.Master_Port}`,
    isOn: io === 'Yes',
    isStopped: io === 'No',
    received: columns.Gtid_IO_Pos ?? new Map(),
    ignores: (domain) =>
      included.length > 0 ? !included.includes(domain) : excluded.includes(domain),
    problem: problems.length > 0 ? problems.join(', ') : undefined,
  }
}
