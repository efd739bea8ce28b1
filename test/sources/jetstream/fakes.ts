import {
  jetstreamSource,
  type JetStreamSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fakeFetch, FakeResponse } from '../shared/fakes.js'

/** The parts of an answer that tests change. */
export interface Stream {
  name: string
  created: string
  cluster?: Group
  config: { name: string; num_replicas: number; mirror?: unknown }
  state: { messages: number; last_seq: unknown; last_ts: string }
  mirror?: { name: string; active: number; error?: unknown }
  consumer_detail?: Consumer[]
}

export interface Consumer {
  name: string
  config: object
  num_pending: number
  num_ack_pending: number
  created?: string
  cluster?: Group
}

export interface Group {
  leader?: string
  replicas?: { name: string; active: number; offline?: boolean }[]
}

interface Answers {
  varz: object
  jsz: object
  routez?: object
}

export const SERVERS = ['nats_1', 'nats_2', 'nats_3'] as const
export type Server = (typeof SERVERS)[number]

/** What a server of NATS 2.9 answers: nats_2 leads ORDERS, which all three hold. Most of the configuration is left out. */
export function answersOf(server: Server) {
  const server_id = `ID_OF_${server}`
  const replicas = SERVERS.filter((each) => each !== server).map((name) => ({
    name,
    current: true,
    active: 90_680_922,
    lag: 4,
  }))
  const state = { messages: 31, first_seq: 1, last_seq: 31, last_ts: '2026-11-25T23:39:27.44Z' }
  const createConsumer = (name: string, durable_name?: string, others?: typeof replicas) => ({
    stream_name: 'ORDERS',
    name,
    created: '2026-11-25T23:39:27.017281459Z',
    config: { durable_name, name, ack_policy: 'explicit' },
    delivered: { consumer_seq: 0, stream_seq: 0 },
    ack_floor: { consumer_seq: 0, stream_seq: 0 },
    num_ack_pending: 0,
    num_pending: 31,
    cluster: { leader: 'nats_2', replicas: others },
  })
  const orders = {
    name: 'ORDERS',
    created: '2026-11-25T23:39:26.225380622Z',
    cluster: { leader: 'nats_2', replicas },
    config: { name: 'ORDERS', subjects: ['orders.>'], num_replicas: 3 },
    state,
    consumer_detail: [
      createConsumer('billing', 'billing', replicas),
      ...(server === 'nats_2' ? [createConsumer('temp')] : []),
    ],
  }
  const createMirror = (name: string, state: object, filter_subject?: string) => ({
    name,
    created: '2026-11-25T23:39:27.291109574Z',
    cluster: { leader: server },
    config: { name, num_replicas: 1, mirror: { name: 'ORDERS', filter_subject } },
    state,
    mirror: { name: 'ORDERS', lag: 0, active: 510_565_233 },
  })
  const empty = { messages: 0, first_seq: 0, last_seq: 0, last_ts: '0001-01-01T00:00:00Z' }
  const mirrors = {
    nats_1: [createMirror('PART', empty, 'orders.a')],
    nats_2: [createMirror('COPY', state)],
    nats_3: [],
  }
  const others = server === 'nats_2' ? replicas : undefined
  const answers = {
    varz: { server_id, server_name: server, version: '2.9.10' },
    jsz: {
      server_id,
      meta_cluster: { name: 'demo', leader: 'nats_2', replicas: others, cluster_size: 3 },
      account_details: [{ name: '$G', id: '$G', stream_detail: [orders, ...mirrors[server]] }],
    },
  }
  // No two parts share an object.
  return JSON.parse(JSON.stringify(answers)) as typeof answers
}

