import { hasMethods } from '../../support/option-errors.js'
import { map } from './answer.js'

/** What is used of an admin client of `kafkajs`, 2.2 or newer. */
export interface KafkajsAdmin {
  /** Does nothing while it is connected. */
  connect(): Promise<unknown>
  fetchOffsets(question: { groupId: string }): Promise<unknown>
  fetchTopicOffsets(topic: string): Promise<unknown>
  listGroups(): Promise<unknown>
  describeGroups?(groups: string[]): Promise<unknown>
  fetchTopicMetadata?(question: { topics: string[] }): Promise<unknown>
  disconnect?(): Promise<unknown>
}

export function isKafkajs(admin: unknown): admin is KafkajsAdmin {
  return hasMethods(admin, 'connect', 'fetchOffsets', 'fetchTopicOffsets', 'listGroups')
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
  readonly connections?: Connections
}

export function isPlatformatic(admin: unknown): admin is PlatformaticAdmin {
  const methods = ['listConsumerGroupOffsets', 'listOffsets', 'metadata', 'connectToBrokers']
  return hasMethods(admin, ...methods)
}

interface Emitter {
  on(event: string, listener: (argument: never) => void): unknown
}

/** A connection of `@platformatic/kafka`. */
export interface Connection extends Emitter {
  isConnected?(): boolean
  close?(): Promise<unknown>
}

/** The connections of an `Admin`, by `host:port`. */
export interface Connections extends Emitter, Iterable<readonly [string, Connection]> {
  /** Finds a connection for a question that any broker can answer: the first one that can be had. */
  getFirstAvailable?(brokers: readonly Address[], callback: Callback<Connection>): unknown
}

export interface Address {
  readonly host: string
  readonly port: number
}

export type Callback<T> = (error: Error | null, result: T) => void

type Request = (connection: unknown, ...parameters: readonly unknown[]) => void
type GetApi = (name: string, callback: Callback<Request | undefined>) => void

/** Finds the method that finds a request in the version that the brokers support. The client exports its key as `kGetApi`. */
function findGetApi(admin: PlatformaticAdmin): GetApi | undefined {
  for (let each: object | null = admin; each; each = Object.getPrototypeOf(each) as object | null) {
    const keys = Object.getOwnPropertySymbols(each)
    const key = keys.find(({ description }) => description === 'plt.kafka.base.getApi')
    if (key) return (Reflect.get(admin, key) as GetApi).bind(admin)
  }
  return undefined
}

export function canSendRequests(admin: PlatformaticAdmin): boolean {
  return findGetApi(admin) !== undefined
}

/** Sends a request that an `Admin` has no method for, or none that works, to a broker. */
export async function sendRequest(
  admin: PlatformaticAdmin,
  broker: number,
  name: string,
  ...parameters: readonly unknown[]
): Promise<unknown> {
  const connection = map(await admin.connectToBrokers([broker]), 'connections').get(broker)
  const getApi = findGetApi(admin)
  if (!connection || !getApi) throw new Error(`${name} cannot be sent`)
  return new Promise((resolve, reject) => {
    const settle: Callback<unknown> = (error, answer) => (error ? reject(error) : resolve(answer))
    getApi(name, (error, request) => {
      if (error || !request) reject(error ?? new Error(`${name} is not supported`))
      else request(connection, ...parameters, settle)
    })
  })
}
