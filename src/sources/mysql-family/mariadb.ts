import { checkOptions, type MysqlSourceOptions as SourceOptions } from './clients.js'
import { Family, type LostNode } from './family.js'
import { askMariadb, type Gtid, type MariadbState } from './mariadb-answer.js'
import { ignores, isAhead, readFollower } from './mariadb-followers.js'
import type { ReplicationSource, ShardReading } from '../source.js'

export type { MysqlClient } from './clients.js'

/** A follower in one GTID domain, as the `filter` option sees it. */
export interface MariadbFollower {
  /** Its name in the option `nodes`. */
  readonly replica: string
  /** The GTID domain, as in `0-1-100`: 0 unless several are used. */
  readonly domain: string
}

/** Options of {@link mariadbSource}. */
export type MariadbSourceOptions = SourceOptions<MariadbFollower>

/**
 * Reads the nodes of a system that replicates with GTIDs. It needs MariaDB 10.2 or newer.
 *
 * The leader seqno is the sequence number of the leader's `gtid_binlog_pos`. The applied seqno is that of a follower's
 * `gtid_slave_pos`. With several GTID domains, each is a separate shard: `shard/domain`.
 *
 * @throws TypeError that names the invalid option.
 */
export function mariadbSource(options: MariadbSourceOptions): ReplicationSource {
  const { nodes, shard, name, passes } = checkOptions('mariadb', options)
  const family = new Family(
    {
      title: 'MariaDB',
      ask: askMariadb,
      isAhead,
      idName: 'server_id',
      grant: 'GRANT REPLICA MONITOR ON *.* TO it (before 10.5 REPLICATION CLIENT)',
      readOnly: 'read_only',
    },
    nodes,
  )
  const domains = new Map<string, Epochs>()
  const epochsOf = (domain: string) => {
    const epochs = domains.get(domain) ?? new Epochs()
    domains.set(domain, epochs)
    return epochs
  }

  return {
    name,
    async read(signal, timeoutMillis) {
      const { leader, isCascading, others, any, problem } = await family.read(signal, timeoutMillis)
      if (leader) checkLeader(leader, leader.name)
      const gtids = positionOf(any)
      const shards = gtids.map((gtid): ShardReading => {
        const { domain } = gtid
        const reported = others.filter(
          (found) =>
            !('answer' in found && ignores(found.answer, domain)) &&
            passes({ replica: found.replica, domain }),
        )
        const common = {
          shard: gtids.length === 1 ? shard : `${shard}/${domain}`,
          ...(problem !== undefined && { problem }),
        }
        if (!leader) {
          const followers = reported.map((found) => (found as LostNode).lost)
          return { ...common, followers }
        }
        return {
          ...common,
          leaderSeqno: gtid.seqno,
          epoch: epochsOf(domain).add(gtid, leader),
          ...(isCascading && { cascading: true }),
          followers: reported.map((found) =>
            'lost' in found ? found.lost : readFollower(found, leader, gtid),
          ),
        }
      })
      return { complete: true, shards }
    },
  }
}

/** @throws Error that says why a leader has no position. */
function checkLeader({ binlog, hasBinlog, leaderProblems }: MariadbState, name: string): void {
  const title = `MariaDB leader ${name}`
  if (!binlog) throw new Error(`${title}: ${leaderProblems.join(', ')}`)
  if (binlog.size > 0 || hasBinlog) return
  throw new Error(
    `${title}: its gtid_binlog_pos is empty: its binary log is off: start it with log_bin`,
  )
}

/** Returns the last GTID of each domain. A server that has written nothing yet is at the start of its domain. */
function positionOf({ binlog, domain, id }: MariadbState): Gtid[] {
  const gtids = [...(binlog?.values() ?? [])]
  return gtids.length > 0 ? gtids : [{ domain, server: id, seqno: 0n }]
}

/** Numbers the epochs of one domain. */
class Epochs {
  private last: Gtid | undefined
  private epoch = 0

  /** @returns the epoch. It changes when a leader does not have what a leader had before. */
  add(gtid: Gtid, { written }: MariadbState): string {
    const { last } = this
    if (last) {
      const known = written.get(`${last.domain}-${last.server}`)
      if (gtid.seqno < last.seqno || (known && known.seqno < last.seqno)) this.epoch++
    }
    this.last = gtid
    return `${gtid.domain}.${this.epoch}`
  }
}
