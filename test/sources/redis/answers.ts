// Answers to INFO replication of Redis 7.0.15, as they came.

const HISTORY = 'e11f1d609cdbc8025f135a2230dd6abab4c19a07'

const BACKLOG = [
  'master_failover_state:no-failover',
  `master_replid:${HISTORY}`,
  'master_replid2:0000000000000000000000000000000000000000',
  'master_repl_offset:151',
  'second_repl_offset:-1',
  'repl_backlog_active:1',
  'repl_backlog_size:1048576',
  'repl_backlog_first_byte_offset:1',
  'repl_backlog_histlen:151',
  '',
]

const toAnswer = (...lines: string[]) => ['# Replication', ...lines, ...BACKLOG].join('\r\n')

export const LEADER = toAnswer(
  'role:master',
  'connected_slaves:1',
  'slave0:ip=127.0.0.1,port=37102,state=online,offset=151,lag=0',
)

/** While `redis-cli --replica` runs too. */
export const LEADER_WITH_TOOL = toAnswer(
  'role:master',
  'connected_slaves:2',
  'slave0:ip=127.0.0.1,port=37102,state=online,offset=151,lag=0',
  'slave1:ip=127.0.0.1,port=0,state=online,offset=0,lag=1',
)

export const REPLICA = toAnswer(
  'role:slave',
  'master_host:127.0.0.1',
  'master_port:37101',
  'master_link_status:up',
  'master_last_io_seconds_ago:1',
  'master_sync_in_progress:0',
  'slave_read_repl_offset:151',
  'slave_repl_offset:151',
  'slave_priority:100',
  'slave_read_only:1',
  'replica_announced:1',
  'connected_slaves:0',
)

/** After its leader was killed. */
export const REPLICA_ALONE = toAnswer(
  'role:slave',
  'master_host:127.0.0.1',
  'master_port:37101',
  'master_link_status:down',
  'master_last_io_seconds_ago:-1',
  'master_sync_in_progress:0',
  'slave_read_repl_offset:151',
  'slave_repl_offset:151',
  'master_link_down_since_seconds:2',
  'slave_priority:100',
  'slave_read_only:1',
  'replica_announced:1',
  'connected_slaves:0',
)

/** After it was promoted. */
export const PROMOTED = [
  '# Replication',
  'role:master',
  'connected_slaves:0',
  'master_failover_state:no-failover',
  'master_replid:9ebff28804d582f5055095f1704fa2720519cfa5',
  `master_replid2:${HISTORY}`,
  'master_repl_offset:151',
  'second_repl_offset:152',
  'repl_backlog_active:1',
  'repl_backlog_size:1048576',
  'repl_backlog_first_byte_offset:1',
  'repl_backlog_histlen:151',
  '',
].join('\r\n')

export { HISTORY }

/** Changes a field of an answer. */
export function edit(answer: string, field: string, value: string): string {
  const changed = answer.replace(new RegExp(`(?<=^|\\n)${field}:[^\\r]*`), `${field}:${value}`)
  if (changed === answer) throw new Error(`${field} is not in the answer, or is ${value} already`)
  return changed
}
