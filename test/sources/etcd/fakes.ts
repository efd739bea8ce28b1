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
  /** Called before each answer. */
  onAsk: (host: string, path: string) => void
}

/** A source of three members, which answer as it was recorded. */
export function createFake(options: Partial<EtcdSourceOptions> = {}) {
  const cluster: FakeCluster = {
    statuses: structuredClone(STATUSES),
    members: structuredClone(MEMBERS),
    onAsk: () => undefined,
  }
  const source = etcdSource({
    endpoints: ['http://e1:2379', 'http://e2:2379', 'http://e3:2379/'],
    shard: 'registry',
    fetch: fakeFetch((path, { url }) => {
      const { hostname } = new URL(url)
      cluster.onAsk(hostname, path)
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
  const read = () => source.read(new AbortController().signal)
  return { cluster, source, change, read }
}
