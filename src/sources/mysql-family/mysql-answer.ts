import { parseSeqno } from '../../lag-map/seqno.js'
import { integer, parseFields, required, text } from '../shared/fields.js'
import { queryIfAllowed, queryRows, type Identity, type MysqlClient } from './clients.js'
import { parseGtidSet, sizeOf, type GtidSet } from './gtid-set.js'

/** What a server says of itself. */
export interface ServerState extends Identity {
  readonly mode: string
  readonly executed: GtidSet
}

/** What a follower says of itself. */
export interface FollowerState extends ServerState {
  /** Its connections to its sources. They are unknown without the right to see them. */
  readonly channels?: readonly Channel[] | undefined
}

/** A row of `performance_schema.replication_connection_status`. */
export type Channel = ReturnType<typeof parseFields<typeof CHANNEL_COLUMNS>>

const STATE = `select @@global.server_uuid as server_uuid, @@global.gtid_mode as gtid_mode,
  cast(@@global.gtid_executed as char) as gtid_executed,
  concat(@@global.hostname, ':', @@global.port) as address`

const CHANNELS = `select source_uuid as source_uuid, service_state as service_state,
  cast(last_error_number as char) as last_error_number,
  cast(received_transaction_set as char) as received_transaction_set
  from performance_schema.replication_connection_status`

/** A GTID set that can be counted. */
const gtidSet = required((value) => {
  const set = parseGtidSet(value)
  return set && parseSeqno(sizeOf(set)) !== undefined ? set : undefined
})

const STATE_COLUMNS = {
  server_uuid: required(text),
  gtid_mode: required(text),
  gtid_executed: gtidSet,
  address: required(text),
}

const CHANNEL_COLUMNS = {
  source_uuid: required((value) => (typeof value === 'string' ? value.toLowerCase() : undefined)),
  service_state: required(text),
  last_error_number: required(integer),
  received_transaction_set: gtidSet,
}

async function askState(client: MysqlClient): Promise<ServerState> {
  const [row] = await queryRows(client, STATE)
  const { server_uuid, gtid_mode, gtid_executed, address } = parseFields(STATE_COLUMNS, row)
  return { id: server_uuid.toLowerCase(), address, mode: gtid_mode, executed: gtid_executed }
}

export async function askLeader(client: MysqlClient): Promise<ServerState> {
  const state = await askState(client)
  const { mode, executed } = state
  if (!mode.startsWith('ON')) throw new Error(`its gtid_mode is ${mode}: the source needs GTIDs`)
  if (executed.size === 0) throw new Error('its gtid_executed is empty: nothing was written yet')
  return state
}

export async function askFollower(client: MysqlClient): Promise<FollowerState> {
  const state = await askState(client)
  const rows = await queryIfAllowed(client, CHANNELS)
  return { ...state, channels: rows?.map((row) => parseFields(CHANNEL_COLUMNS, row)) }
}
