import type {
  ReplicationReading,
  ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import {
  mysqlSource,
  type MysqlSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { expect } from 'vitest'

/** A row of an answer, as clients return it. */
export type Row = Readonly<Record<string, unknown>>

/** A client whose server answers with what was recorded, in the form of mysql2 or of mariadb. */
export class FakeClient {
  readonly queries: string[] = []
  /** Thrown by the next queries. */
  error: unknown
  /** The answer to the question whether it is in a Galera cluster, or the error. */
  galera: unknown = []
  /** The answer to the question for its state in a replication group, or the error. */
  member: unknown = [{ member_state: 'ONLINE', has_majority: '1' }]

  /**
   * @param states the answers to the question for its positions, one after another. The last one is repeated.
   * @param links the answer to the question for its connections, or the error. `null` is an error too
   */
  constructor(
    readonly states: unknown[],
    public links: unknown = [],
    readonly form: 'mysql2' | 'mariadb' = 'mysql2',
  ) {}

  async query(sql: string): Promise<unknown> {
    this.queries.push(sql)
    await Promise.resolve()
    if (this.error !== undefined) throw this.error as Error
    if (sql.includes('wsrep')) return this.answer(this.galera)
    if (sql.includes('replication_group_members')) return this.answer(this.member)
    const isState = sql.includes('@@global')
    const [state] = this.states.length > 1 && isState ? this.states.splice(0, 1) : this.states
    return this.answer(isState ? [state] : this.links)
  }

  private answer(rows: unknown): unknown {
    if (rows instanceof Error || rows === null) throw rows as Error
    return this.form === 'mysql2' ? [rows, []] : rows
  }
}

/** A client whose server answers as `answering` does, and hangs after some questions. */
export function hangAfter(count: number, answering: FakeClient) {
  let asked = 0
  return {
    query: (sql: string) =>
      ++asked > count ? new Promise<never>(() => undefined) : answering.query(sql),
  }
}

/** An error of a server, as both clients throw it. */
export function serverError(errno: number, code: string, message: string): Error {
  return Object.assign(new Error(message), { errno, code, sqlMessage: message })
}

export function read(source: ReplicationSource): Promise<ReplicationReading> {
  return source.read(new AbortController().signal)
}

/** The only shard of a reading, and its followers by name. */
export function onlyShard({ shards }: ReplicationReading) {
  const [shard, another] = shards
  if (!shard || another) throw new Error(`expected one shard, got ${shards.length}`)
  const followers = shard.followers.map((each) => [String(each.replica), each] as const)
  return { ...shard, followers: Object.fromEntries(followers) }
}

/** When a leader was read, in a reading that is compared with an expected one. */
export const AT = expect.any(Number) as number

/** What the tests of one system build its nodes from: recorded answers, and clients that give them. */
function fakesOf<Rows extends Readonly<Record<'LEADER' | 'FOLLOWER' | 'LINK', Row>>>(
  create: typeof mysqlSource | typeof mariadbSource,
  rows: Rows,
) {
  const sourceOf = (nodes: MysqlSourceOptions['nodes'], more: object = {}) =>
    create({ nodes, shard: 'a', ...more })
  const leader = (change: Row = {}, links: unknown = []) =>
    new FakeClient([{ ...rows.LEADER, ...change }], links)
  const follower = (change: Row = {}, links: unknown = [rows.LINK]) =>
    new FakeClient([{ ...rows.FOLLOWER, ...change }], links)
  /** Reads nodes once, and returns the only shard. */
  const readNodes = async (nodes: MysqlSourceOptions['nodes'], timeoutMillis?: number) =>
    onlyShard(await sourceOf(nodes).read(new AbortController().signal, timeoutMillis))
  /** Reads the only follower of a leader. */
  const readOne = async (r1: FakeClient, first = leader()) =>
    (await readNodes({ leader: first, r1 })).followers['r1']
  return { ...rows, create, sourceOf, leader, follower, readNodes, readOne }
}

const LEADER_UUID = 'f1ccbf41-e929-11f1-8ec3-02fc00000001'
const FOLLOWER_UUID = 'f1f380de-e929-11f1-a735-02fc00000001'
const GROUP = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'

const MYSQL_LEADER: Row = {
  gtid_owned: '',
  gtid_executed: `${LEADER_UUID}:1-108:blue:1-3`,
  server_uuid: LEADER_UUID,
  gtid_mode: 'ON',
  address: 'db:3306',
  read_only: '0',
  innodb_read_only: '0',
}

const MYSQL_FOLLOWER: Row = {
  ...MYSQL_LEADER,
  gtid_executed: `${LEADER_UUID}:1-8:blue:1-3`,
  server_uuid: FOLLOWER_UUID,
  address: 'db:3307',
  read_only: '1',
}

const MYSQL_LINK: Row = {
  channel_name: '',
  group_name: '',
  source_uuid: LEADER_UUID,
  service_state: 'ON',
  last_error_number: '0',
  received_transaction_set: `${LEADER_UUID}:9-107`,
}

/** MySQL 9.7, as its answers were recorded. */
export const mysql = fakesOf(mysqlSource, {
  LEADER_UUID,
  FOLLOWER_UUID,
  LEADER: MYSQL_LEADER,
  /** It has not applied the last 100 transactions. */
  FOLLOWER: MYSQL_FOLLOWER,
  /** The follower has received all but one of them since it was started. */
  LINK: MYSQL_LINK,
  /** It was written to. */
  ERRANT: {
    ...MYSQL_FOLLOWER,
    gtid_executed: `${LEADER_UUID}:1-8:blue:1-3,\n${FOLLOWER_UUID}:1`,
  },
  GROUP,
  /** What a member of a group says of that group. The first row is there whether it is used or not. */
  MEMBERSHIP: [
    {
      ...MYSQL_LINK,
      channel_name: 'group_replication_recovery',
      source_uuid: '',
      service_state: 'OFF',
      received_transaction_set: '',
    },
    {
      ...MYSQL_LINK,
      channel_name: 'group_replication_applier',
      group_name: GROUP,
      source_uuid: GROUP,
      received_transaction_set: `${GROUP}:1-27`,
    },
  ] as readonly Row[],
})

const MARIADB_LEADER: Row = {
  gtid_slave_pos: '',
  gtid_binlog_pos: '0-1-107',
  gtid_binlog_state: '0-1-107',
  server_id: '1',
  address: 'db:3306',
  gtid_domain_id: '0',
  log_bin: 'ON',
  read_only: 'OFF',
}

const MARIADB_FOLLOWER: Row = {
  ...MARIADB_LEADER,
  gtid_slave_pos: '0-1-7',
  gtid_binlog_pos: '0-1-7',
  gtid_binlog_state: '0-1-7',
  server_id: '2',
  address: 'db:3307',
  read_only: 'ON',
}

/** MariaDB 10.11, as its answers were recorded. */
export const mariadb = fakesOf(mariadbSource, {
  LEADER: MARIADB_LEADER,
  /** It has two domains, and had another leader before. */
  DOMAINS: {
    ...MARIADB_LEADER,
    gtid_binlog_state: '0-9-40,0-1-107,7-1-2',
    gtid_binlog_pos: '0-1-107,7-1-2',
  },
  /** It has not applied the last 100 transactions. */
  FOLLOWER: MARIADB_FOLLOWER,
  /** It was written to. */
  ERRANT: { ...MARIADB_FOLLOWER, gtid_binlog_state: '0-1-7,0-2-8' },
  /** Its link to its leader. It has received all but one of the transactions. */
  LINK: {
    Connection_name: '',
    Slave_SQL_State: 'Slave has read all relay log; waiting for more updates',
    Slave_IO_State: 'Waiting for master to send event',
    Slave_IO_Running: 'Yes',
    Slave_SQL_Running: 'Yes',
    Last_IO_Errno: 0,
    Last_SQL_Errno: 0,
    Master_Server_Id: 1,
    Master_Host: 'db',
    Master_Port: 3306,
    Gtid_IO_Pos: '0-1-106',
    Replicate_Do_Domain_Ids: '',
    Replicate_Ignore_Domain_Ids: '',
  },
})
