import { fieldError, integer } from '../shared/fields.js'
import { groupBy } from '../shared/groups.js'
import type { Survey } from '../shared/nodes.js'
import type { FollowerReading, ShardReading } from '../source.js'
import { parseRows, positionOf, type Fields, type Info, type Position, type Row } from './answer.js'
import { explain, mostTelling } from './errors.js'
import type { LeaderHistory } from './leader.js'

/** What is found of a shard. */
type Found = Omit<ShardReading, 'shard'>

interface Leader {
  readonly name: string
  readonly position: Position
}

/** Where a leader was when a replica answered. */
interface LeaderAt extends Leader {
  /** In milliseconds, as `performance.now()`. */
  readonly at: number
}

/**
 * Returns what all nodes say.
 *
 * @throws Error that says why no node leads.
 */
export function readNodes(survey: Survey<Info>, history: LeaderHistory): Found {
  const { claims, leader: name, isTied } = history.elect(survey.newest)
  const both = `${claims.join(' and ')} claim to lead`
  const advice =
    'Check which one the clients write to. Each shard of a cluster needs a source of its own'
  if (isTied) {
    const followers = readFollowers(survey, undefined).filter(
      ({ replica }) => !claims.includes(String(replica)),
    )
    return { followers, problem: `${both}, so there is no lag. ${advice}` }
  }
  const answer = name === undefined ? undefined : survey.last(name)?.answer
  if (name === undefined || !answer) throw noLeader(survey, claims)
  const position = leaderPosition(name, answer)
  return {
    leaderSeqno: position.offset,
    epoch: history.record(name, position),
    followers: readFollowers(survey, { name, position }),
    ...(claims.length > 1 && { problem: `${both}, and the lag is behind ${name}. ${advice}` }),
  }
}

