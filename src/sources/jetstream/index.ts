import { parseName } from '../../support/names.js'
import { checkBoolean, checkObject, optionError } from '../../support/option-errors.js'
import { checkFetch, parseServers, type Fetch } from '../shared/http.js'
import { DEFAULT_TIMEOUT_MILLIS, Nodes } from '../shared/nodes.js'
import { checkCommonOptions } from '../shared/options.js'
import type { ReplicationSource } from '../source.js'
import { Cluster } from './cluster.js'
import { CaughtUp } from './consumers.js'
import { Discovery } from './discovery.js'
import { ADVICE, NO_STREAM, NOT_ENABLED, SERVERS } from './errors.js'
import { Followers, type JetStreamFollower } from './followers.js'
import { findFollowed } from './leaders.js'
import { Histories, ShardNames } from './shards.js'
import type { StreamView } from './view.js'

export type { JetStreamFollower } from './followers.js'

/** Options of {@link jetstreamSource}. */
export interface JetStreamSourceOptions {
  /**
   * The monitoring URLs of all servers of one cluster. A server that is not among them has no position.
   *
   * @example ['http://nats-1:8222', 'http://nats-2:8222', 'http://nats-3:8222']
   */
  readonly servers: readonly string[]
  /**
   * Sends the requests. Pass one that adds headers, or that trusts the certificates of the servers.
   *
   * @default the global `fetch`
   */
  readonly fetch?: Fetch | undefined
  /**
   * The streams to report, by the name of the stream or of its shard.
   *
   * @default all
   */
  readonly streams?: readonly string[] | undefined
  /**
   * Whether to report the consumers of each stream too, as `consumer/NAME`.
   *
   * @default false
   */
  readonly consumers?: boolean | undefined
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default `jetstream:` and the host of the first server
   */
  readonly name?: string | undefined
  /**
   * Decides which followers to report. It is called for each follower at each read.
   *
   * @default all are reported
   * @example ({ isEphemeral }) => !isEphemeral
   */
  readonly filter?: ((follower: JetStreamFollower) => boolean) | undefined
}

/**
 * Reads the streams of a NATS JetStream cluster through the monitoring ports of its servers.
 *
 * Each stream is a shard. The leader seqno is the `last_seq` of its leader. Followers are the other servers that hold the
 * stream, by their names and their own `last_seq`, its mirrors (`mirror/NAME`) and its consumers (`consumer/NAME`).
 *
 * @throws TypeError that names the invalid option.
 */
export function jetstreamSource(options: JetStreamSourceOptions): ReplicationSource {
  const { servers, open, streams, parameters, name, passes } = checkOptions(options)
  const nodes = new Nodes(findFollowed)
  const discovery = new Discovery(servers, nodes, open, parameters)
  const isWanted = ({ stream, account }: StreamView, shard: string) =>
    !streams || [shard, stream, `${account.name}/${stream}`].some((each) => streams.has(each))
  const histories = new Histories()
  const shardNames = new ShardNames()
  const caughtUp = new CaughtUp()

  return {
    name,
    async read(signal, timeoutMillis = DEFAULT_TIMEOUT_MILLIS) {
      const survey = await nodes.read(signal, timeoutMillis)
      const cluster = new Cluster(survey, (url) => discovery.nameOf(url))
      const left = timeoutMillis * MOST - (performance.now() - survey.startedAt)
      await discovery.update(cluster, Math.min(left, timeoutMillis * FINDING))
      signal.throwIfAborted()
      const { views, copies, isComplete, failures } = cluster
      if (views.size === 0) throw new Error(`no server of JetStream can be read: ${failures}`)
      const isEnabled = [...views.values()].some(({ hasJetStream }) => hasJetStream)
      if (!isEnabled) throw new Error([NOT_ENABLED, failures].filter(Boolean).join(': '))
      const followers = new Followers(cluster, caughtUp, passes)
      shardNames.update([...copies.values()].flat(), isComplete)
      const wanted = [...copies.values()].filter(([each]) => isWanted(each, shardNames.of(each)))
      const shards = wanted.map((each) =>
        followers.read(shardNames.of(each[0]), each, (leader) => histories.epochOf(leader)),
      )
      if (isComplete) histories.forgetOthers(copies)
      caughtUp.endReading(isComplete)
      const [first] = shards
      if (first && shards.every(({ leaderSeqno }) => leaderSeqno === undefined)) {
        const faults = [`${first.shard}: ${String(first.problem)}`, failures]
        throw new Error(`no stream can be read: ${faults.filter(Boolean).join('; ')}`)
      }
      // What they hold is not in any shard.
      if (failures) shards.push({ shard: SERVERS, followers: [], problem: failures })
      const note = wanted.length === 0 ? NO_STREAM : undefined
      return { shards, complete: isComplete, note }
    },
  }
}

/** Which part of the time of a read servers may be looked for, and which part may have passed when that ends. */
const [FINDING, MOST] = [0.2, 0.8]

function checkOptions(options: JetStreamSourceOptions) {
  checkObject('options', options)
  const { servers, fetch, streams, consumers = false, ...rest } = options
  const parse = (urls: unknown) => parseServers('servers', urls, fetch, ADVICE)
  const parsed = parse(servers)
  const open = (url: string) => parse([url])[0]
  const isList = Array.isArray(streams) && streams.every((each) => parseName(each) !== undefined)
  if (streams !== undefined && !isList) throw optionError('streams', 'an array of names', streams)
  checkBoolean('consumers', consumers)
  checkFetch(fetch)
  const { name = `jetstream:${parsed[0].host}`, passes } = checkCommonOptions('jetstream', rest)
  const consumed = consumers ? '&consumers=true' : ''
  const parameters = `${consumed}${accountOf(streams ?? [])}`
  return {
    servers: parsed,
    open,
    streams: streams && new Set(streams),
    parameters,
    name,
    passes,
  }
}

/** Returns the parameter for the only account of some shards. A server that does not know the account ignores it. */
function accountOf(streams: readonly string[]): string {
  const [account = '', ...others] = new Set(streams.map((each) => each.replace(/\/?[^/]*$/, '')))
  if (account === '' || others.length > 0) return ''
  return `&accounts=true&acc=${encodeURIComponent(account)}`
}
