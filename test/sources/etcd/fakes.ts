import {
  etcdSource,
  type EtcdSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { fakeFetch } from '../shared/http-fakes.js'
import { MEMBERS, STATUSES } from './answers.js'

type Json = Record<string, unknown>

/** What the members of a cluster answer, by the host in their URLs. Tests change it between reads. */
export interface FakeCluster {
  /** The status of each member, or a function that answers. */
  statuses: Record<string, unknown>
  members: unknown
  /** Called before each answer, and waited for. */
  onAsk: (host: string, path: string) => unknown
}

type MemberEntry = (typeof MEMBERS)['members'][number]

/** The list of the members, which advertise URLs like http://e1:2379, with changed fields by their names. */
export function listOf(changes: Record<string, Json> = {}): { members: Json[] } {
  const urls = ({ name }: MemberEntry) => name && { clientURLs: [`http://${name}:2379`] }
  return {
    members: MEMBERS.members.map((member) => ({
      ...member,
      ...urls(member),
      ...changes[member.name ?? 'learner'],
    })),
  }
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
    fetch: fakeFetch(async (path, { url }) => {
      const { hostname } = new URL(url)
      await cluster.onAsk(hostname, path)
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
  const read = (timeoutMillis?: number) => source.read(new AbortController().signal, timeoutMillis)
  return { cluster, source, change, read }
}

/** Reads once, and returns the only shard. */
export async function readShard({ read }: Pick<ReturnType<typeof createFake>, 'read'>) {
  const { shards, complete } = await read()
  const [shard] = shards
  if (!shard) throw new Error('no shard')
  const byName = new Map(shard.followers.map((each) => [each.replica, each]))
  const follower = (name: string) => byName.get(name)
  return { ...shard, complete, follower, names: [...byName.keys()] }
}
