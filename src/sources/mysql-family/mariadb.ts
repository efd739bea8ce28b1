import {
  askFollower,
  askLeader,
  type FollowerState,
  type Gtid,
  type Link,
  type ServerState,
} from './mariadb-answer.js'
import {
  checkOptions,
  LeaderAndFollowers,
  splitOff,
  type MysqlSourceOptions as SourceOptions,
} from './clients.js'
import type { FollowerReading, ReplicationSource, ShardReading } from '../source.js'

export type { MysqlClient } from './clients.js'

/** A follower in one GTID domain, as the `filter` option sees it. */
export interface MariadbFollower {
  /** Its name in the option `followers`. */
  readonly replica: string
  /** The GTID domain, as in `0-1-100`: 0 unless several are used. */
  readonly domain: string
}

/** Options of {@link mariadbSource}. */
export type MariadbSourceOptions = SourceOptions<MariadbFollower>

/**
 * Reads a leader and its followers with GTIDs, MariaDB 10.2 or newer.
 *
 * The leader seqno is the sequence number of the leader's `gtid_binlog_pos`. The applied seqno is that of a follower's
 * `gtid_slave_pos`. With several GTID domains, each is a shard of its own: `shard/domain`.
 *
 * @throws TypeError that names the invalid option.
 */
export function mariadbSource(options: MariadbSourceOptions): ReplicationSource {
  const { leader, followers, shard, name, passes } = checkOptions('mariadb', options)
  const nodes = new LeaderAndFollowers('MariaDB', { leader, followers }, askLeader, askFollower)
  /** The shards of the last reading: the name of a shard depends on whether there are other domains. */
  let lastShards: readonly ShardReading[] = []

  return {
    name,
    async read(signal) {
      const answers = [...(await nodes.readFollowers(signal))]
      const newest = await nodes.readLeader(signal)
      const { others, removed, note, shared } = splitOff(newest, answers)
      const shards = [...newest.position.values()].map((gtid): ShardReading => {
        const { domain, seqno } = gtid
        const reported = others.filter(
          ([replica, { answer }]) =>
            !(answer && ignores(answer, domain)) && passes({ replica, domain }),
        )
        return {
          shard: newest.position.size === 1 ? shard : `${shard}/${domain}`,
          leaderSeqno: seqno,
          epoch: domain,
          followers: reported.map(([replica, { answer, lost }]) =>
            answer ? readFollower(replica, answer, newest, gtid, shared.has(answer.id)) : lost,
          ),
          removed,
        }
      })
      const current = new Set(shards.map((each) => each.shard))
      const gone = lastShards.filter((each) => !current.has(each.shard))
      lastShards = shards
      const none = { followers: [], removed: [...followers.keys()] }
      return { shards: [...shards, ...gone.map((each) => ({ ...each, ...none }))], ...note }
    },
  }
}

function readFollower(
  replica: string,
  follower: FollowerState,
  leader: ServerState,
  newest: Gtid,
  isShared: boolean,
): FollowerReading {
  // It can have links to several leaders. In a cascade, none is to this leader.
  const own = follower.links?.filter(({ Master_Server_Id: id }) => String(id) === leader.id)
  const links = own && own.length > 0 ? own : follower.links
  const running = links?.find(({ Slave_IO_Running }) => Slave_IO_Running === 'Yes')
  const connected = !links || running !== undefined
  const { applied, isErrant, hasDiverged } = compare(follower, leader, newest)
  const received = (links ?? []).map(({ Gtid_IO_Pos }) => Gtid_IO_Pos.get(newest.domain)?.seqno)
  const known = received.filter((seqno) => seqno !== undefined && seqno <= newest.seqno)
  const [latest] = known.sort((a = 0n, b = 0n) => Number(b > a) - Number(b < a))
  const isComparable = !isShared && !hasDiverged

  let problem = links && problemOf(running ?? links[0])
  if (isErrant || hasDiverged) {
    problem = `it has diverged: it has transactions in domain ${newest.domain} that its leader does not have`
  }
  if (isShared) problem = 'its server_id is that of another server, or its client reaches that one'
  return {
    replica,
    connected,
    ...(isComparable && applied && { appliedSeqno: applied.seqno }),
    ...(isComparable && latest !== undefined && { receivedSeqno: latest }),
    ...(problem !== undefined && { problem }),
  }
}

/** Compares what a follower has of a domain with the newest GTID of its leader. */
function compare({ id, position, written }: FollowerState, leader: ServerState, newest: Gtid) {
  const slave = position.get(newest.domain)
  // A write on a follower does not move its position, but it is in its binary log.
  const key = `${newest.domain}-${id}`
  const own = written.get(key)
  const isErrant = own !== undefined && own.seqno > (leader.written.get(key)?.seqno ?? 0n)
  // What a former leader wrote itself counts before its first transaction as a follower, too.
  const isOwnLater = own && !isErrant && own.seqno > (slave?.seqno ?? 0n)
  const applied = isOwnLater ? own : slave
  const isPast = (gtid: Gtid | undefined) =>
    gtid !== undefined &&
    (gtid.seqno > newest.seqno || (gtid.seqno === newest.seqno && gtid.server !== newest.server))
  return { applied, isErrant, hasDiverged: isPast(applied) || (isErrant && isPast(own)) }
}

/** Returns what is wrong with a link. */
function problemOf(link: Link | undefined): string | undefined {
  if (!link) return 'it is not set up as a replica'
  const { Slave_IO_Running, Slave_SQL_Running, Last_IO_Errno, Last_SQL_Errno } = link
  if (Slave_IO_Running !== 'Yes') {
    return `its IO thread is not connected (${Slave_IO_Running}), last error ${Last_IO_Errno}`
  }
  if (Slave_SQL_Running === 'Yes') return undefined
  return `its SQL thread does not run, last error ${Last_SQL_Errno}`
}

/** Whether a follower leaves out a domain. */
function ignores({ links = [] }: FollowerState, domain: string): boolean {
  const isIgnored = ({ Replicate_Do_Domain_Ids, Replicate_Ignore_Domain_Ids }: Link) =>
    Replicate_Do_Domain_Ids.length > 0
      ? !Replicate_Do_Domain_Ids.includes(domain)
      : Replicate_Ignore_Domain_Ids.includes(domain)
  return links.length > 0 && links.every(isIgnored)
}
