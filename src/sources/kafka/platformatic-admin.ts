import { hasMethods } from '../../support/option-errors.js'

interface Emitter {
  on(event: string, listener: (argument: never) => void): unknown
}

interface Connection extends Emitter {
  close?(): Promise<unknown>
}

/** What is used of an `Admin` of `@platformatic/kafka`, 1.35 or newer. */
export interface PlatformaticAdmin {
  metadata(question: { topics: string[]; forceUpdate: boolean }): Promise<unknown>
  listConsumerGroupOffsets(question: { groups: string[] }): Promise<unknown>
  listOffsets(question: {
    topics: { name: string; partitions: { partitionIndex: number; timestamp: bigint }[] }[]
    isolationLevel: 0 | 1
  }): Promise<unknown>
  connectToBrokers(ids: number[]): Promise<unknown>
  listGroups?(question: { types: string[] }): Promise<unknown>
  findCoordinator?(question: { keyType: 0; keys: string[] }): Promise<unknown>
  readonly connections?: Iterable<readonly [string, Connection]> & Emitter
  readonly currentMetadata?: { readonly topics: Map<string, object | undefined> } | undefined
}

export function isPlatformatic(admin: unknown): admin is PlatformaticAdmin {
  const methods = ['listConsumerGroupOffsets', 'listOffsets', 'metadata', 'connectToBrokers']
  return hasMethods(admin, ...methods)
}

const guarded = new WeakSet<object>()

/**
 * Listens to the errors of all connections. A connection with SASL that is reset emits two, and the client listens to one: the
 * other would end the process (seen with 1.35.0).
 */
export function guardConnections({ connections }: PlatformaticAdmin): void {
  if (!connections || guarded.has(connections)) return
  guarded.add(connections)
  const guard = (connection: Emitter) => connection.on('error', () => undefined)
  for (const [, connection] of connections) guard(connection)
  connections.on('connecting', (event: { readonly connection: Emitter }) => guard(event.connection))
}

/**
 * Lets the client ask another broker first, after the one that it prefers has not answered. It would otherwise ask that one as
 * long as it accepts connections. The list of bootstrap brokers has a symbol as its name.
 */
export function avoidBroker(admin: PlatformaticAdmin): void {
  const symbols = Object.getOwnPropertySymbols(admin)
  const key = symbols.find(({ description }) => description === 'plt.kafka.base.bootstrapBrokers')
  const brokers: unknown = key && Reflect.get(admin, key)
  if (!Array.isArray(brokers) || !admin.connections) return
  const connections = new Map(admin.connections)
  for (let left = brokers.length; left > 0; left--) {
    const first = brokers.shift() as { host: string; port: number }
    brokers.push(first)
    const connection = connections.get(`${first.host}:${first.port}`)
    if (!connection) continue
    // What it has not answered then fails, and can be asked again.
    void connection.close?.().catch(() => undefined)
    return
  }
}
