import {
  jetstreamSource,
  type JetStreamSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fakeFetch, FakeResponse } from '../shared/http-fakes.js'
import { ANSWERS } from './answers.js'

/** The parts of the recorded answers that tests change. */
export interface Stream {
  name: string
  created: string
  cluster?: Group
  config: { name: string; num_replicas: number; mirror?: unknown }
  state: { messages: number; last_seq: unknown; last_ts: string }
  mirror?: { name: string; active: number; lag: number; error?: unknown }
  consumer_detail?: Consumer[]
}

export interface Consumer {
  name: string
  config: object
  num_pending: number
  num_ack_pending: number
  created?: string
  delivered?: { stream_seq: number }
  ack_floor?: { stream_seq: number }
  cluster?: Group
}

export interface Group {
  leader?: string
  replicas?: { name: string; active: number; offline?: boolean }[]
}

export type Server = 'nats_1' | 'nats_2' | 'nats_3'

/** A source of three servers, which answer as it was recorded: nats_2 leads ORDERS. */
export function createFake(options: Partial<JetStreamSourceOptions> = {}) {
  const answers: Record<string, { varz: unknown; jsz: unknown; routez?: unknown } | undefined> =
    structuredClone(ANSWERS)
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
      for (const server of ['nats_1', 'nats_2', 'nats_3'] as const) {
        const { cluster } = fake.stream(server)
        if (leader === undefined) delete cluster?.leader
        else if (cluster) cluster.leader = leader
      }
    },
    read: (timeoutMillis?: number) => source.read(new AbortController().signal, timeoutMillis),
    /** Reads once, and returns one shard with its followers by name. */
    readShard: async (name = 'ORDERS') => {
      const { shards, note, complete } = await fake.read()
      const shard = shards.find((each) => each.shard === name)
      if (!shard) throw new Error(`no shard ${name}: ${note}`)
      const followers = new Map(shard.followers.map((each) => [each.replica, each]))
      return {
        ...shard,
        complete,
        names: [...followers.keys()],
        follower: (of: string) => followers.get(of),
      }
    },
  }
  const source = jetstreamSource({
    servers: ['http://nats_1:8222', 'http://nats_2:8222', 'http://nats_3:8222'],
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
  return Object.assign(fake, { source, setOnAsk: (onAsk: () => void) => void (fake.onAsk = onAsk) })
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
