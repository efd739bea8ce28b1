import {
  etcdSource,
  type EtcdSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { fakeFetch } from '../shared/fakes.js'

type Json = Record<string, unknown>

/** The members of a cluster, by their names. The first leads. */
const IDS = {
  e1: '12051408658442678908',
  e2: '5560968623000915612',
  e3: '15989336369770098193',
} as const
const HOSTS = ['e1', 'e2', 'e3'] as const

/** The status of a member of etcd 3.4.23. */
const statusOf = (name: keyof typeof IDS) => ({
  header: {
    cluster_id: '3943897800735704630',
    member_id: IDS[name] as string,
    revision: '2',
    raft_term: '2',
  },
  version: '3.4.23',
  dbSize: '20480',
  leader: IDS.e1 as string,
  raftIndex: '9',
  raftTerm: '2',
  raftAppliedIndex: '9',
  dbSizeInUse: '16384',
})

export const STATUSES = { e1: statusOf('e1'), e2: statusOf('e2'), e3: statusOf('e3') }

/** A member that has lost its leader. */
export const LEADERLESS = { ...STATUSES.e2, leader: undefined, errors: ['etcdserver: no leader'] }

/** The members, which advertise URLs like http://e1:2379, and a learner that was never started, with changed fields. */
export function listOf(changes: Record<string, Json> = {}): { members: Json[] } {
  const started = (name: keyof typeof IDS) => ({
    ID: IDS[name],
    name,
    peerURLs: [`http://${name}:2380`],
    clientURLs: [`http://${name}:2379`],
    ...changes[name],
  })
  const learner = { ID: '1580764089160888188', peerURLs: ['http://127.0.0.1:1'], isLearner: true }
  const members = [
    { ...learner, ...changes['learner'] },
    started('e2'),
    started('e1'),
    started('e3'),
  ]
  return { members }
}

/** What the members of a cluster answer, by the host in their URLs. Tests change it between reads. */
export interface FakeCluster {
  /** The status of each member, or a function that answers. */
  statuses: Record<string, unknown>
  members: unknown
  /** Called before each answer, and waited for. */
  onAsk: (host: string, path: string, headers: Readonly<Record<string, string>>) => unknown
}

/** A source of three members, which answer as it was recorded. */
export function createFake(options: Partial<EtcdSourceOptions> = {}) {
  const cluster: FakeCluster = {
    statuses: structuredClone(STATUSES),
    members: listOf(),
    onAsk: () => undefined,
  }
  const source = etcdSource({
    endpoints: ['http://e1:2379', 'http://e2:2379', 'http://e3:2379/'],
    shard: 'registry',
    fetch: fakeFetch(async (path, { url, headers }) => {
      const { hostname } = new URL(url)
      await cluster.onAsk(hostname, path, headers)
      if (path === '/v3/cluster/member/list') return cluster.members
      const status = cluster.statuses[hostname]
      if (status === undefined) throw new TypeError('fetch failed')
      return status
    }),
    ...options,
  })
  /** Changes fields of the status of a member. */
  const change = (host: string, fields: Json): void => {
    cluster.statuses[host] = { ...(cluster.statuses[host] as Json), ...fields }
  }
  /** Changes these fields of all of them. */
  const changeAll = (fields: Json): void => {
    for (const host of HOSTS) change(host, fields)
  }
  const read = (timeoutMillis?: number) => source.read(new AbortController().signal, timeoutMillis)
  return { cluster, source, change, changeAll, read }
}

/** Reads once, and returns the only shard. */
export async function readShard({ read }: ReturnType<typeof createFake>, timeoutMillis?: number) {
  const { shards, complete } = await read(timeoutMillis)
  const [shard] = shards
  if (!shard) throw new Error('no shard')
  const byName = new Map(shard.followers.map((each) => [each.replica, each]))
  const follower = (name: string) => byName.get(name)
  return { ...shard, complete, follower, names: [...byName.keys()] }
}
