import { parseName, type ShardId } from '../../support/names.js'
import { checkObject, warnAboutUnknown } from '../../support/option-errors.js'
import {
  askLeader,
  askStatus,
  hex,
  History,
  type LeaderAnswer,
  type Member,
  type Status,
} from './answer.js'
import { checkFetch, describeFailures, parseServers, type Fetch } from '../shared/http.js'
import { askAll, Node, unreachable } from '../shared/nodes.js'
import { RemovedFollowers } from '../shared/removed-followers.js'
import type { FollowerReading, ReplicationReading, ReplicationSource } from '../source.js'
import { checkNameAndFilter, parseShard, passesFilter } from '../shared/options.js'

/** A follower, as the `filter` option sees it. */
export interface EtcdFollower {
  /** The name that it is reported under. */
  readonly replica: string
  /** Its id in hexadecimal digits, as `etcdctl` prints it. */
  readonly memberId: string
  readonly isLearner: boolean
}

/** Options of {@link etcdSource}. */
export interface EtcdSourceOptions {
  /**
   * The client URLs of all members, learners too. A member that is not among them has no position.
   *
   * @example ['https://etcd-1:2379', 'https://etcd-2:2379', 'https://etcd-3:2379']
   */
  readonly endpoints: readonly string[]
  /** The shard to report the members under: the name of the cluster. */
  readonly shard: ShardId
  /**
   * Sends the requests. Pass one that adds an `Authorization` header, or that trusts the certificates of the cluster.
   *
   * @default the global `fetch`
   */
  readonly fetch?: Fetch
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default `etcd:` and the shard
   */
  readonly name?: string
  /**
   * Decides which members to report. It is called for each follower at each read.
   *
   * @default all are reported
   * @example ({ isLearner }) => !isLearner
   */
  readonly filter?: (follower: EtcdFollower) => boolean
}

/**
 * Reads the members of an etcd cluster, 3.4 or newer, through their JSON gateways.
 *
 * The leader seqno is the index that the leader has committed. The applied seqno is the index that a member has applied.
 * Both count raft entries. A member is named by its name, or by its id if it has none or shares it.
 *
 * @throws TypeError that names the invalid option.
 */
export function etcdSource(options: EtcdSourceOptions): ReplicationSource {
  const { servers, shard, name, passes } = checkOptions(options)
  const nodes = new Map(servers.map((each) => [each.url, new Node(askStatus(each))]))
  const leaders = new Map(servers.map((each) => [each.url, new Node(askLeader(each))]))
  const history = new History()
  const removed = new RemovedFollowers()

  async function read(signal: AbortSignal): Promise<ReplicationReading> {
    const answers = await askAll(nodes, signal)
    const failures = describeFailures(answers) || NOT_AN_ENDPOINT
    const missing = new Error(failures)
    const statuses = [...answers].flatMap(([url, { answer }]) =>
      answer ? [{ ...answer, url }] : [],
    )
    const leader = findLeader(statuses, failures)
    const { members, ...newest } = await (leaders.get(leader.url) as Node<LeaderAnswer>).ask(signal)
    // A status answers also without a leader, but then nobody knows how far the cluster is.
    if (newest.leader === 0n) throw new Error(NO_LEADER)
    const leaderSeqno = newest.raftIndex
    const epoch = history.epochOf(newest)
    const followers = nameMembers(members).flatMap((member): FollowerReading[] => {
      const { ID, replica, isLearner } = member
      if (ID === leader.memberId) return []
      if (!passes({ replica, memberId: hex(ID), isLearner })) return []
      const status = statuses.find(({ memberId }) => memberId === ID)
      return [status ? followerOf(replica, status, newest) : unreachable(replica, missing)]
    })
    return { shards: removed.addTo([{ shard, leaderSeqno, followers, epoch }]) }
  }

  return {
    name,
    read: (signal) =>
      read(signal).catch((error: unknown) => {
        throw signal.aborted ? signal.reason : error
      }),
  }
}

const NO_LEADER = 'etcd has no leader: most of its members must be up and reach each other'
const NOT_AN_ENDPOINT = 'it is not among the endpoints'
const AHEAD = 'it has applied more than the leader has committed: its data is of another cluster'

/** The status of the leader that most of the members follow. An isolated one may not know that it has been replaced. */
function findLeader<S extends Status>(statuses: readonly S[], failures: string): S {
  if (statuses.length === 0) throw new Error(`no endpoint of etcd can be read: ${failures}`)
  const isOneCluster = new Set(statuses.map(({ clusterId }) => clusterId)).size === 1
  if (!isOneCluster) throw new Error('the endpoints are members of different etcd clusters')
  const [newest] = statuses
    .filter(({ leader }) => leader !== 0n)
    .sort((a, b) => Number(b.raftTerm - a.raftTerm))
  if (!newest) throw new Error(NO_LEADER)
  const leader = statuses.find(({ memberId }) => memberId === newest.leader)
  if (leader) return leader
  throw new Error(`the leader of etcd, member ${hex(newest.leader)}, cannot be read: ${failures}`)
}

/** Adds the names to report. Several members can have one name, and one that was never started has none. */
function nameMembers(members: readonly Member[]) {
  const names = members.flatMap(({ ID, name }) => [name, hex(ID)])
  return members.map((member) => {
    const name = parseName(member.name)
    const isUnique = names.indexOf(name) === names.lastIndexOf(name)
    return { ...member, replica: name !== undefined && isUnique ? name : hex(member.ID) }
  })
}

function followerOf(replica: string, status: Status, leader: Status): FollowerReading {
  const { raftAppliedIndex: appliedSeqno, raftIndex: receivedSeqno, errors } = status
  const connected = status.leader === leader.memberId
  if (appliedSeqno > leader.raftIndex) return { replica, connected, problem: AHEAD }
  const problem = errors.map(String).join('; ')
  return { replica, appliedSeqno, receivedSeqno, connected, ...(problem && { problem }) }
}

function checkOptions(options: EtcdSourceOptions) {
  checkObject('options', options)
  const { endpoints, shard, fetch, name, filter, ...unknown } = options
  warnAboutUnknown('etcdSource', unknown)
  const servers = parseServers('endpoints', endpoints, fetch)
  const id = parseShard(shard)
  checkFetch(fetch)
  checkNameAndFilter({ name, filter })
  const passes = (follower: EtcdFollower) => passesFilter(filter, follower)
  return { servers, shard: id, name: name ?? `etcd:${id}`, passes }
}
