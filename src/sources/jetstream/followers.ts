import type { ConsumerView, ReplicaView, ServerView, StreamView } from './answer.js'
import { unreachable } from '../shared/nodes.js'
import type { FollowerReading } from '../source.js'

/** A follower, as the `filter` option sees it. */
export interface JetStreamFollower {
  readonly kind: 'server' | 'consumer' | 'mirror'
  /** The name that it is reported under. */
  readonly replica: string
  readonly account: string
  readonly stream: string
  /** Whether it is a consumer without a durable name. Clients that come and go have such, with random names. */
  readonly isEphemeral: boolean
}

const AHEAD = 'it has messages that the leader does not have: they have diverged'
const OLD_UPSTREAM = 'its upstream was recreated, and it still has messages of the old one'

/** Finds the leader of each stream. Two servers can claim it for a while: the one that was replaced has no newer messages. */
export function leadersOf(streams: readonly StreamView[]): Map<string, StreamView> {
  const leaders = new Map<string, StreamView>()
  for (const each of streams) {
    const other = leaders.get(each.key)
    if (each.leader === each.server && (!other || isNewer(each, other))) leaders.set(each.key, each)
  }
  return leaders
}

function isNewer(a: StreamView, b: StreamView): boolean {
  if (a.created === b.created) return a.lastSeq > b.lastSeq
  return Date.parse(a.created) > Date.parse(b.created)
}

/** What the servers say of their streams, to find the followers of each. */
export class Cluster {
  /** One view of each stream, with or without a leader. */
  readonly streams: readonly StreamView[]
  /** What all servers say of each stream, by its key. */
  private readonly copies: ReadonlyMap<string, readonly [StreamView, ...StreamView[]]>
  /** The servers that lead a stream which has followers on other servers. */
  readonly followed: ReadonlySet<string>
  /** The leaders of mirrors, by the key of their upstream. */
  private readonly mirrors: ReadonlyMap<string, readonly StreamView[]>
  private readonly servers: ReadonlySet<string>

  /** @param missing why a server is not among the views */
  constructor(
    views: readonly ServerView[],
    private readonly missing: Error,
  ) {
    const streams = views.flatMap((each) => each.streams)
    const leaders = [...leadersOf(streams).values()]
    this.servers = new Set(views.map(({ server }) => server))
    this.copies = groupBy(streams, ({ key }) => key)
    this.streams = [...this.copies.values()].map(([first]) => first)
    this.mirrors = groupBy(leaders, ({ mirror }) => mirror?.upstream ?? '')
    const isFollowed = ({ key, copies }: StreamView) => copies > 1 || this.mirrors.has(key)
    this.followed = new Set(leaders.filter(isFollowed).map(({ server }) => server))
  }

  /**
   * Returns the followers of a stream that the filter lets through.
   *
   * @param leader was read after the views.
   */
  followersOf(
    leader: StreamView,
    passes: (follower: JetStreamFollower) => boolean,
  ): FollowerReading[] {
    const { account, stream, key, replicas } = leader
    const found: FollowerReading[] = []
    const add = (kind: JetStreamFollower['kind'], reading: Named, isEphemeral = false) => {
      const { replica } = reading
      if (passes({ kind, replica, account, stream, isEphemeral })) found.push(reading)
    }
    const others = listOf(this.copies, key).filter(({ server }) => server !== leader.server)
    for (const replica of replicas) add('server', this.readServer(leader, replica, others))
    const consumers = groupBy(
      [leader, ...others].flatMap((copy) => copy.consumers.map((each) => ({ ...each, copy }))),
      ({ name }) => name,
    )
    for (const views of consumers.values()) {
      const view = views.find((each) => each.leader === each.copy.server) ?? views[0]
      add('consumer', this.readConsumer(leader, view), !view.isDurable)
    }
    for (const mirror of listOf(this.mirrors, key)) add('mirror', readMirror(leader, mirror))
    return found
  }

  private readServer(
    leader: StreamView,
    replica: ReplicaView,
    others: readonly StreamView[],
  ): Named {
    const { name, isAlive: connected } = replica
    if (!this.servers.has(name)) return { ...unreachable(name, this.missing), replica: name }
    const copy = others.find(({ server }) => server === name)
    // It has not created its copy yet, or still has the copy of a stream that was removed.
    if (copy?.created !== leader.created) return { replica: name, connected }
    if (copy.lastSeq > leader.lastSeq) return { replica: name, connected, problem: AHEAD }
    return { replica: name, connected, appliedSeqno: copy.lastSeq }
  }

  /** Counts only what the consumer waits for. Differences of sequence numbers also count what it does not want, or is deleted. */
  private readConsumer(
    leader: StreamView,
    view: ConsumerView & { readonly copy: StreamView },
  ): Named {
    const { name, copy, pending, unacknowledged } = view
    const replica = `consumer/${name}`
    if (view.leader !== undefined && !this.servers.has(view.leader)) {
      return { ...unreachable(replica, this.missing), replica }
    }
    if (view.leader !== copy.server || copy.created !== leader.created) {
      return { replica, connected: false }
    }
    const lastSeq = min(copy.lastSeq, leader.lastSeq)
    const receivedSeqno = lastSeq - min(pending, copy.messages, lastSeq)
    const appliedSeqno = receivedSeqno - min(unacknowledged, receivedSeqno)
    return { replica, receivedSeqno, appliedSeqno }
  }
}

type Named = FollowerReading & { readonly replica: string }

/** A mirror has the sequence numbers of its upstream. */
function readMirror(
  upstream: StreamView,
  { stream, mirror, lastSeq, lastTime }: StreamView,
): Named {
  const reading = { replica: `mirror/${stream}`, connected: mirror?.isAlive === true }
  // In a mirror of a mirror, messages are older than the stream.
  const isOld = !upstream.mirror && lastTime > 0 && lastTime < Date.parse(upstream.created)
  if (isOld || lastSeq > upstream.lastSeq) return { ...reading, problem: OLD_UPSTREAM }
  const problem = mirror?.error
  return { ...reading, appliedSeqno: lastSeq, ...(problem !== undefined && { problem }) }
}

function min(...values: [bigint, ...bigint[]]): bigint {
  return values.reduce((a, b) => (a < b ? a : b))
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string) {
  const groups = new Map<string, [T, ...T[]]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group) group.push(item)
    else groups.set(keyOf(item), [item])
  }
  return groups
}

function listOf<T>(groups: ReadonlyMap<string, readonly T[]>, key: string): readonly T[] {
  return groups.get(key) ?? []
}
