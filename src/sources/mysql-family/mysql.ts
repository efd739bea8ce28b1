import { checkOptions, type MysqlSourceOptions as SourceOptions } from './clients.js'
import { Family, type LostNode } from './family.js'
import { sizeOf, subtract, union, type GtidSet } from './gtid-set.js'
import { askMysql } from './mysql-answer.js'
import { readFollower, writtenKeys } from './mysql-followers.js'
import type { ReplicationSource } from '../source.js'

export type { MysqlClient } from './clients.js'

/** A follower, as the `filter` option sees it. */
export interface MysqlFollower {
  /** Its name in the option `nodes`. */
  readonly replica: string
}

/** Options of {@link mysqlSource}. */
export type MysqlSourceOptions = SourceOptions<MysqlFollower>

/**
 * Reads the nodes of a system that replicates with GTIDs, or of a replication group. It needs MySQL 5.7 or newer.
 *
 * The leader seqno is the number of transactions in the `gtid_executed` of the leader. The applied seqno is how many of these
 * a follower has.
 *
 * @throws TypeError that names the invalid option.
 */
export function mysqlSource(options: MysqlSourceOptions): ReplicationSource {
  const { nodes, shard, name, passes } = checkOptions('mysql', options)
  const family = new Family(
    {
      title: 'MySQL',
      ask: askMysql,
      isAhead: (state, other) => writtenKeys(state, other).length > 0,
      idName: 'server_uuid',
      grant:
        'GRANT SELECT ON performance_schema.replication_connection_status TO it, and on replication_group_members if they are in a group',
      readOnly: 'super_read_only',
    },
    nodes,
  )
  const epochs = new Epochs()
  return {
    name,
    async read(signal, timeoutMillis) {
      const { leader, isCascading, others, problem } = await family.read(signal, timeoutMillis)
      const common = { shard, ...(problem !== undefined && { problem }) }
      const reported = others.filter(({ replica }) => passes({ replica }))
      if (!leader) {
        const followers = reported.map((found) => (found as LostNode).lost)
        return { complete: true, shards: [{ ...common, followers }] }
      }
      const { executed, mode } = leader
      if (!mode.startsWith('ON')) {
        const isAurora = others.some((found) => 'answer' in found && found.answer.isStorageReader)
        const reason = isAurora
          ? 'other nodes read its storage (innodb_read_only), as readers of Aurora do: watch AuroraReplicaLag instead'
          : 'the source needs GTIDs'
        throw new Error(`MySQL leader ${leader.name}: its gtid_mode is ${mode}: ${reason}`)
      }
      const { epoch, lost } = epochs.add(executed)
      const followers = reported.map((found) =>
        'lost' in found ? found.lost : readFollower(found, leader, lost),
      )
      const cascading = isCascading && { cascading: true }
      const leaderSeqno = sizeOf(executed)
      return {
        complete: true,
        shards: [{ ...common, leaderSeqno, epoch, ...cascading, followers }],
      }
    },
  }
}

/** Numbers the epochs of a log, by the transactions that its leaders have had. */
class Epochs {
  private last: GtidSet = new Map()
  private lost: GtidSet = new Map()
  private epoch = 0

  /** @returns the epoch, and the transactions that a leader once had and that the leader does not have now. */
  add(executed: GtidSet): { epoch: string; lost: GtidSet } {
    const missing = subtract(this.last, executed)
    if (missing.size > 0) this.epoch++
    this.lost = subtract(union([this.lost, missing]), executed)
    this.last = executed
    return { epoch: String(this.epoch), lost: this.lost }
  }
}
