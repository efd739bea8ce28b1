import { groupBy } from '../shared/groups.js'
import { unreachable } from '../shared/nodes.js'
import type { FollowerReading, ShardReading } from '../source.js'
import type { Cluster } from './cluster.js'
import type { CaughtUp } from './consumers.js'
import { AHEAD, NO_LEADER, OLD_UPSTREAM } from './errors.js'
import type { LeaderView, LeadingMirror } from './leaders.js'
import type { ConsumerView, ReplicaView, StreamView } from './view.js'

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

/** @internal What the servers that hold a stream answer about it. */
export type Copies = readonly [StreamView, ...StreamView[]]

type Named = FollowerReading & { readonly replica: string }
type Consumer = ConsumerView & { readonly copy: StreamView }

/** @internal Finds the followers of streams. */
export class Followers {
  constructor(
    private readonly cluster: Cluster,
    private readonly caughtUp: CaughtUp,
    private readonly passes: (follower: JetStreamFollower) => boolean,
  ) {}

  /** Returns the reading of a stream, with the followers that the filter lets through. */
  read(shard: string, copies: Copies, epochOf: (leader: LeaderView) => string): ShardReading {
    const [{ key, stream, account }] = copies
    const { leader, claims = [] } = this.cluster.leaders.get(key) ?? {}
    const epoch = leader && epochOf(leader)
    const followers: FollowerReading[] = []
    const add = (kind: JetStreamFollower['kind'], reading: Named, isEphemeral = false) => {
      const { replica } = reading
      const follower = { kind, replica, account: account.name, stream, isEphemeral }
      if (this.passes(follower)) followers.push(reading)
    }
    for (const each of this.serversOf(copies, leader)) add('server', this.readServer(leader, each))
    const consumers = copies.flatMap((copy) => copy.consumers.map((each) => ({ ...each, copy })))
    for (const views of groupBy(consumers, ({ name }) => name).values()) {
      const consumer = views.find((each) => each.leader === each.copy.server) ?? views[0]
      add('consumer', this.readConsumer(leader, consumer, epoch), !consumer.isDurable)
    }
    for (const each of this.cluster.mirrors.get(key) ?? [])
      add('mirror', readMirror(leader, each, this.cluster))
    const problem = this.problemOf(copies, leader, claims)
    return {
      shard,
      leaderSeqno: leader?.state.lastSeq,
      epoch,
      followers,
      // A follower that leads now is not one that has disconnected.
      ...(leader && { removed: [leader.server] }),
      ...(problem && { problem }),
    }
  }

  private problemOf(copies: Copies, leader: LeaderView | undefined, claims: readonly string[]) {
    const faults = copies.flatMap(({ server, faults }) =>
      faults.map((each) => `${server}: ${each}`),
    )
    if (faults.length > 0) return faults.join('; ')
    if (claims.length > 1) return `${claims.join(' and ')} say that they lead it`
    if (leader) return undefined
    const name = copies.find((each) => each.leader)?.leader
    if (!name) return NO_LEADER
    return `its leader ${name} cannot be read: ${this.cluster.whyNot(name)}`
  }

  /** Returns the servers that hold a stream, other than its leader. */
  private serversOf(copies: Copies, leader: LeaderView | undefined): Iterable<ReplicaView> {
    if (leader) return leader.replicas
    const leaders = new Set(copies.map((each) => each.leader))
    const names = copies.flatMap(({ server, replicas }) => [
      server,
      ...replicas.map(({ name }) => name),
    ])
    const others = [...new Set(names)].filter((name) => !leaders.has(name))
    return others.map((name) => ({ name, isAlive: false }))
  }

  private readServer(
    leader: LeaderView | undefined,
    { name: replica, isAlive: connected }: ReplicaView,
  ): Named {
    const { cluster } = this
    const view = cluster.views.get(replica)
    if (!view) return cannotRead(replica, cluster.whyNot(replica))
    if (!leader) return { replica, connected }
    const copy = view.streams.get(leader.key)
    if (copy && !copy.state) return cannotRead(replica, copy.faults.join('; '))
    // It has not created its copy yet, or still has the copy of a stream that was removed.
    if (copy?.state?.created !== leader.state.created) return { replica, connected }
    const comparedWith = cluster.leaderWhen(leader, replica)
    if (!comparedWith) return { replica, connected }
    const { lastSeq } = copy.state
    if (lastSeq > comparedWith.leaderSeqno) return { replica, diverged: true, problem: AHEAD }
    return { replica, connected, appliedSeqno: lastSeq, comparedWith }
  }

  /** Counts only what the consumer waits for. Differences of sequence numbers also count messages that it filters out or that were deleted. */
  private readConsumer(leader: LeaderView | undefined, consumer: Consumer, epoch = ''): Named {
    const { cluster } = this
    const { name, created, copy, state, faults } = consumer
    const replica = `consumer/${name}`
    if (consumer.leader && !cluster.views.has(consumer.leader)) {
      return cannotRead(replica, cluster.whyNot(consumer.leader))
    }
    if (!state || faults.length > 0) return cannotRead(replica, faults.join('; '))
    const isOf = consumer.leader === copy.server && copy.state?.created === leader?.state.created
    if (!leader || !copy.state || !isOf) return { replica, connected: false }
    const comparedWith = cluster.leaderWhen(leader, copy.server)
    if (!comparedWith) return { replica }
    const lastSeq = min(copy.state.lastSeq, comparedWith.leaderSeqno)
    const receivedSeqno = lastSeq - min(state.pending, copy.state.messages, lastSeq)
    const appliedSeqno = receivedSeqno - min(state.unacknowledged, receivedSeqno)
    const upTo = this.caughtUp.upTo(`${copy.key} ${epoch} ${name} ${created}`, state, lastSeq)
    const appliedUpTo = min(upTo, appliedSeqno)
    return { replica, receivedSeqno, appliedSeqno, appliedUpTo, comparedWith }
  }
}

/** A mirror has the sequence numbers of its upstream. */
function readMirror(
  upstream: LeaderView | undefined,
  mirror: LeadingMirror,
  cluster: Cluster,
): Named {
  const replica = `mirror/${mirror.stream}`
  const { lastSeq, lastTime } = mirror.state
  const { isAlive, error: problem } = mirror.mirror
  const comparedWith = upstream && cluster.leaderWhen(upstream, mirror.server)
  if (!comparedWith) return { replica, connected: isAlive && upstream !== undefined }
  // In a mirror of a mirror, messages are older than the stream.
  const isOld = !upstream.mirror && lastTime > 0 && lastTime < Date.parse(upstream.state.created)
  if (isOld || lastSeq > comparedWith.leaderSeqno) {
    return { replica, diverged: true, problem: OLD_UPSTREAM }
  }
  return {
    replica,
    connected: isAlive,
    appliedSeqno: lastSeq,
    comparedWith,
    ...(problem && { problem }),
  }
}

function cannotRead(replica: string, why: string): Named {
  return { ...unreachable(replica, new Error(why)), replica }
}

function min(...values: [bigint, ...bigint[]]): bigint {
  return values.reduce((a, b) => (a < b ? a : b))
}
