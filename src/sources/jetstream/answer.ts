import { boolean, integer, optional, parseFields, required, text } from '../shared/fields.js'
import { array, object, type HttpServer } from '../shared/http.js'

/** What one server says of itself and its streams. */
export interface ServerView {
  readonly server: string
  readonly streams: readonly StreamView[]
}

/** What one server says of one stream. Only its leader knows more than the state of its own copy. */
export interface StreamView {
  /** The server that says this. */
  readonly server: string
  /** Account and stream. Streams of several accounts can have one name. */
  readonly key: string
  readonly account: string
  readonly stream: string
  /** The name of the server that leads it, if it has a leader. */
  readonly leader: string | undefined
  readonly created: string
  readonly lastSeq: bigint
  readonly messages: bigint
  /** When its last message was stored, in milliseconds since 1970. 0 or NaN if it has none. */
  readonly lastTime: number
  readonly replicas: readonly ReplicaView[]
  /** How many servers hold the stream. */
  readonly copies: number
  readonly consumers: readonly ConsumerView[]
  readonly mirror: MirrorView | undefined
}

export interface ReplicaView {
  readonly name: string
  readonly isAlive: boolean
}

export interface ConsumerView {
  readonly name: string
  readonly leader: string | undefined
  readonly isDurable: boolean
  /** Messages that it has not been sent, and those that it has not acknowledged. */
  readonly pending: bigint
  readonly unacknowledged: bigint
}

export interface MirrorView {
  /** The key of the stream that it copies. `undefined` if it copies only a part, or a stream of another domain. */
  readonly upstream: string | undefined
  readonly isAlive: boolean
  readonly error: string | undefined
}

/** Returns the question for one server. */
export function askServer(server: HttpServer, consumers: boolean) {
  const path = `/jsz?accounts=true&streams=true&config=true${consumers ? '&consumers=true' : ''}`
  let known: { readonly server_id: string; readonly server_name: string } | undefined
  return async (signal: AbortSignal): Promise<ServerView> => {
    const { server_id, account_details } = await server.ask(path, parseAnswer, signal)
    // The answer has no name. The id is another one after each start.
    if (known?.server_id !== server_id) {
      known = await server.ask('/varz', (answer) => parseFields(VARZ, answer), signal)
    }
    if (known.server_id !== server_id) throw new Error(`${server.url}: ${BALANCED}`)
    const { server_name } = known
    const streams = account_details.flatMap(({ name, id, stream_detail }) =>
      stream_detail.map((each) => viewOf(each, server_name, { name, id: id ?? name })),
    )
    return { server: server_name, streams }
  }
}

const BALANCED = 'different servers answer in turn. Give the monitoring URL of each server'

/** A server that was not heard of for this long is not connected. Idle mirrors are heard of each 5 seconds. */
const LOST_NANOS = 15e9

/** What stands for the name of a server that was not up since the leader started. */
const UNKNOWN_NAME = 'Server name unknown'

const VARZ = { server_id: required(text), server_name: required(text) }
const ANSWER = { server_id: required(text), account_details: array }
const ACCOUNT = { name: required(text), id: optional(text), stream_detail: array }
const STREAM = {
  name: required(text),
  created: required(text),
  cluster: optional(object),
  config: optional(object),
  state: required(object),
  mirror: optional(object),
  consumer_detail: array,
}
const STATE = { messages: required(integer), last_seq: required(integer), last_ts: optional(text) }
const CONFIG = { num_replicas: optional(integer), mirror: optional(object) }
const CLUSTER = { leader: optional(anyText), replicas: array }
const REPLICA = { name: required(text), offline: optional(boolean), active: nanos }
const UPSTREAM = {
  name: required(text),
  filter_subject: optional(anyText),
  subject_transforms: array,
  external: optional(object),
}
const MIRROR = { active: nanos, error: optional(object) }
const CONSUMER = {
  name: required(text),
  cluster: optional(object),
  config: optional(object),
  num_pending: count,
  num_ack_pending: count,
}

