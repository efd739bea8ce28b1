import { etcdSource } from '../sources/etcd/index.js'
import { jetstreamSource } from '../sources/jetstream/index.js'
import { kafkaSource } from '../sources/kafka/index.js'
import { mariadbSource } from '../sources/mysql-family/mariadb.js'
import { mysqlSource } from '../sources/mysql-family/mysql.js'
import { postgresSource } from '../sources/postgres/index.js'
import { redisSource } from '../sources/redis/index.js'
import type { ReplicationSource } from '../sources/source.js'
import { connectMysql, connectRedis, createKafkaAdmin, createPostgresPool } from './clients.js'
import { within, type Host, type SourceUrl } from './source-url.js'

/** A kind of URL. */
interface Kind {
  /** Prefix of source names: `system:name`, the same as in code. */
  readonly system: string
  /** The parameters that a URL may have after `?`. Default: any. */
  readonly parameters?: readonly string[]
  /** Checks a URL. Returns a function that creates the source with its clients. */
  prepare(url: SourceUrl): () => ReplicationSource
}

const postgres: Kind = {
  system: 'postgres',
  prepare(url) {
    if (url.hosts.length > 1) throw new Error('expected one host. Add a source for each server')
    const connect = createPostgresPool(toText(url))
    return () => postgresSource({ shard: url.name, client: connect() })
  },
}

/** Several hosts are all nodes, and the source finds the leader. One is the leader, which sees its replicas. */
const redis: Kind = {
  system: 'redis',
  prepare(url) {
    const [unknown] = url.parameters.keys()
    if (unknown !== undefined) {
      throw new Error(`unknown parameter ${unknown}. All nodes are hosts, as in redis://a,b,c`)
    }
    const connect = connectRedis(url)
    const { name: shard, hosts } = url
    return () =>
      hosts.length === 1
        ? redisSource({ shard, client: connect(hosts[0] as Host) })
        : redisSource({ shard, nodes: byAddress(hosts, connect) })
  },
}

const mysql = (system: string, create: typeof mysqlSource | typeof mariadbSource): Kind => ({
  system,
  parameters: ['ssl'],
  prepare(url) {
    const connect = connectMysql(url, flag(url, 'ssl'))
    return () => create({ shard: url.name, nodes: byAddress(url.hosts, connect) })
  },
})

const jetstream: Kind = {
  system: 'jetstream',
  parameters: ['streams', 'consumers'],
  prepare(url) {
    const streams = list(url, 'streams')
    const source = jetstreamSource({
      servers: url.hosts.map((host) => httpUrl(url, host)),
      consumers: flag(url, 'consumers'),
      name: `jetstream:${url.name}`,
      ...(streams && { streams }),
    })
    return () => source
  },
}

const etcd: Kind = {
  system: 'etcd',
  parameters: [],
  prepare(url) {
    const endpoints = url.hosts.map((host) => httpUrl(url, host))
    const source = etcdSource({ shard: url.name, endpoints })
    return () => source
  },
}

const kafka: Kind = {
  system: 'kafka',
  parameters: ['groups', 'topics', 'ssl', 'mechanism'],
  prepare(url) {
    const [groups, topics] = [list(url, 'groups'), list(url, 'topics')]
    const mechanism = single(url, 'mechanism') ?? 'plain'
    const admin = createKafkaAdmin(url, flag(url, 'ssl'), mechanism)
    const source = kafkaSource({ admin, groups, topics, name: `kafka:${url.name}` })
    return () => source
  },
}

const KINDS: ReadonlyMap<string, Kind> = new Map([
  ['postgres', postgres],
  ['postgresql', postgres],
  ['redis', redis],
  ['rediss', redis],
  ['mariadb', mysql('mariadb', mariadbSource)],
  ['mysql', mysql('mysql', mysqlSource)],
  ['nats+http', jetstream],
  ['nats+https', jetstream],
  ['etcd+http', etcd],
  ['etcd+https', etcd],
  ['kafka', kafka],
])

/**
 * Creates the sources that URLs describe. Each loads its client at its first read.
 *
 * @throws Error that names the source, and says what is wrong with the URL or which package is missing.
 */
export function createSources(urls: readonly SourceUrl[]): ReplicationSource[] {
  const names = new Map<string, string>()
  return urls.map((url) => {
    const source = createSource(url)
    const other = names.get(source.name)
    if (other !== undefined) {
      throw new Error(`${url.where}: expected a name other than ${url.name}, which ${other} uses`)
    }
    names.set(source.name, url.where)
    return source
  })
}

function createSource(url: SourceUrl): ReplicationSource {
  const { name } = url
  try {
    const kind = kindOf(url)
    const create = kind.prepare(url)
    let source: ReplicationSource | undefined
    return {
      name: `${kind.system}:${name}`,
      read: async (signal, timeoutMillis) => (source ??= create()).read(signal, timeoutMillis),
    }
  } catch (error) {
    throw within(name, error)
  }
}

/** @throws Error that says what is wrong with the URL. */
function kindOf({ scheme, hosts, parameters }: SourceUrl): Kind {
  const kind = KINDS.get(scheme)
  if (!kind) {
    throw new Error(`unknown scheme ${scheme}, expected one of ${[...KINDS.keys()].join(', ')}`)
  }
  // PostgreSQL may be at a socket: postgres:///orders?host=/run/postgresql
  if (hosts.length === 0 && kind !== postgres) throw new Error('the URL has no host')
  const known = kind.parameters
  const unknown = [...parameters.keys()].find((each) => known && !known.includes(each))
  if (unknown === undefined) return kind
  const expected = known?.length ? `expected ${known.join(', ')}` : 'expected none'
  throw new Error(`unknown parameter ${unknown}, ${expected}`)
}

function byAddress<Client>(
  hosts: readonly Host[],
  connect: (host: Host) => Client,
): Record<string, Client> {
  return Object.fromEntries(hosts.map((host) => [host.address, connect(host)]))
}

/** Returns what a parameter lists, which may be there several times; `undefined` if it lists nothing. */
function list({ parameters }: SourceUrl, name: string): string[] | undefined {
  const all = parameters.getAll(name).flatMap((value) => value.split(','))
  const given = all.filter((each) => each !== '')
  return given.length > 0 ? given : undefined
}

function single({ parameters }: SourceUrl, name: string): string | undefined {
  const [value, another] = parameters.getAll(name)
  if (another !== undefined) throw new Error(`${name}: expected one, got several`)
  return value
}

function flag(url: SourceUrl, name: string): boolean {
  const value = single(url, name) ?? 'false'
  if (value === 'true' || value === 'false') return value === 'true'
  throw new Error(`${name}: expected true or false`)
}

function httpUrl(url: SourceUrl, host: Host): string {
  return toText({
    ...url,
    scheme: url.scheme.replace(/^.*\+/, ''),
    hosts: [host],
    parameters: NONE,
  })
}

const NONE = new URLSearchParams()

function toText({ scheme, user, password, hosts, path, parameters }: SourceUrl): string {
  const secret = password === undefined ? '' : `:${encodeURIComponent(password)}`
  const login = `${encodeURIComponent(user ?? '')}${secret}`
  const query = parameters.size > 0 ? `?${parameters.toString()}` : ''
  return `${scheme}://${login && `${login}@`}${hosts.map(({ address }) => address).join(',')}${path}${query}`
}
