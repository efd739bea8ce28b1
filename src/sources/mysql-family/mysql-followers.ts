import type { FollowerAnswer } from './family.js'
import { sizeBefore, sizeOf, subtract, union, type GtidSet } from './gtid-set.js'
import type { MysqlState } from './mysql-answer.js'
import type { FollowerReading } from '../source.js'

/** How many servers a message names. */
const MAX_NAMED = 3

/** Returns what to report of a follower. */
export function readFollower(
  found: FollowerAnswer<MysqlState>,
  leader: MysqlState,
  lost: GtidSet,
): FollowerReading {
  const { replica, answer, leaderThen } = found
  const cause = found.mistake ?? incomparable(answer)
  if (cause !== undefined) return { replica, diverged: true, problem: cause }
  const divergence = leaderThen && divergenceOf(found, leaderThen.answer, lost)
  if (divergence !== undefined) return { replica, diverged: true, problem: divergence }

  const { executed } = leaderThen?.answer ?? leader
  const leaderSeqno = sizeOf(executed)
  const { connected, problem } = linkOf(answer, leader)
  const problems = [problem, ...answer.problems].filter((each) => each !== undefined)
  const missing = subtract(executed, answer.executed)
  const appliedSeqno = leaderSeqno - sizeOf(missing)
  const appliedUpTo = sizeBefore(executed, missing)
  const received = receivedBy(answer)
  return {
    replica,
    connected,
    appliedSeqno,
    ...(appliedUpTo < appliedSeqno && { appliedUpTo }),
    ...(leaderThen && { comparedWith: { leaderSeqno, at: leaderThen.at } }),
    ...(received && { receivedSeqno: leaderSeqno - sizeOf(subtract(executed, received)) }),
    ...(problems.length > 0 && { problem: problems.join('. ') }),
  }
}

/** Returns why a server has no position that can be compared. */
function incomparable({ mode, isStorageReader, links }: MysqlState): string | undefined {
  if (isStorageReader && links?.length === 0) {
    return 'it reads the storage of its leader (innodb_read_only), as a reader of Aurora does, so it has no replication to measure: leave it out, and watch AuroraReplicaLag instead'
  }
  return mode.startsWith('ON') ? undefined : `its gtid_mode is ${mode}: the source needs GTIDs`
}

/** Returns why the position of a follower is not one of its leader's history. */
function divergenceOf(
  { answer: follower, hasOtherLeaders }: FollowerAnswer<MysqlState>,
  leader: MysqlState,
  lost: GtidSet,
): string | undefined {
  // The members of a group certify each transaction together, and commit it one after another.
  if (follower.group !== undefined && follower.group === leader.group) return undefined
  const more = subtract(follower.executed, leader.executed)
  const isOfLeader = (key: string) => key.startsWith(leader.id)
  const isLost = [...more.keys()].some(
    (key) => isOfLeader(key) && sizeOf(only(more, key)) > sizeOf(subtract(only(more, key), lost)),
  )
  // With semi-synchronous replication, a follower has what its leader still waits to commit.
  const unknown = leader.owned
    ? [...subtract(more, leader.owned).keys()]
    : [...more.keys()].filter((key) => !isOfLeader(key))
  if (isLost || unknown.some(isOfLeader)) {
    return 'it has transactions of its leader that the leader itself no longer has: find out whether the leader was restored or reset'
  }
  const errant = unknown.filter((key) => !hasOtherLeaders || key.startsWith(follower.id))
  if (errant.length === 0) return undefined
  const named = errant.slice(0, MAX_NAMED).join(', ')
  return `it has transactions that its leader does not have, of ${named}: compare the gtid_executed of both`
}

function only(set: GtidSet, key: string): GtidSet {
  return new Map([...set].filter(([each]) => each === key))
}

/** Returns the servers and tags under which a server has written transactions that another one does not have. */
export function writtenKeys(state: MysqlState, { executed, owned }: MysqlState): string[] {
  const more = subtract(state.executed, union([executed, owned ?? new Map()]))
  return [...more.keys()].filter((key) => key.startsWith(state.id))
}

function linkOf(
  follower: MysqlState,
  leader: MysqlState,
): { connected: boolean; problem?: string | undefined } {
  const { links, membership, group } = follower
  const isActive = membership?.isSeen === true
  if (group !== undefined && group === leader.group) return { connected: isActive }
  // Why it cannot be seen is said once, or in another problem.
  if (!links) return { connected: false }
  // It can have channels from several servers. In a cascade, none comes from this leader.
  const own = links.filter((link) => link.leader === leader.id)
  const relevant = own.length > 0 ? own : links
  const channel = relevant.find(({ isOn }) => isOn) ?? relevant[0]
  if (channel) return { connected: channel.isOn, problem: channel.problem }
  // A secondary of another group receives through that group what its primary replicates.
  if (group !== undefined && follower.isReadOnly !== false) return { connected: isActive }
  const hasLeft = membership !== undefined && group === undefined
  const problem = hasLeft
    ? 'it is not an active member of its group'
    : 'it is not set up as a replica'
  return { connected: false, problem }
}

/** Returns all that a server has received. `undefined` if it is not known. */
function receivedBy({ links, membership, executed }: MysqlState): GtidSet | undefined {
  const sets = [...(links ?? []), ...(membership ? [membership] : [])].map(
    ({ received }) => received,
  )
  const known = sets.filter((set) => set !== undefined)
  return links && known.length === sets.length ? union([executed, ...known]) : undefined
}
