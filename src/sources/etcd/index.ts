import type { ShardId } from '../../support/names.js'
import { checkObject } from '../../support/option-errors.js'
import { checkFetch, type Fetch } from '../shared/http.js'
import { checkShardOptions } from '../shared/options.js'
import type { ReplicationReading, ReplicationSource } from '../source.js'
import { hex } from './answer.js'
import { Endpoints } from './endpoints.js'
import { describeProblems, Epochs, leaderOf, nameMembers, readFollowers } from './followers.js'
import { Members } from './members.js'

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
   * The client URLs of one or more members. The others are found, and read at the URLs that they advertise to clients. A
   * member that cannot be reached there needs its URL here. The URL of a learner alone is not enough.
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
  readonly fetch?: Fetch | undefined
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default `etcd:` and the shard
   */
  readonly name?: string | undefined
  /**
   * Decides which members to report. It is called for each follower at each read.
   *
   * @default all are reported
   * @example ({ isLearner }) => !isLearner
   */
  readonly filter?: ((follower: EtcdFollower) => boolean) | undefined
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
  const { endpoints, shard, name, passes } = checkOptions(options)
  const members = new Members(endpoints)
  const epochs = new Epochs()

  return {
    name,
    async read(signal, timeoutMillis): Promise<ReplicationReading> {
      const view = await members.read(signal, timeoutMillis)
      const leader = leaderOf(view)
      const isNew = epochs.isNew(leader)
      const epoch = epochs.epochOf(leader)
      const named = [...nameMembers(view.members)].filter(([replica, { ID, isLearner }]) => {
        return ID !== leader.memberId && passes({ replica, memberId: hex(ID), isLearner })
      })
      const followers = readFollowers(view, new Map(named), isNew)
      const problem = describeProblems(view)
      const { raftIndex: leaderSeqno } = leader
      const complete = view.list !== undefined && view.list.error === undefined
      const found = { shard, leaderSeqno, followers, epoch }
      return { shards: [{ ...found, ...(problem !== '' && { problem }) }], complete }
    },
  }
}

function checkOptions(options: EtcdSourceOptions) {
  checkObject('options', options)
  const { endpoints, fetch, ...rest } = options
  checkFetch(fetch)
  return { endpoints: new Endpoints(endpoints, fetch), ...checkShardOptions('etcd', rest) }
}
