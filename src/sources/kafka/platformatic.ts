import { orAborted } from '../shared/abort.js'
import { fieldsOf, findConsumers, index, map, type Cluster, type Question } from './answer.js'
import type { Address, Connection, Connections, PlatformaticAdmin } from './clients.js'
import { NO_ANSWER, PATIENCE, within, type Deadline, type KafkaClient } from './parts.js'
import { PlatformaticGroups } from './platformatic-groups.js'
import { PlatformaticTopics } from './platformatic-topics.js'

export class PlatformaticClient implements KafkaClient {
  private readonly route: Route | undefined
  private asking: Promise<ReadonlySet<number>> | undefined
  private readonly groups: PlatformaticGroups
  private readonly topics: PlatformaticTopics
  private consumers: Cluster['consumers'] = new Map()

  constructor(
    private readonly admin: PlatformaticAdmin,
    isolationLevel: 0 | 1,
  ) {
    this.route = admin.connections && routeOf(admin.connections)
    this.groups = new PlatformaticGroups(admin)
    this.topics = new PlatformaticTopics(admin, isolationLevel)
  }

  async read(question: Question, deadline: Deadline): Promise<Cluster> {
    const brokers = await this.readBrokers(deadline)
    // Metadata can take seconds while a partition has no leader. That must not come between the commits and the ends of logs.
    const [listFailure] = await Promise.all([
      this.groups.list(deadline),
      this.topics.readAgain(question, deadline),
    ])
    const groups = await this.groups.read(question.groups, this.consumers, brokers, deadline)
    const consumers = findConsumers(question, groups, this.consumers, (topic) =>
      this.topics.isDenied(topic),
    )
    this.consumers = consumers
    const names = question.topics ?? [...consumers.keys()]
    const topics = await this.topics.read(names, consumers, brokers, deadline)
    const { shareGroups } = this.groups
    return { groups, topics, consumers, ...(!question.groups && { listFailure, shareGroups }) }
  }

  /** Finds the brokers. If the one that the client asks does not answer, it asks others. */
  private async readBrokers({ signal, left }: Deadline): Promise<ReadonlySet<number>> {
    for (let tries = 3; ; tries--) {
      // An answer to a question of an earlier read is as good.
      this.asking ??= this.askBrokers().finally(() => (this.asking = undefined))
      const isLast = tries === 1 || !this.route?.hasOther
      const patience = left() * (isLast ? 2 * PATIENCE : PATIENCE)
      const found = await orAborted(within(this.asking, patience), signal)
      if (found) return found
      await orAborted(this.route?.avoid() ?? Promise.resolve(), signal)
      if (isLast) throw NO_ANSWER.error
    }
  }

  /**
   * The client connects to the brokers that it knows. It ends the process if the coordinator of a group is one that it has
   * not seen yet, so its list is renewed first.
   */
  private async askBrokers(): Promise<ReadonlySet<number>> {
    const { brokers } = fieldsOf(await this.admin.metadata({ topics: [], forceUpdate: true }))
    return new Set([...map(brokers, 'brokers').keys()].map((id) => index(id, 'broker')))
  }
}

/** How often the only broker may not answer before its connection is replaced. */
const MAX_MISSES = 3

const routes = new WeakMap<Connections, Route>()

function routeOf(connections: Connections): Route {
  const route = routes.get(connections) ?? new Route(connections)
  routes.set(connections, route)
  return route
}

/** Which broker the client asks where any can answer: the first that accepts a connection, even if it never answers. */
class Route {
  private skipped = 0
  /** How many brokers the client can ask. */
  private count = 0
  private misses = 0
  private connection: Connection | undefined

  constructor(private readonly connections: Connections) {
    // A connection with SASL that is reset emits two errors, and the client listens to one. The other would end the process
    // (seen with 1.35.0).
    const guard = (connection: Connection) => connection.on('error', () => undefined)
    for (const [, connection] of connections) guard(connection)
    connections.on('connecting', (event: { readonly connection: Connection }) =>
      guard(event.connection),
    )
    const getFirst = connections.getFirstAvailable?.bind(connections)
    if (!getFirst) return
    connections.getFirstAvailable = (brokers, callback) => {
      this.connection = undefined
      return getFirst(this.order(brokers), (error, connection) => {
        this.connection = connection
        callback(error, connection)
      })
    }
  }

  /** Whether there is a broker that the client could ask instead. */
  get hasOther(): boolean {
    return this.count > 1
  }

  /** Lets the client ask another broker from now on. What the last one has not answered fails. */
  async avoid(): Promise<void> {
    // A user that is not known is refused only after a while.
    if (!this.hasOther && ++this.misses % MAX_MISSES !== 0) return
    this.skipped++
    const open = [...this.connections].map(([, connection]) => connection)
    const hung = this.connection ? [this.connection] : open.filter((each) => !each.isConnected?.())
    const close = async (connection: Connection) => connection.close?.().catch(() => undefined)
    await Promise.all(hung.map(close))
  }

  private order(brokers: readonly Address[]): Address[] {
    const all = [...new Map(brokers.map((each) => [`${each.host}:${each.port}`, each])).values()]
    this.count = all.length
    const first = this.skipped % Math.max(1, all.length)
    return [...all.slice(first), ...all.slice(0, first)]
  }
}
