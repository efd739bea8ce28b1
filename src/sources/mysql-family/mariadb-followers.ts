import type { FollowerAnswer } from './family.js'
import type { Gtid, MariadbState } from './mariadb-answer.js'
import type { FollowerReading } from '../source.js'

/** Returns what to report of a follower in the domain of this GTID, which is its leader's last one. */
export function readFollower(
  found: FollowerAnswer<MariadbState>,
  leader: MariadbState,
  newest: Gtid,
): FollowerReading {
  const { replica, answer, leaderThen, mistake } = found
  if (mistake !== undefined) return { replica, diverged: true, problem: mistake }
  const then = leaderThen?.answer.binlog?.get(newest.domain)
  const { applied, divergence } = compare(answer, leaderThen?.answer ?? leader, then ?? newest)
  if (divergence !== undefined && leaderThen)
    return { replica, diverged: true, problem: divergence }

  const { connected, problem, received } = linkOf(answer, leader, newest.domain)
  const problems = [problem, ...answer.problems].filter((each) => each !== undefined)
  const latest = received !== undefined && applied ? max(received, applied.seqno) : received
  return {
    replica,
    connected,
    ...(applied && divergence === undefined && { appliedSeqno: applied.seqno }),
    ...(then && leaderThen && { comparedWith: { leaderSeqno: then.seqno, at: leaderThen.at } }),
    ...(latest !== undefined && { receivedSeqno: latest < newest.seqno ? latest : newest.seqno }),
    ...(problems.length > 0 && { problem: problems.join('. ') }),
  }
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

/** Compares what a follower has of a domain with its leader. */
function compare(follower: MariadbState, leader: MariadbState, newest: Gtid) {
  const { domain } = newest
  const replicated = follower.slave?.get(domain)
  // What a former leader wrote itself counts until it has replicated something.
  const own = follower.written.get(`${domain}-${follower.id}`)
  const isOwnLater = own && own.seqno > (replicated?.seqno ?? 0n)
  const applied = isOwnLater ? own : replicated
  return { applied, divergence: divergenceOf(follower, leader, newest, applied) }
}

/** Returns why a follower is not at a position of its leader's history. */
function divergenceOf(
  follower: MariadbState,
  leader: MariadbState,
  newest: Gtid,
  applied: Gtid | undefined,
): string | undefined {
  const { domain } = newest
  const writtenHere = [...follower.written.values()].filter((gtid) => gtid.domain === domain)
  const all = applied ? [applied, ...writtenHere] : writtenHere
  const replicated = leader.slave?.get(domain)
  const more = all.find((gtid) => {
    // A leader need not have in its binary log what it has replicated itself.
    const isLast = replicated?.server === gtid.server
    const known =
      leader.written.get(`${domain}-${gtid.server}`) ?? (isLast ? replicated : undefined)
    if (known) return gtid.seqno > known.seqno || (gtid === applied && gtid.seqno > newest.seqno)
    return gtid.server === follower.id || gtid.seqno >= newest.seqno
  })
  if (!more) return undefined
  const name = `${domain}-${more.server}-${more.seqno}`
  if (more.server === leader.id) {
    return `it has ${name}, which its leader wrote and no longer has: find out whether the leader was restored or reset`
  }
  return `it has diverged: it has ${name}, which its leader does not have`
}

/** Whether a server has written transactions that another one does not have. */
export function isAhead(state: MariadbState, other: MariadbState): boolean {
  return [...state.written].some(
    ([key, { server, seqno }]) =>
      server === state.id && seqno > (other.written.get(key)?.seqno ?? 0n),
  )
}

function linkOf({ links }: MariadbState, leader: MariadbState, domain: string) {
  // Why it cannot be seen is said once, or in another problem.
  if (!links) return { connected: false }
  // It can have links to several leaders. In a cascade, none is to this leader.
  const own = links.filter((link) => link.leader === leader.id)
  const relevant = own.length > 0 ? own : links
  const link = relevant.find(({ isOn }) => isOn) ?? relevant[0]
  const received = relevant.map((each) => each.received.get(domain)?.seqno)
  return {
    connected: link?.isOn === true,
    problem: link ? link.problem : 'it is not set up as a replica',
    received: received.reduce(
      (a, b) => (a === undefined || (b !== undefined && b > a) ? b : a),
      undefined,
    ),
  }
}

/** Whether a follower leaves out a domain. */
export function ignores({ links = [] }: MariadbState, domain: string): boolean {
  return links.length > 0 && links.every((link) => link.ignores(domain))
}
