import type { Row } from './fakes.js'

/** The answers of MariaDB 10.11, as they were recorded. */
export const LEADER: Row = {
  gtid_slave_pos: '',
  gtid_binlog_pos: '0-1-107',
  gtid_binlog_state: '0-1-107',
  server_id: '1',
  address: 'db:3306',
  gtid_domain_id: '0',
  log_bin: 'ON',
  read_only: 'OFF',
}

/** A leader that has two domains, and had another leader before. */
export const DOMAINS: Row = {
  ...LEADER,
  gtid_binlog_state: '0-9-40,0-1-107,7-1-2',
  gtid_binlog_pos: '0-1-107,7-1-2',
}

/** A follower that has not applied the last 100 transactions. */
export const FOLLOWER: Row = {
  ...LEADER,
  gtid_slave_pos: '0-1-7',
  gtid_binlog_pos: '0-1-7',
  gtid_binlog_state: '0-1-7',
  server_id: '2',
  address: 'db:3307',
  read_only: 'ON',
}

/** A follower that was written to. */
export const ERRANT: Row = { ...FOLLOWER, gtid_binlog_state: '0-1-7,0-2-8' }

/** Its link to its leader. It has received all but one of them. */
export const LINK: Row = {
  Connection_name: '',
  Slave_SQL_State: 'Slave has read all relay log; waiting for more updates',
  Slave_IO_State: 'Waiting for master to send event',
  Master_Host: '127.0.0.1',
  Slave_IO_Running: 'Yes',
  Slave_SQL_Running: 'Yes',
  Seconds_Behind_Master: 0,
  Last_IO_Errno: 0,
  Last_SQL_Errno: 0,
  Master_Server_Id: 1,
  Using_Gtid: 'Slave_Pos',
  Gtid_IO_Pos: '0-1-106',
  Replicate_Do_Domain_Ids: '',
  Replicate_Ignore_Domain_Ids: '',
  Gtid_Slave_Pos: '0-1-7',
}
