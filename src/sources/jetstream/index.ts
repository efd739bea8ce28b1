import { parseName } from '../../support/names.js'
import {
  checkBoolean,
  checkObject,
  optionError,
  warnAboutUnknown,
} from '../../support/option-errors.js'
import { checkFetch, describeFailures, parseServers, type Fetch } from '../shared/http.js'
import { askServer, type ServerView, type StreamView } from './answer.js'
import { Cluster, leadersOf, type JetStreamFollower } from './followers.js'
import { askAll, Node, type Answered } from '../shared/nodes.js'
import { RemovedFollowers } from '../shared/removed-followers.js'
import type { ReplicationReading, ReplicationSource, ShardReading } from '../source.js'
import { checkNameAndFilter, passesFilter } from '../shared/options.js'

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
  readonly fetch?: Fetch
  /**
   * The streams to report, by the name of the stream or of its shard.
   *
   * @default all
   */
  readonly streams?: readonly string[]
  /**
   * Whether to report the consumers of each stream too, as `consumer/NAME`.
   *
   * @default false
   */
  readonly consumers?: boolean
  /**
   * The name of the source: the `source` attribute of its metrics.
   *
   * @default `jetstream:` and the host of the first server
   */
  readonly name?: string
  /**
   * Decides which followers to report. It is called for each follower at each read.
   *
   * @default all are reported
   * @example ({ isEphemeral }) => !isEphemeral
   */
  readonly filter?: (follower: JetStreamFollower) => boolean
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
  const { servers, streams, consumers, name, passes } = checkOptions(options)
  const nodes = new Map(servers.map((each) => [each.url, new Node(askServer(each, consumers))]))
  const removed = new RemovedFollowers()

  const isWanted = (each: StreamView) =>
    !streams || streams.has(each.stream) || streams.has(shardOf(each))

  async function read(signal: AbortSignal): Promise<ReplicationReading> {
    const first = await askAll(nodes, signal)
    const failures = describeFailures(first)
    const views = viewsIn(first)
    if (views.length === 0) throw new Error(`no server of JetStream can be read: ${failures}`)
    const cluster = new Cluster(views, new Error(failures || NOT_A_SERVER))

    // Leaders are read again, after their followers.
    const isFollowed = (view?: ServerView) =>
      view !== undefined && cluster.followed.has(view.server)
    const followed = [...nodes].filter(([url]) => isFollowed(first.get(url)?.answer))
    const second = viewsIn(await askAll(new Map(followed), signal))
    signal.throwIfAborted()
    const newest = [...views.filter((view) => !isFollowed(view)), ...second]
    const leaders = leadersOf(newest.flatMap((view) => view.streams))

    const wanted = cluster.streams.filter(isWanted)
    const led = wanted.flatMap(({ key }) => leaders.get(key) ?? [])
    const shards = led.map((leader): ShardReading => {
      const followers = cluster.followersOf(leader, passes)
      const { lastSeq: leaderSeqno, created: epoch } = leader
      return { shard: shardOf(leader), leaderSeqno, epoch, followers }
    })
    const faults = [wanted.length > led.length ? LEADERLESS : '', failures].filter(Boolean)
    const note = faults.join(': ')
    if (shards.length === 0 && wanted.length > 0) throw new Error(note)
    if (wanted.length === 0) return { shards, note: note || NO_STREAM }
    // Whoever is missing from such a reading may still be there.
    if (note !== '' || !led.every(isWhole)) return { shards, note }
    return { shards: removed.addTo(shards) }
  }

  return {
    name,
    read: (signal) =>
      read(signal).catch((error: unknown) => {
        throw signal.aborted ? signal.reason : error
      }),
  }
}

const NOT_A_SERVER = 'no server of this name is among the monitoring URLs'
const LEADERLESS = 'JetStream has streams without a leader that can be read'
const NO_STREAM = 'JetStream has none of the streams'

function viewsIn(answers: ReadonlyMap<string, Answered<ServerView>>): ServerView[] {
  return [...answers.values()].flatMap(({ answer = [] }) => answer)
}

/** Whether the leader knows the servers of all copies by name. It does not know one that is down since it has started. */
function isWhole({ replicas, copies }: StreamView): boolean {
  return replicas.length + 1 >= copies
}

/** Streams of other accounts than the default one can have the same name. Names of streams have no slash. */
function shardOf({ account, stream }: StreamView): string {
  return account === '$G' ? stream : `${account}/${stream}`
}

function checkOptions(options: JetStreamSourceOptions) {
  checkObject('options', options)
  const { servers, fetch, streams, consumers = false, name, filter, ...unknown } = options
  warnAboutUnknown('jetstreamSource', unknown)
  const parsed = parseServers('servers', servers, fetch)
  const isList = Array.isArray(streams) && streams.every((each) => parseName(each) !== undefined)
  if (streams !== undefined && !isList) throw optionError('streams', 'an array of names', streams)
  checkBoolean('consumers', consumers)
  checkFetch(fetch)
  checkNameAndFilter({ name, filter })
  return {
    servers: parsed,
    streams: streams && new Set(streams),
    consumers,
    name: name ?? `jetstream:${parsed[0].host}`,
    passes: (follower: JetStreamFollower) => passesFilter(filter, follower),
  }
}
