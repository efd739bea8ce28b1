import { Pool, type Client, type native, type PoolClient } from 'pg'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  ReplicationPoller,
  type FollowerReading,
  type ReplicationLagGauge,
  type ReplicationReading,
  type ReplicationSource,
  type ShardReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { expect, test } from 'tstyche'

declare const gauge: ReplicationLagGauge
declare const poller: ReplicationPoller
declare const source: ReplicationSource
declare const client: Client
declare const connection: PoolClient
declare const nativePool: InstanceType<NonNullable<typeof native>['Pool']>

test('each class that polls takes the same options', () => {
  const polling = { sources: [source], pollIntervalMillis: 1000 }
  expect(ReplicationPoller).type.toBeConstructableWith({ gauge, ...polling })
  expect(ReplicationLagInstrumentation).type.toBeConstructableWith(polling)
  expect(ReplicationLagMetricProducer).type.toBeConstructableWith(polling)
})

test('options that are wrong or do not exist are refused', () => {
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith({ interval: 5000 })
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith({ pollIntervalMillis: '5s' })
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith({ sources: source })
})

test('a poller needs a gauge, and has no options of what is reported', () => {
  expect(ReplicationPoller).type.toBeConstructableWith({ gauge })
  expect(ReplicationPoller).type.not.toBeConstructableWith({ sources: [] })
  expect(ReplicationPoller).type.not.toBeConstructableWith({ gauge, positions: true })
})

test('a source is added, and removed by its name', () => {
  expect(poller.add).type.toBeCallableWith(source)
  expect(poller.remove).type.toBeCallableWith('postgres:orders')
  expect(poller.remove).type.not.toBeCallableWith(source)
})

test('each client of pg fits the PostgreSQL source', () => {
  expect(postgresSource).type.toBeCallableWith({ client: new Pool(), shard: 'pool' })
  expect(postgresSource).type.toBeCallableWith({ client, shard: 1 })
  expect(postgresSource).type.toBeCallableWith({
    ...{ client, shard: 1, name: undefined, filter: undefined, expect: undefined },
    intermittent: ({ slotName }: { slotName: string | undefined }) => slotName === 'batch',
  })
  expect(postgresSource).type.toBeCallableWith({ client: connection, shard: 1 })
  expect(postgresSource).type.toBeCallableWith({ client: nativePool, shard: 1 })
  expect(postgresSource).type.not.toBeCallableWith({ client: 'postgres://localhost', shard: 1 })
  expect(postgresSource({ client, shard: 1 })).type.toBe<ReplicationSource>()
})

test('the PostgreSQL source takes a shard and a filter, and no options of the poller', () => {
  expect(postgresSource).type.not.toBeCallableWith({ client })
  expect(postgresSource).type.not.toBeCallableWith({ client, shard: 1, pollIntervalMillis: 1000 })
  postgresSource({
    client,
    shard: 1,
    filter: ({ slotType }) => {
      expect(slotType).type.toBe<string | undefined>()
      return slotType !== 'logical'
    },
  })
})

/** A source that is a class with state. */
class QueueSource implements ReplicationSource {
  readonly name = 'queue'
  private head = 0n

  async read(signal: AbortSignal): Promise<ReplicationReading> {
    signal.throwIfAborted()
    const followers: FollowerReading[] = [
      { replica: 'a', appliedSeqno: 5n, receivedSeqno: 7n },
      { replica: 2, appliedSeqno: 5, connected: false },
      { replica: 'not known yet' },
    ]
    const shards: ShardReading[] = [
      { shard: 'queue', leaderSeqno: this.head++, followers, removed: ['b'], epoch: '3' },
    ]
    return Promise.resolve({ shards, note: 'all is well' })
  }
}

test('a source has a name, and reads a promise of shards with their leaders', () => {
  const name = 'mine'
  const read = () => Promise.resolve({ shards: [] })
  expect<ReplicationSource>().type.toBeAssignableFrom<QueueSource>()
  expect<ReplicationSource>().type.toBeAssignableFrom({ name, read })
  expect<ReplicationSource>().type.not.toBeAssignableFrom({ read })
  expect<ReplicationSource>().type.not.toBeAssignableFrom({ name, read: () => ({ shards: [] }) })
  expect<ReplicationSource>().type.not.toBeAssignableFrom({
    name,
    read: () => Promise.resolve({ shards: [{ leaderSeqno: 1, followers: [] }] }),
  })
})
