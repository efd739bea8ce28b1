import { boolean, integer, optional, parseFields, required } from '../shared/fields.js'
import { array, object, type HttpServer } from '../shared/http.js'

/** Fields of an answer. One that is 0, false or empty is left out. */
const STATUS = {
  header: required(object),
  leader: zero,
  raftIndex: zero,
  raftTerm: zero,
  raftAppliedIndex: zero,
  errors: array,
}
const HEADER = { cluster_id: required(integer), member_id: required(integer) }
const MEMBER = { ID: required(integer), name: optional(anyText), isLearner: flag }

function anyText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function flag(value: unknown, name: string): boolean {
  return optional(boolean)(value, name) ?? false
}

function zero(value: unknown, name: string): bigint {
  return optional(integer)(value, name) ?? 0n
}

export type Status = ReturnType<typeof parseStatus>
export type Member = ReturnType<typeof parseFields<typeof MEMBER>>
export type LeaderAnswer = Awaited<ReturnType<ReturnType<typeof askLeader>>>

function parseStatus(answer: unknown) {
  const { header, ...status } = parseFields(STATUS, answer)
  const { cluster_id, member_id } = parseFields(HEADER, header)
  return { ...status, clusterId: cluster_id, memberId: member_id }
}

function parseMembers(answer: unknown): Member[] {
  const { members } = parseFields({ members: array }, answer)
  return members.map((member) => parseFields(MEMBER, member))
}

export function askStatus(server: HttpServer) {
  return (signal: AbortSignal) => server.ask('/v3/maintenance/status', parseStatus, signal, {})
}

/** Asks the leader for the members and its status, in this order: the index must be read last. */
export function askLeader(server: HttpServer) {
  return async (signal: AbortSignal) => {
    // It is not linearizable, so it answers without a quorum too. A learner has no list.
    const members = await server.ask('/v3/cluster/member/list', parseMembers, signal, {})
    return { members, ...(await askStatus(server)(signal)) }
  }
}

/** Recognizes a cluster that was rebuilt. It can have the same ids, because they are made from its flags. */
export class History {
  private last = { clusterId: 0n, raftIndex: 0n, raftTerm: 0n }
  private rebuilds = 0
  private isWaiting = false

  epochOf(status: Status): string {
    const { last, isWaiting } = this
    const { clusterId, raftIndex, raftTerm } = status
    const isSame = clusterId === last.clusterId
    const isBehind = isSame && raftIndex < last.raftIndex
    this.isWaiting = isBehind && raftTerm > last.raftTerm && !isWaiting
    if (this.isWaiting) throw new Error('the leader of etcd was just elected and is not ready')
    if (isBehind || (isSame && raftTerm < last.raftTerm)) this.rebuilds++
    this.last = { clusterId, raftIndex, raftTerm }
    return `${hex(clusterId)}/${this.rebuilds}`
  }
}

/** An id as `etcdctl` prints it. */
export function hex(id: bigint): string {
  return id.toString(16)
}
