import {
  checkOptions,
  LeaderAndFollowers,
  splitOff,
  type MysqlSourceOptions as SourceOptions,
} from './clients.js'
import { commonSize, keysMissingIn, sizeOf, union } from './gtid-set.js'
import {
  askFollower,
  askLeader,
  type Channel,
  type FollowerState,
  type ServerState,
} from './mysql-answer.js'
import type { FollowerReading, ReplicationSource } from '../source.js'

export type { MysqlClient } from './clients.js'

/** A follower, as the `filter` option sees it. */
export interface MysqlFollower {
  /** Its name in the option `followers`. */
  readonly replica: string
}

/** Options of {@link mysqlSource}. */
export type MysqlSourceOptions = SourceOptions<MysqlFollower>

/**
 * Reads a leader and its followers with GTIDs, MySQL 5.7 or newer.
 *
 * The leader seqno is the number of transactions in the `gtid_executed` of the leader. The applied seqno is how many of these
 * a follower has. Transactions that only the follower has are a problem, and are not counted.
 *
 * @throws TypeError that names the invalid option.
 */
export function mysqlSource(options: MysqlSourceOptions): ReplicationSource {
  const { leader, followers, shard, name, passes } = checkOptions('mysql', options)
  const nodes = new LeaderAndFollowers('MySQL', { leader, followers }, askLeader, askFollower)
  return {
    name,
    async read(signal) {
      const answers = [...(await nodes.readFollowers(signal))].filter(([replica]) =>
        passes({ replica }),
      )
      let newest = await nodes.readLeader(signal)
      const isAhead = ([, { answer }]: (typeof answers)[number]) =>
        answer && keysMissingIn(newest.executed, answer.executed).length > 0
      // A follower can have applied what its leader is about to commit.
      if (answers.some(isAhead)) newest = await nodes.readLeader(signal)
      const { others, removed, note, shared } = splitOff(newest, answers)
      const followers = others.map(([replica, { answer, lost }]) =>
        answer ? readFollower(replica, answer, newest, shared.has(answer.id)) : lost,
      )
      const leaderSeqno = sizeOf(newest.executed)
      return { shards: [{ shard, leaderSeqno, followers, removed }], ...note }
    },
  }
}

function readFollower(
  replica: string,
  follower: FollowerState,
  leader: ServerState,
  isShared: boolean,
): FollowerReading {
  const { channels, executed, mode } = follower
  // It can have channels from several sources. In a cascade, none comes from this leader.
  const own = channels?.filter(({ source_uuid }) => source_uuid === leader.id)
  const relevant = own && own.length > 0 ? own : channels
  const running = relevant?.find(({ service_state }) => service_state === 'ON')
  const connected = !relevant || running !== undefined
  const errant = keysMissingIn(leader.executed, executed)
  const isNewer = errant.some((key) => key.startsWith(leader.id))
  const isComparable = !isShared && mode.startsWith('ON') && !isNewer
  const received =
    channels && union([executed, ...channels.map((each) => each.received_transaction_set)])

  let problem = connected ? undefined : problemOf(relevant[0])
  if (errant.length > 0) {
    problem = `it has transactions that its leader does not have, of ${errant.slice(0, 3).join(', ')}`
  }
  if (isNewer) problem = 'it has transactions that its leader has lost: clone it again'
  if (!mode.startsWith('ON')) problem = `its gtid_mode is ${mode}`
  if (isShared)
    problem = 'its server_uuid is that of another server, or its client reaches that one'
  return {
    replica,
    connected,
    ...(isComparable && { appliedSeqno: commonSize(leader.executed, executed) }),
    ...(isComparable && received && { receivedSeqno: commonSize(leader.executed, received) }),
    ...(problem !== undefined && { problem }),
  }
}

/** Returns what is wrong with a channel that is not on. */
function problemOf(channel: Channel | undefined): string {
  if (!channel) return 'it is not set up as a replica'
  return `its receiver is ${channel.service_state}, last error ${channel.last_error_number}`
}
