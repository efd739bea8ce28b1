import { integer, parseFields, required, text } from '../shared/fields.js'
import { queryIfAllowed, queryRows, type Identity, type MysqlClient } from './clients.js'

/** `domain-server-seqno`. */
export interface Gtid {
  readonly domain: string
  readonly server: string
  readonly seqno: bigint
}

/** What a server says of itself. */
export interface ServerState extends Identity {
  /** Its position: one GTID for each domain. */
  readonly position: ReadonlyMap<string, Gtid>
  /** The last GTID of each domain and server in its binary log, by `domain-server`. */
  readonly written: ReadonlyMap<string, Gtid>
}

/** What a follower says of itself. */
export interface FollowerState extends ServerState {
  /** Its links to its leaders. They are unknown without the right to see them. */
  readonly links?: readonly Link[] | undefined
}

/** A row of `show all slaves status`. */
export type Link = ReturnType<typeof parseLink>

const POSITIONS = `cast(@@global.server_id as char) as server_id,
  concat(@@global.hostname, ':', @@global.port) as address,
  cast(@@global.gtid_binlog_state as char) as gtid_binlog_state`
const LEADER = `select ${POSITIONS}, cast(@@global.gtid_binlog_pos as char) as gtid_binlog_pos,
  cast(@@global.log_bin as char) as log_bin`
const FOLLOWER = `select ${POSITIONS}, cast(@@global.gtid_slave_pos as char) as gtid_slave_pos`

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
const byDomain = required((value) => {
  const list = gtids(value)
  const map = list && new Map(list.map((gtid) => [gtid.domain, gtid]))
  return map?.size === list?.length ? map : undefined
})

const byDomainAndServer = required((value) => {
  const list = gtids(value)
  return list && new Map(list.map((gtid) => [`${gtid.domain}-${gtid.server}`, gtid]))
})

const numbers = required((value): readonly string[] | undefined =>
  typeof value === 'string' && /^[\d, ]*$/.test(value) ? (value.match(/\d+/g) ?? []) : undefined,
)

const STATE = {
  server_id: required(integer),
  address: required(text),
  gtid_binlog_state: byDomainAndServer,
}

export async function askLeader(client: MysqlClient): Promise<ServerState> {
  const [row] = await queryRows(client, LEADER)
  const fields = { ...STATE, gtid_binlog_pos: byDomain, log_bin: required(text) }
  const { gtid_binlog_pos: position, log_bin, ...state } = parseFields(fields, row)
  if (position.size === 0) {
    const isOn = log_bin === '1' || log_bin === 'ON'
    const reason = isOn ? 'nothing was written yet' : 'its binary log is off: start it with log_bin'
    throw new Error(`its gtid_binlog_pos is empty: ${reason}`)
  }
  return toState(state, position)
}

export async function askFollower(client: MysqlClient): Promise<FollowerState> {
  const [row] = await queryRows(client, FOLLOWER)
  const fields = { ...STATE, gtid_slave_pos: byDomain }
  const { gtid_slave_pos: position, ...state } = parseFields(fields, row)
  const rows = await queryIfAllowed(client, 'show all slaves status')
  return { ...toState(state, position), links: rows?.map(parseLink) }
}

function toState(
  { server_id, address, gtid_binlog_state }: ReturnType<typeof parseFields<typeof STATE>>,
  position: ServerState['position'],
): ServerState {
  return { id: String(server_id), address, position, written: gtid_binlog_state }
}

function parseLink(row: unknown) {
  return parseFields(
    {
      Master_Server_Id: required(integer),
      Slave_IO_Running: required(text),
      Slave_SQL_Running: required(text),
      Last_IO_Errno: required(integer),
      Last_SQL_Errno: required(integer),
      Gtid_IO_Pos: byDomain,
      Replicate_Do_Domain_Ids: numbers,
      Replicate_Ignore_Domain_Ids: numbers,
    },
    row,
  )
}
