import { boolean, integer, optional, parseFields, required, text } from '../shared/fields.js'
import { array, object } from '../shared/http.js'
import type { Configs } from './configs.js'
import { attempt, nameOf } from './faults.js'
import type { Account, ConsumerView, Members, ServerView, StreamState, StreamView } from './view.js'

export type ParsedView = Omit<ServerView, 'isSettled'>

/** An answer to `/jsz`, whose streams are not parsed yet. */
export interface Answer {
  readonly id: string
  readonly isDisabled: boolean
  readonly meta: unknown
  readonly accounts: readonly unknown[]
}

const ANSWER = {
  server_id: required(text),
  disabled: optional(boolean),
  meta_cluster: raw,
  account_details: array,
}
const META = { leader: optional(anyText), replicas: array, cluster_size: optional(integer) }
const ACCOUNT = { name: required(text), id: optional(text), stream_detail: array }
const STREAM = {
  name: required(text),
  created: raw,
  cluster: raw,
  config: raw,
  state: raw,
  mirror: raw,
  consumer_detail: raw,
}
const STATE = { messages: required(integer), last_seq: required(integer), last_ts: optional(text) }
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
  created: optional(text),
  cluster: raw,
  config: raw,
  num_pending: raw,
  num_ack_pending: raw,
  delivered: raw,
  ack_floor: raw,
}
const COUNTS = {
  num_pending: count,
  num_ack_pending: count,
  delivered: streamSeq,
  ack_floor: streamSeq,
}

/** A server that was not heard of for this long is not connected. Idle mirrors are heard of each 5 seconds. */
const LOST_NANOS = 15e9

/** NATS's placeholder for a server not seen since the leader started. */
const UNKNOWN_NAME = 'Server name unknown'

const MAX_COUNT = 2n ** 64n - 1n

function raw(value: unknown): unknown {
  return value
}

function anyText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** How long ago. It is −1 if that never happened. */
function nanos(value: unknown, name: string): number {
  const parse = (each: unknown) => (/^-?\d+$/.test(String(each)) ? Number(each) : undefined)
  return required(parse)(value ?? 0, name)
}

/** A count that is far too high in some buggy versions. */
function count(value: unknown, name: string): bigint {
  const isHuge = typeof value === 'string' && /^\d{20,}$/.test(value)
  return isHuge ? MAX_COUNT : required(integer)(value, name)
}

/** The stream's part of a pair of sequences. 0 if there is none. */
function streamSeq(value: unknown, name: string): bigint {
  const { stream_seq } = (value ?? {}) as { stream_seq?: unknown }
  return optional(integer)(stream_seq, `${name}.stream_seq`) ?? 0n
}

/** @throws Error that names the invalid field. */
export function parseAnswer(answer: unknown): Answer {
  const { server_id, disabled, meta_cluster, account_details } = parseFields(ANSWER, answer)
  return {
    id: server_id,
    isDisabled: disabled === true,
    meta: meta_cluster,
    accounts: account_details,
  }
}

/** Parses all parts of an answer. Those that are invalid are left out, and noted as faults. */
export function parseView(answer: Answer, server: string, configs: Configs): ParsedView {
  const faults: string[] = []
  const streams = new Map<string, StreamView>()
  const members = attempt(faults, 'meta_cluster: ', () => parseMembers(answer.meta))
  for (const each of answer.accounts) {
    const account = attempt(faults, `account ${nameOf(each)}: `, () => parseFields(ACCOUNT, each))
    if (!account) continue
    const { name, id = name, stream_detail } = account
    for (const detail of stream_detail) {
      const stream = attempt(faults, `stream ${nameOf(detail)} of account ${name}: `, () =>
        parseStream(detail, { id, name }, server, configs),
      )
      if (stream) streams.set(stream.key, stream)
    }
  }
  const { id, isDisabled } = answer
  return { server, id, hasJetStream: !isDisabled, members, streams, faults }
}

function parseMembers(meta: unknown): Members | undefined {
  if (!object(meta)) return undefined
  const { leader, replicas, cluster_size } = parseFields(META, meta)
  const others = replicas.map((each) => parseFields(REPLICA, each).name).filter(isKnown)
  const names = leader ? [leader, ...others] : others
  return { leader, names, size: Number(cluster_size ?? names.length) }
}

