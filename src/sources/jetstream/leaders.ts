import { groupBy } from '../shared/groups.js'
import type { MirrorView, ServerView, StreamState, StreamView } from './view.js'

/** A stream, as its leader reports it. */
export type LeaderView = StreamView & { readonly state: StreamState }

export type LeadingMirror = LeaderView & { readonly mirror: MirrorView }

/** The leader of a stream, and all servers that say that they lead it. */
export interface Leadership {
  readonly leader: LeaderView
  readonly claims: readonly string[]
}

/**
 * Finds the leader of each stream. Two servers can claim to lead it for a while. The one that was replaced has no newer
 * messages, and fewer servers follow it.
 */
export function findLeaders(views: Iterable<ServerView>): Map<string, Leadership> {
  const all = [...views]
  const starting = new Set(all.filter((each) => !each.isSettled).map(({ server }) => server))
  const streams = all.flatMap((each) => [...each.streams.values()])
  const found = new Map<string, Leadership>()
  for (const [key, copies] of groupBy(streams, (each) => each.key)) {
    // A server that has just started says that it leads, without others, what it has not joined yet.
    const isJoining = ({ server, replicas }: StreamView) =>
      starting.has(server) &&
      replicas.length === 0 &&
      copies.some(({ leader = server }) => leader !== server)
    const claims = copies.filter(isLeader).filter((each) => !isJoining(each))
    const [first] = claims
    if (!first) continue
    const votesFor = ({ server }: StreamView) =>
      copies.filter((each) => each.leader === server).length
    const leader = claims.reduce((a, b) => {
      return (compare(a.state, b.state) || votesFor(a) - votesFor(b)) < 0 ? b : a
    }, first)
    found.set(key, { leader, claims: claims.map(({ server }) => server) })
  }
  return found
}

function isLeader(stream: StreamView): stream is LeaderView {
  return stream.leader === stream.server && stream.state !== undefined
}

export function isMirror(stream: LeaderView): stream is LeadingMirror {
  return stream.mirror?.upstream !== undefined
}

function compare(a: StreamState, b: StreamState): number {
  const age = a.created === b.created ? 0 : Date.parse(a.created) - Date.parse(b.created)
  return age || Number(a.lastSeq - b.lastSeq)
}

/** Returns the URLs of the servers that lead a stream which has followers on other servers. */
export function findFollowed(views: ReadonlyMap<string, ServerView>): string[] {
  const leaders = findLeaders(views.values())
  const followed = new Set<string>()
  for (const { leader } of leaders.values()) {
    if (leader.replicas.length > 0) followed.add(leader.server)
    const upstream = leaders.get(leader.mirror?.upstream ?? '')?.leader
    if (upstream && upstream.server !== leader.server) followed.add(upstream.server)
  }
  return [...views].flatMap(([url, { server }]) => (followed.has(server) ? [url] : []))
}