/** A source of three servers. */
export function createFake(options: Partial<JetStreamSourceOptions> = {}) {
  const answers: Record<string, Answers | undefined> = {}
  for (const server of SERVERS) answers[server] = answersOf(server)
  const asked: string[] = []
  const fake = {
    answers,
    asked,
    /** The paths that were asked for, with their parameters. */
    paths: [] as string[],
    /** How long a server takes to answer, in milliseconds. */
    delays: new Map<string, number>(),
    /** The headers of the last request to each host. */
    headers: new Map<string, object>(),
    /** Called before each answer. */
    onAsk: (): void => undefined,
    /** Changes the text of answers. */
    text: { replace: (json: string) => json },
    /** What `/healthz` answers. */
    health: { status: 'ok' } as object,
    /** Changes fields of a server's answers. */
    change: (server: string, { jsz = {}, varz = {} }: Partial<Answers>): void => {
      Object.assign(answers[server]?.jsz ?? {}, jsz)
      Object.assign(answers[server]?.varz ?? {}, varz)
    },
    /** Gives a server another id, as a restart does. */
    restart: (server: string): void => {
      const id = { server_id: `NEW_${asked.length}` }
      fake.change(server, { jsz: id, varz: id })
    },
    /** A stream, as one server reports it. */
    stream: (server: Server, name = 'ORDERS'): Stream => {
      const jsz = answers[server]?.jsz as { account_details: { stream_detail: Stream[] }[] }
      const found = jsz.account_details[0]?.stream_detail.find((each) => each.name === name)
      if (!found) throw new Error(`${server} has no ${name}`)
      return found
    },
    /** The group of all servers, as one of them reports it. */
    meta: (server: Server): object =>
      (answers[server]?.jsz as { meta_cluster: object }).meta_cluster,
    consumer: (server: Server, name: string): Consumer => {
      const found = fake.stream(server).consumer_detail?.find((each) => each.name === name)
      if (!found) throw new Error(`${server} has no ${name}`)
      return found
    },
    /** Makes all copies of a stream agree on its leader. */
    lead: (leader: string | undefined): void => {
      for (const server of SERVERS) Object.assign(fake.stream(server).cluster ?? {}, { leader })
    },
    /** Reads once. What cannot be read and belongs to no stream is `unread`. */
    read: async (timeoutMillis?: number) => {
      const reading = await source.read(new AbortController().signal, timeoutMillis)
      const last = reading.shards.at(-1)
      const isUnread = last?.shard === 'servers of JetStream'
      return {
        ...reading,
        shards: isUnread ? reading.shards.slice(0, -1) : reading.shards,
        unread: isUnread ? last.problem : undefined,
      }
    },
    /** Reads once, and returns the stream ORDERS with its followers by name. */
    readShard: async () => {
      const { shards, ...reading } = await fake.read()
      const shard = shards.find((each) => each.shard === 'ORDERS')
      if (!shard) throw new Error(`no shard: ${reading.note}`)
      const followers = new Map(shard.followers.map((each) => [each.replica, each]))
      const follower = (name: string) => followers.get(name)
      return { ...shard, ...reading, names: [...followers.keys()], follower }
    },
  }
  const source = jetstreamSource({
    servers: SERVERS.map((server) => `http://${server}:8222`),
    fetch: fakeFetch(async (path, { url, headers, signal }) => {
      const { hostname } = new URL(url)
      asked.push(`${hostname} ${path.replace(/\?.*/, '')}`)
      fake.headers.set(hostname, headers)
      fake.paths.push(path)
      fake.onAsk()
      await sleep(fake.delays.get(hostname) ?? 0)
      if (hostname === 'hangs') return untilAborted(signal)
      const server = answers[hostname]
      if (!server) throw new TypeError('fetch failed')
      if (path.endsWith('/varz')) return server.varz
      if (path.endsWith('/routez')) return server.routez
      if (path.endsWith('/healthz')) return fake.health
      const isLeftOut = (key: string) =>
        (key === 'consumer_detail' && !path.includes('consumers=true')) ||
        (key === 'config' && !path.includes('config=true'))
      const answer = without(server.jsz, isLeftOut)
      return new FakeResponse(200, fake.text.replace(answer))
    }),
    ...options,
  })
  return fake
}

function without(answer: unknown, isLeftOut: (key: string) => boolean): string {
  const replacer = (key: string, value: unknown) => (isLeftOut(key) ? undefined : value)
  return JSON.stringify(answer, replacer)
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error))
  })
}