function parseStream(
  detail: unknown,
  account: Account,
  server: string,
  configs: Configs,
): StreamView {
  const { name, created, cluster, config, state, mirror, consumer_detail } = parseFields(
    STREAM,
    detail,
  )
  const faults: string[] = []
  const key = `${account.id}/${name}`
  const group = attempt(faults, '', () => parseGroup(cluster, server, faults))
  const consumers = attempt(faults, '', () =>
    array(consumer_detail, 'consumer_detail').flatMap((each) => {
      return (
        attempt(faults, `consumer ${nameOf(each)}: `, () =>
          parseConsumer(each, key, server, configs),
        ) ?? []
      )
    }),
  )
  const info = object(mirror)
  const upstream = attempt(faults, 'mirror: ', () =>
    info
      ? configs.get(`${key} ${String(created)}`, config, (each) => parseUpstream(each, account.id))
      : undefined,
  )
  return {
    server,
    key,
    account,
    stream: name,
    leader: group?.leader,
    replicas: group?.replicas ?? [],
    hasUnknown: group?.hasUnknown === true,
    state: attempt(faults, '', () => parseState(created, state)),
    consumers: consumers ?? [],
    mirror: info && { upstream, ...parseMirror(info) },
    faults,
  }
}

/** A server that is not in a cluster leads all that it has. */
function parseCluster(cluster: unknown, server: string) {
  if (cluster === undefined) return { leader: server, replicas: [] }
  return parseFields(CLUSTER, required(object)(cluster, 'cluster'))
}

function parseGroup(cluster: unknown, server: string, faults: string[]) {
  const { leader, replicas } = parseCluster(cluster, server)
  const parsed = replicas.flatMap((each) => {
    return attempt(faults, `replica ${nameOf(each)}: `, () => parseFields(REPLICA, each)) ?? []
  })
  const known = parsed.filter(({ name }) => isKnown(name) && name !== leader)
  const views = known.map(({ name, offline, active }) => {
    return [name, { name, isAlive: offline !== true && isRecent(active) }] as const
  })
  const hasUnknown = parsed.some(({ name }) => !isKnown(name))
  return { leader, replicas: [...new Map(views).values()], hasUnknown }
}

function parseConsumer(
  detail: unknown,
  stream: string,
  server: string,
  configs: Configs,
): ConsumerView {
  const { name, created = '', cluster, config, ...counts } = parseFields(CONSUMER, detail)
  const faults: string[] = []
  const group = attempt(faults, '', () => parseCluster(cluster, server))
  const state = attempt(faults, '', () => {
    const { num_pending, num_ack_pending, delivered, ack_floor } = parseFields(COUNTS, counts)
    return { pending: num_pending, unacknowledged: num_ack_pending, delivered, ackFloor: ack_floor }
  })
  const isDurable = configs.get(`${stream} ${name} ${created}`, config, (each) =>
    Boolean(parseFields({ durable_name: optional(anyText) }, each).durable_name),
  )
  return { name, created, leader: group?.leader, isDurable: isDurable ?? false, state, faults }
}

function parseMirror(info: object) {
  const faults: string[] = []
  const state = attempt(faults, '', () => parseFields(MIRROR, info))
  if (!state) return { isAlive: false, error: faults[0] }
  const { description } = parseFields({ description: optional(anyText) }, state.error)
  const error = state.error && (description ?? 'it has an error')
  return { isAlive: error === undefined && isRecent(state.active), error }
}

function parseState(created: unknown, state: unknown): StreamState {
  const fields = parseFields(STATE, required(object)(state, 'state'))
  return {
    created: required(text)(created, 'created'),
    lastSeq: fields.last_seq,
    messages: fields.messages,
    lastTime: Math.max(0, Date.parse(fields.last_ts ?? '')),
  }
}

function parseUpstream(config: object, account: string): string | undefined {
  const { mirror } = config as { mirror?: unknown }
  if (!object(mirror)) return undefined
  const { name, filter_subject = '', subject_transforms, external } = parseFields(UPSTREAM, mirror)
  const isPartial = filter_subject !== '' || subject_transforms.length > 0
  return isPartial || external ? undefined : `${account}/${name}`
}

function isKnown(name: string): boolean {
  return !name.startsWith(UNKNOWN_NAME)
}

function isRecent(active: number): boolean {
  return active >= 0 && active < LOST_NANOS
}