/** @throws Error that names the node and the field that is invalid. */
function leaderPosition(name: string, answer: Info): Position {
  try {
    return positionOf(answer)
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`, { cause: error })
  }
}

function noLeader(survey: Survey<Info>, claims: readonly string[]): Error {
  const { failures } = survey
  // One reason is enough: which node has failed for which one can differ from read to read.
  if (survey.newest.size === 0) {
    return new Error(`no node answers: ${explain(mostTelling([...failures.values()]))}`)
  }
  const failed = [...survey.answers.keys()].filter((name) => failures.has(name))
  const reasons = failed.map((name) => `${name}: ${explain(failures.get(name))}`)
  for (const name of claims.filter((each) => !failures.has(each))) {
    reasons.push(`${name} claims to lead, but no node follows it, and it has a history of its own`)
  }
  if (reasons.length === 0)
    reasons.push('all of them follow another one, which nodes must have too')
  return new Error(`no node leads: ${reasons.join('; ')}`)
}

/**
 * Returns what the leader sees.
 *
 * @throws Error that says what is wrong with the leader.
 */
export function readLeader(name: string, survey: Survey<Info>, history: LeaderHistory): Found {
  const answer = survey.last(name)?.answer
  if (!answer) throw new Error(explain(survey.failures.get(name)))
  if (answer.role === 'slave') throw new Error(IS_REPLICA)
  const position = positionOf(answer)
  const problems: string[] = []
  return {
    leaderSeqno: position.offset,
    epoch: history.record(name, position),
    followers: followersSeenBy(answer, position, problems),
    ...(problems.length > 0 && { problem: problems.join('. ') }),
  }
}

const IS_REPLICA =
  'the client reaches a replica: give the source all nodes, or a client that follows the leader, such as one of ioredis with Sentinels'

/**
 * Returns what all nodes but the leader say of themselves.
 *
 * @param leader is `undefined` if it is not known which node leads. Positions then are not comparable.
 */
function readFollowers(survey: Survey<Info>, leader: Leader | undefined): FollowerReading[] {
  return [...survey.answers].flatMap(([replica, outcome]): FollowerReading[] => {
    if (replica === leader?.name) return []
    if ('error' in outcome) return [unreachable(replica, outcome.error)]
    return [followerOf(replica, outcome.answer, leader && leaderWhen(survey, leader, replica))]
  })
}

function unreachable(replica: string, error: unknown): FollowerReading {
  return { replica, connected: false, problem: `cannot be read: ${explain(error)}` }
}

/** Returns `undefined` if the leader has not answered since the replica did, or has another history since. */
function leaderWhen(
  survey: Survey<Info>,
  { name, position: { id } }: Leader,
  replica: string,
): LeaderAt | undefined {
  const moment = survey.leaderWhen(name, replica)
  if (!moment) return undefined
  const position = leaderPosition(name, moment.answer)
  return position.id === id ? { name, position, at: moment.at } : undefined
}

function followerOf(
  replica: string,
  { role, fields }: Info,
  leader: LeaderAt | undefined,
): FollowerReading {
  // The problem of its shard says that it claims to lead.
  if (role === 'master') return { replica, connected: false, diverged: true }
  // While it loads the data of its leader, it has no position.
  if (fields['master_sync_in_progress'] === '1') return { replica, connected: true }
  const connected = fields['master_link_status'] === 'up'
  const problems = connected ? [] : ['it has no connection to its leader']
  const positions = leader && compare(fields, leader, problems)
  const problem = problems.length > 0 ? { problem: problems.join('. ') } : undefined
  return { replica, connected, ...positions, ...problem }
}

/** Returns the positions of a replica, if they are comparable with its leader's. Adds what is wrong to the problems. */
function compare(
  fields: Fields,
  { name, position, at }: LeaderAt,
  problems: string[],
): Partial<FollowerReading> {
  const { id, offset, formerId, formerEnd = 0n } = position
  const history = fields['master_replid']
  if (history !== id && history !== formerId) {
    problems.push(`it has another history than ${name}: its master_replid is ${history}`)
    return { diverged: true }
  }
  const applied = parsePosition('slave_repl_offset', fields, problems)
  // Since Redis 7.0.
  const received = parsePosition('slave_read_repl_offset', fields, problems)
  if (applied === undefined) return {}
  const isAhead = history === id ? applied > offset : applied >= formerEnd
  if (isAhead) {
    problems.push(`it has data that ${name} does not have`)
    return { diverged: true }
  }
  return {
    appliedSeqno: applied,
    ...(received !== undefined && { receivedSeqno: received }),
    comparedWith: { leaderSeqno: offset, at },
  }
}

function parsePosition(name: string, fields: Fields, problems: string[]): bigint | undefined {
  const value = fields[name]
  const position = integer(value)
  if (value !== undefined && position === undefined) problems.push(fieldError(name, value).message)
  return position
}

/** Returns the replicas that a leader sees, by their addresses. Adds rows that are invalid to the problems. */
function followersSeenBy(
  leader: Info,
  { offset }: Position,
  problems: string[],
): FollowerReading[] {
  const byAddress = groupBy(parseRows(leader, problems), ({ address }) => address)
  return [...byAddress].map(([replica, rows]) => {
    // The second connection of a replica that synchronizes is not another one.
    const replicas = rows.filter(({ isSecond }) => !isSecond)
    const applied = replicas.length > 0 ? slowestOf(replicas, offset) : undefined
    return {
      replica,
      connected: true,
      ...(applied !== undefined && { appliedSeqno: applied }),
      ...(replicas.length > 1 && { problem: SAME_ADDRESS }),
    }
  })
}

const SAME_ADDRESS =
  'several replicas have this address, and the one furthest behind is reported: name them in the option nodes'

/** Returns the lowest offset, or `undefined` if one of them is unknown. */
function slowestOf(rows: readonly Row[], leaderOffset: bigint): bigint | undefined {
  let slowest = leaderOffset
  for (const { offset } of rows) {
    // It is 0 until the replica has acknowledged for the first time.
    if (offset === undefined || (offset === 0n && leaderOffset > 0n)) return undefined
    if (offset < slowest) slowest = offset
  }
  return slowest
}
