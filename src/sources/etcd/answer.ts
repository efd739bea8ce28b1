import { formatValue } from '../../support/log.js'
import { integer, optional, parseFields, required, text } from '../shared/fields.js'
import { array, object, type HttpServer } from '../shared/http.js'

/** What a member answers. */
export interface Answer {
  readonly clusterId: bigint
  readonly memberId: bigint
  /** The id of the member that it follows. 0 if it knows no leader. */
  readonly leader: bigint
  /** The newest entry that it knows to be committed. */
  readonly raftIndex: bigint
  readonly raftTerm: bigint
  readonly raftAppliedIndex: bigint
  /** Alarms, and that it has no leader. */
  readonly errors: string
  /** The members of the cluster, if it was asked for them. */
  readonly list?: MemberList | undefined
}

export interface Member {
  readonly ID: bigint
  readonly name: string | undefined
  readonly isLearner: boolean
  /** The URLs that it advertises to clients. It has none until it is started. */
  readonly clientURLs: readonly string[]
}

/** The members, or why they are not known. */
export interface MemberList {
  readonly members: readonly Member[]
  /** Set if there can be more members. */
  readonly error?: unknown
}

/** Fields of an answer. etcd omits fields that are 0, false or empty. */
const STATUS = {
  header: required(object),
  leader: zero,
  raftIndex: zero,
  raftTerm: zero,
  raftAppliedIndex: zero,
}
const HEADER = { cluster_id: required(integer), member_id: required(integer) }
const ID = { ID: required(integer) }

/** How much is reported of what a member says about itself, in characters. */
const MAX_ERRORS = 300

function zero(value: unknown, name: string): bigint {
  return optional(integer)(value, name) ?? 0n
}

function parseStatus(answer: unknown): Answer {
  const { header, ...status } = parseFields(STATUS, answer)
  const { cluster_id: clusterId, member_id: memberId } = parseFields(HEADER, header)
  const { errors } = answer as { errors?: unknown }
  return { ...status, clusterId, memberId, errors: joinTexts(errors) }
}

function joinTexts(values: unknown): string {
  if (!Array.isArray(values)) return ''
  const texts = values.map((each) => (typeof each === 'string' ? each.trim() : formatValue(each)))
  return texts.join('; ').slice(0, MAX_ERRORS)
}

/** An entry of the list that cannot be read does not hide the others. */
function parseMembers(answer: unknown): MemberList {
  const members = new Map<bigint, Member>()
  let error: unknown
  for (const entry of parseFields({ members: array }, answer).members) {
    try {
      const member = parseMember(entry)
      members.set(member.ID, member)
    } catch (fault) {
      error = fault
    }
  }
  return { members: [...members.values()], ...(error !== undefined && { error }) }
}

function parseMember(entry: unknown): Member {
  const { ID: id } = parseFields(ID, entry)
  const { name, isLearner, clientURLs } = entry as Partial<Record<string, unknown>>
  const urls: readonly unknown[] = Array.isArray(clientURLs) ? clientURLs : []
  return {
    ID: id,
    name: text(name),
    isLearner: isLearner === true,
    clientURLs: urls.filter((url) => typeof url === 'string'),
  }
}

/**
 * Asks a member for its status, and for the list of the members if it leads: only the leader knows them for certain.
 *
 * @param wantsList whether to ask for the list in any case
 */
export async function askMember(
  server: HttpServer,
  signal: AbortSignal,
  wantsList: () => boolean,
): Promise<Answer> {
  const status = await server.ask('/v3/maintenance/status', parseStatus, signal, {})
  if (status.leader !== status.memberId && !wantsList()) return status
  return { ...status, list: await askList(server, signal, status.memberId) }
}

async function askList(server: HttpServer, signal: AbortSignal, id: bigint): Promise<MemberList> {
  try {
    // It is not linearizable, so it answers without a quorum too. A learner has no list.
    const list = await server.ask('/v3/cluster/member/list', parseMembers, signal, {})
    if (list.members.some(({ ID }) => ID === id)) return list
    return { error: new Error('the member itself is not in its list'), ...list }
  } catch (error) {
    return { members: [], error }
  }
}

/** An id as `etcdctl` prints it. */
export function hex(id: bigint): string {
  return id.toString(16)
}