function anyText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** How long ago. It is −1 if that never happened. */
function nanos(value: unknown, name: string): number {
  return required((each) => (typeof each === 'number' ? each : undefined))(value ?? 0, name)
}

/** A count that can be far too high, through bugs of some versions. */
function count(value: unknown, name: string): bigint {
  const isHuge = typeof value === 'number' && value > Number.MAX_SAFE_INTEGER
  return required(integer)(isHuge ? Number.MAX_SAFE_INTEGER : value, name)
}

function parseAnswer(answer: unknown) {
  const { server_id, account_details } = parseFields(ANSWER, answer)
  const accounts = account_details.map((each) => {
    const account = parseFields(ACCOUNT, each)
    return { ...account, stream_detail: account.stream_detail.map(parseStream) }
  })
  return { server_id, account_details: accounts }
}

function parseStream(answer: unknown) {
  const { cluster, config, state, mirror, consumer_detail, ...stream } = parseFields(STREAM, answer)
  const { num_replicas, mirror: upstream } = parseFields(CONFIG, config)
  return {
    ...stream,
    ...parseFields(STATE, state),
    cluster: parseCluster(cluster),
    copies: Number(num_replicas ?? 1n),
    mirror: mirror && parseFields(MIRROR, mirror),
    upstream: upstream && parseFields(UPSTREAM, upstream),
    consumers: consumer_detail.map(parseConsumer),
  }
}

/** A server that is not in a cluster has none, and leads all that it has. */
function parseCluster(cluster: object | undefined) {
  if (!cluster) return undefined
  const { leader, replicas } = parseFields(CLUSTER, cluster)
  return { leader, replicas: replicas.map((each) => parseFields(REPLICA, each)) }
}

function parseConsumer(answer: unknown) {
  const { cluster, config, ...consumer } = parseFields(CONSUMER, answer)
  const { durable_name } = parseFields({ durable_name: optional(anyText) }, config)
  return { ...consumer, cluster: parseCluster(cluster), isDurable: Boolean(durable_name) }
}

function viewOf(
  stream: ReturnType<typeof parseStream>,
  server: string,
  account: { readonly name: string; readonly id: string },
): StreamView {
  const { name, created, cluster, copies, last_seq, messages, last_ts = '', consumers } = stream
  const leaderOf = (group: typeof cluster) => (group ? group.leader : server)
  const replicas = cluster?.replicas ?? []
  return {
    server,
    key: `${account.id}/${name}`,
    account: account.name,
    stream: name,
    leader: leaderOf(cluster),
    created,
    lastSeq: last_seq,
    messages,
    lastTime: Math.max(0, Date.parse(last_ts)),
    copies,
    replicas: replicas
      .filter(({ name }) => !name.startsWith(UNKNOWN_NAME))
      .map((each) => ({
        name: each.name,
        isAlive: each.offline !== true && isRecent(each.active),
      })),
    consumers: consumers.map((each) => ({
      name: each.name,
      leader: leaderOf(each.cluster),
      isDurable: each.isDurable,
      pending: each.num_pending,
      unacknowledged: each.num_ack_pending,
    })),
    mirror: mirrorOf(stream, account.id),
  }
}

function mirrorOf(
  { mirror, upstream }: ReturnType<typeof parseStream>,
  account: string,
): MirrorView | undefined {
  if (!mirror || !upstream) return undefined
  const { name, filter_subject = '', subject_transforms, external } = upstream
  const isPartial = filter_subject !== '' || subject_transforms.length > 0
  const { description } = parseFields({ description: optional(anyText) }, mirror.error)
  return {
    upstream: isPartial || external ? undefined : `${account}/${name}`,
    isAlive: !mirror.error && isRecent(mirror.active),
    error: mirror.error && (description ?? 'it has an error'),
  }
}

function isRecent(active: number): boolean {
  return active >= 0 && active < LOST_NANOS
}
