import type { Row } from './fakes.js'

export const LEADER_UUID = 'f1ccbf41-e929-11f1-8ec3-02fc00000001'
export const FOLLOWER_UUID = 'f1f380de-e929-11f1-a735-02fc00000001'

/** The answers of MySQL 9.7, as they were recorded. */
export const LEADER: Row = {
  gtid_owned: '',
  gtid_executed: `${LEADER_UUID}:1-108:blue:1-3`,
  server_uuid: LEADER_UUID,
  gtid_mode: 'ON',
  address: 'db:3306',
  read_only: '0',
  innodb_read_only: '0',
}

/** A follower that has not applied the last 100 transactions. */
export const FOLLOWER: Row = {
  gtid_owned: '',
  gtid_executed: `${LEADER_UUID}:1-8:blue:1-3`,
  server_uuid: FOLLOWER_UUID,
  gtid_mode: 'ON',
  address: 'db:3307',
  read_only: '1',
  innodb_read_only: '0',
}

/** It has received all but one of them since it was started. */
export const CHANNEL: Row = {
  channel_name: '',
  group_name: '',
  source_uuid: LEADER_UUID,
  service_state: 'ON',
  last_error_number: '0',
  received_transaction_set: `${LEADER_UUID}:9-107`,
}

/** A follower that was written to. */
export const ERRANT: Row = {
  ...FOLLOWER,
  gtid_executed: `${LEADER_UUID}:1-8:blue:1-3,\n${FOLLOWER_UUID}:1`,
}

/** What a member of a replication group says of that group. The first row is there whether it is used or not. */
export const GROUP = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'
export const MEMBERSHIP: readonly Row[] = [
  {
    channel_name: 'group_replication_recovery',
    group_name: '',
    source_uuid: '',
    service_state: 'OFF',
    last_error_number: '0',
    received_transaction_set: '',
  },
  {
    channel_name: 'group_replication_applier',
    group_name: GROUP,
    source_uuid: GROUP,
    service_state: 'ON',
    last_error_number: '0',
    received_transaction_set: `${GROUP}:1-27`,
  },
]
