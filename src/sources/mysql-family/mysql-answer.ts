import { parseSeqno } from '../../lag-map/seqno.js'
import { integer, optional, parseFields, required, text } from '../shared/fields.js'
import {
  askBoth,
  queryReplication,
  queryVariables,
  type MysqlClient,
  type ReplicationRows,
} from './clients.js'
import { flag, parseColumns, string } from './columns.js'
import { parseGtidSet, sizeOf, type GtidSet } from './gtid-set.js'
import type { Link, ServerState } from './topology.js'

/** What a server says of itself. */
export interface MysqlState extends ServerState {
  readonly mode: string
  /** What it has committed, and what it is about to commit. */
  readonly executed: GtidSet
  readonly owned: GtidSet | undefined
  /** Whether it reads the storage of another server, as a reader of Aurora. */
  readonly isStorageReader: boolean
  readonly links: readonly Channel[] | undefined
  /** What it has received as a member of a group, even if it is not an active one now, and whether it could say if it is. */
  readonly membership: (Pick<Channel, 'received'> & { readonly isSeen: boolean }) | undefined
}

/** A channel of replication. */
export interface Channel extends Link {
  readonly received: GtidSet | undefined
  readonly problem: string | undefined
}

// What is about to be committed comes first: a transaction that is not in this list yet is not on any follower either.
const STATE = `select cast(@@global.gtid_owned as char) as gtid_owned,
  cast(@@global.gtid_executed as char) as gtid_executed,
  @@global.server_uuid as server_uuid, @@global.gtid_mode as gtid_mode,
  concat(@@global.hostname, ':', @@global.port) as address,
  cast(@@global.read_only as char) as read_only,
  cast(@@global.innodb_read_only as char) as innodb_read_only`

const CHANNELS = `select channel_name as channel_name, group_name as group_name, source_uuid as source_uuid,
  service_state as service_state, cast(last_error_number as char) as last_error_number,
  cast(received_transaction_set as char) as received_transaction_set
  from performance_schema.replication_connection_status`

// The channel of a group stays on after an error, and while the member has lost contact with most others.
const MEMBER = `select max(case when member_id = @@server_uuid then member_state end) as member_state,
  cast(2 * sum(member_state <> 'UNREACHABLE') > count(*) as char) as has_majority
  from performance_schema.replication_group_members`

const lowerCase = (value: unknown) => string(value)?.toLowerCase()

/** A GTID set that can be counted. */
const gtidSet = (value: unknown) => {
  const set = parseGtidSet(value)
  return set && parseSeqno(sizeOf(set)) !== undefined ? set : undefined
}

/** As `uuid:5#12:6#13`, with the threads that own them. */
const ownedSet = (value: unknown) => gtidSet(string(value)?.replace(/#\d+/g, ''))

const NEEDED = {
  server_uuid: required(text),
  gtid_mode: required(text),
  gtid_executed: required(gtidSet),
}

const MORE = {
  gtid_owned: optional(ownedSet),
  address: optional(string),
  read_only: optional(flag),
  innodb_read_only: optional(flag),
}

const CHANNEL = {
  channel_name: optional(string),
  group_name: optional(lowerCase),
  source_uuid: required(lowerCase),
  service_state: required(text),
  last_error_number: required(integer),
  received_transaction_set: required(gtidSet),
}

const MEMBERSHIP = { member_state: required(text), has_majority: required(flag) }

/** Asks a node for its position and from where it replicates. See {@link askBoth}. */
export async function askMysql(client: MysqlClient, isLeader: boolean): Promise<MysqlState> {
  const [row, answer] = await askBoth(
    isLeader,
    () =>
      queryVariables(client, STATE, (version) =>
        /mariadb/i.test(version)
          ? 'use mariadbSource for MariaDB'
          : 'mysqlSource needs MySQL 5.7 or newer',
      ),
    async () => {
      const replication = await queryReplication(client, CHANNELS)
      const rows = replication.rows?.map(parseChannel)
      const member = rows?.find(({ group }) => group !== '')
      const membership = member?.isOn ? await queryReplication(client, MEMBER) : undefined
      return { replication, rows, member, membership }
    },
  )
  const { replication, rows, member, membership } = answer
  const { server_uuid, gtid_mode, gtid_executed } = parseFields(NEEDED, row)
  const problems = replication.problem === undefined ? [] : [replication.problem]
  const more = parseColumns(MORE, row, problems)
  const isStorageReader = more.innodb_read_only === true
  const isActive = membership !== undefined && isActiveMember(membership, problems)
  // It cannot commit.
  const hasLostContact = membership !== undefined && !isActive
  return {
    id: server_uuid.toLowerCase(),
    address: more.address ?? '',
    mode: gtid_mode,
    executed: gtid_executed,
    owned: more.gtid_owned,
    isReadOnly: isStorageReader || hasLostContact || more.read_only,
    isStorageReader,
    links: rows?.filter(
      ({ name, group }) => group === '' && !name.startsWith('group_replication_'),
    ),
    group: isActive ? member?.group : undefined,
    membership: member && { received: member.received, isSeen: membership?.rows !== undefined },
    isHidden: replication.isHidden === true || membership?.isHidden === true,
    problems,
  }
}

function isActiveMember(membership: ReplicationRows, problems: string[]): boolean {
  if (membership.rows) {
    const { member_state: state, has_majority } = parseColumns(
      MEMBERSHIP,
      membership.rows[0],
      problems,
    )
    return has_majority !== false && (state === 'ONLINE' || state === 'RECOVERING')
  }
  if (membership.problem !== undefined) problems.push(membership.problem)
  return true
}

function parseChannel(row: unknown) {
  const problems: string[] = []
  const columns = parseColumns(CHANNEL, row, problems)
  const { service_state: state, last_error_number: error } = columns
  if (state !== 'ON' && problems.length === 0) {
    problems.push(`its receiver is ${state}, last error ${error}`)
  }
  return {
    name: columns.channel_name ?? '',
    group: columns.group_name ?? '',
    leader: columns.source_uuid ?? '',
    isOn: state === 'ON',
    isStopped: state === 'OFF',
    received: columns.received_transaction_set,
    problem: problems.length === 0 ? undefined : problems.join(', '),
  }
}
