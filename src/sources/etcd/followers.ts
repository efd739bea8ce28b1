import { parseName } from '../../support/names.js'
import { describeFailure, describeFailures } from '../shared/http.js'
import type { Outcome } from '../shared/nodes.js'
import type { FollowerReading } from '../source.js'
import { hex, type Answer, type Member } from './answer.js'
import { outcomesOf, type View } from './members.js'

/** Names the epochs of a cluster. One that was rebuilt can have the same ids, because they are made from its flags. */
export class Epochs {
  private last = { clusterId: 0n, raftIndex: 0n, raftTerm: 0n }
  private rebuilds = 0
  private isWaiting = false

  /** Whether a leader was elected since the last reading. It can know less to be committed than its followers do. */
  isNew({ clusterId, raftTerm }: Answer): boolean {
    return clusterId !== this.last.clusterId || raftTerm !== this.last.raftTerm
  }

  /** @throws Error if the leader is not ready yet. */
  epochOf({ clusterId, raftIndex, raftTerm }: Answer): string {
    const { last, isWaiting } = this
    const isSame = clusterId === last.clusterId
    const isBehind = isSame && raftIndex < last.raftIndex
    this.isWaiting = isBehind && raftTerm > last.raftTerm && !isWaiting
    if (this.isWaiting) {
      throw new Error('the leader of etcd has just been elected and is not ready yet')
    }
    if (isBehind || (isSame && raftTerm < last.raftTerm)) this.rebuilds++
    this.last = { clusterId, raftIndex, raftTerm }
    return `${hex(clusterId)}/${this.rebuilds}`
  }
}

const NO_LEADER = 'etcd has no leader: most of its members must be up and reach each other'
const AHEAD = 'it is ahead of its leader: it was restored, or its data is from another cluster'

/** Returns the members under the names to report. Several can have one name, and one that was never started has none. */
export function nameMembers(members: readonly Member[]): Map<string, Member> {
  const names = members.flatMap(({ ID, name }) => [name, hex(ID)])
  return new Map(
    members.map((member) => {
      const name = parseName(member.name)
      const isUnique = names.indexOf(name) === names.lastIndexOf(name)
      return [name !== undefined && isUnique ? name : hex(member.ID), member]
    }),
  )
}

/**
 * Reads the members that follow.
 *
 * @param isNew whether the leader was just elected
 */
export function readFollowers(
  view: View,
  members: ReadonlyMap<string, Member>,
  isNew: boolean,
): FollowerReading[] {
  const answered = new Map<bigint, readonly [url: string, answer: Answer]>()
  for (const [url, { answer }] of view.survey.answers) {
    if (answer && answer.clusterId === view.clusterId) answered.set(answer.memberId, [url, answer])
  }
  return [...members].map(([replica, { ID }]) => {
    const found = answered.get(ID)
    if (found) return { replica, ...compare(view, ...found, isNew) }
    const answers = outcomesOf(view, ID).flatMap(([, { answer }]) => answer ?? [])
    const diverged = answers.some(({ clusterId }) => clusterId !== view.clusterId)
    const problem = `cannot be read: ${describeSilence(view, ID)}`
    return { replica, connected: false, ...(diverged && { diverged }), problem }
  })
}

function compare(view: View, url: string, answer: Answer, isNew: boolean): FollowerReading {
  const { survey, leaderUrl, leaderId } = view
  const { raftAppliedIndex: appliedSeqno, raftIndex: receivedSeqno, errors } = answer
  const connected = answer.leader === leaderId
  const state = { connected, ...(errors !== '' && { problem: errors }) }
  const moment = survey.leaderWhen(leaderUrl, url)
  // Without it the position cannot be compared.
  if (!moment || moment.answer.memberId !== leaderId) return state
  const leaderSeqno = moment.answer.raftIndex
  if (appliedSeqno <= leaderSeqno && receivedSeqno <= leaderSeqno) {
    return { ...state, appliedSeqno, receivedSeqno, comparedWith: { leaderSeqno, at: moment.at } }
  }
  return isNew
    ? state
    : { ...state, diverged: true, problem: errors ? `${AHEAD}; ${errors}` : AHEAD }
}

/** Returns what the leader answered last. @throws Error that says why the cluster cannot be read. */
export function leaderOf(view: View) {
  const { survey, clusterId, leaderId, leaderUrl, members, listErrors } = view
  const isMember = (answer: Answer) => answer.clusterId === clusterId
  if (![...survey.newest.values()].some(isMember)) {
    const reasons = [...survey.answers].map((outcome) => describe(view, outcome)).join('; ')
    throw new Error(`none of the etcd endpoints can be read: ${reasons}`)
  }
  const last = survey.last(leaderUrl)?.answer
  // Members answer even without a leader, but then it is not known how far the cluster is.
  if (leaderId === undefined || last?.leader === 0n) throw new Error(NO_LEADER)
  if (last?.memberId !== leaderId) {
    const name = members.find(({ ID }) => ID === leaderId)?.name
    const member = [...(name === undefined ? [] : [name]), hex(leaderId)].join(', ')
    const why = describeSilence(view, leaderId)
    throw new Error(`the leader of etcd, member ${member}, cannot be read: ${why}`)
  }
  if (members.length > 0) return last
  throw new Error(`the members of etcd cannot be listed: ${describeFailures(listErrors)}`)
}

/** Describes why a member did not answer. */
function describeSilence(view: View, memberId: bigint): string {
  const { survey, routes, listErrors, endpoints } = view
  const outcomes = outcomesOf(view, memberId)
  if (outcomes.length === 0) {
    const failures = describeFailures(new Map([...survey.failures, ...listErrors]))
    return routes.get(memberId)?.problem ?? `it was not found. ${failures}`
  }
  const reasons = outcomes.map((outcome) => describe(view, outcome))
  const isGiven = outcomes.some(([url]) => endpoints.isGiven(url))
  return reasons.join('; ') + (isGiven ? '' : '. If it has another URL, add that to endpoints')
}

/** Describes what is wrong with the list of the members, and endpoints that are not those of a member. */
export function describeProblems(view: View): string {
  const { survey, routes, leaderUrl, list, endpoints } = view
  const faults = [...survey.answers]
    .filter(([url]) => endpoints.isGiven(url) && !endpoints.isOfMember(url, routes))
    .map((outcome) => describe(view, outcome))
  if (list?.error !== undefined) {
    faults.push(`the members cannot be listed: ${describeFailure(leaderUrl, list.error)}`)
  }
  return faults.join('; ')
}

/** Describes why an answer is not that of the member that it should be of. */
function describe(view: View, [url, outcome]: readonly [string, Outcome<Answer>]): string {
  if ('error' in outcome) return describeFailure(url, outcome.error)
  const { clusterId, memberId } = outcome.answer
  if (clusterId !== view.clusterId) return `${url} is the URL of another cluster, ${hex(clusterId)}`
  const suffix = view.routes.has(memberId) ? '' : ', which is not in the list'
  return `${url} is the URL of the member ${hex(memberId)}${suffix}`
}
