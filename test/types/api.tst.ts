import type { MeterProvider } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { registerInstrumentations, type Instrumentation } from '@opentelemetry/instrumentation'
import type { MetricProducer } from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { Pool, type Client, type native, type PoolClient } from 'pg'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  ReplicationPoller,
  type FollowerLag,
  type ReplicationSource,
  type ReplicationState,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { expect, test } from 'tstyche'

// What must not compile, what users see as a type, and what fits the types of other packages. The rest of the tests compiles
// what must compile.

declare const gauge: ReplicationLagGauge
declare const state: ReplicationState
declare const lag: FollowerLag
declare const port: MessagePort
declare const source: ReplicationSource
declare const client: Client
declare const connection: PoolClient
declare const nativePool: InstanceType<NonNullable<typeof native>['Pool']>
declare const poller: ReplicationPoller
declare const producer: ReplicationLagMetricProducer
declare const instrumentation: ReplicationLagInstrumentation
declare const meterProvider: MeterProvider

test('updates take names that are strings or numbers, and seqnos that are bigints or numbers', () => {
  expect(gauge.updateLeaderSeqno).type.not.toBeCallableWith('7', '130')
  expect(gauge.updateLeaderSeqno).type.not.toBeCallableWith(7n, 130n)
  expect(gauge.updateLeaderSeqno).type.not.toBeCallableWith('7')
  expect(gauge.updateAppliedSeqno).type.not.toBeCallableWith('7', 130n, null)
  expect(gauge.updateAppliedSeqno).type.not.toBeCallableWith('7')
  expect(gauge.leader('7').store).type.not.toBeCallableWith('130')
})

test('what is not known is undefined', () => {
  expect(gauge.lagSeqno('7', 'berlin')).type.toBe<number>()
  expect(gauge.lagSeconds('7', 'berlin')).type.toBe<number | undefined>()
  expect(state.appliedSeqno('7', 'berlin')).type.toBe<bigint | undefined>()
  expect(gauge.leader('7').load()).type.toBe<bigint>()
  expect(lag).type.toBe<Readonly<FollowerLag>>()
})

test('a gauge takes its state, and threads are linked by the ports of Node', () => {
  expect(ReplicationLagGauge).type.toBeConstructableWith(state)
  expect(ReplicationLagGauge).type.not.toBeConstructableWith({ state })
  expect(gauge.publish(new MessageChannel().port1)).type.toBe<() => void>()
  expect(gauge.publish).type.not.toBeCallableWith(gauge)
  expect(gauge.subscribe).type.toBeCallableWith(port, { retentionMillis: 1000 })
  expect(gauge.subscribe).type.not.toBeCallableWith(port, { retention: 1000 })
})

test('the SDK accepts both attachments', () => {
  const instrumentations = [instrumentation]
  expect(instrumentation).type.toBeAssignableTo<Instrumentation>()
  expect(registerInstrumentations).type.toBeCallableWith({ instrumentations, meterProvider })
  expect(NodeSDK).type.toBeConstructableWith({ instrumentations })
  expect(instrumentation.setMeterProvider).type.toBeCallableWith(meterProvider)
  expect(instrumentation.setMeterProvider).type.not.toBeCallableWith({ collect: () => [] })
  expect(producer).type.toBeAssignableTo<MetricProducer>()
  expect(PrometheusExporter).type.toBeConstructableWith({ metricProducers: [producer] })
})

test('options that are wrong or do not exist are refused', () => {
  expect(ReplicationLagMetricProducer).type.not.toBeConstructableWith(gauge)
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith(gauge)
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith({ gauge: '7' })
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith({ interval: 5000 })
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith({ pollIntervalMillis: '5s' })
  expect(ReplicationLagInstrumentation).type.not.toBeConstructableWith({ sources: source })
  expect(ReplicationLagInstrumentation).type.toBeConstructableWith({ enabled: false })
  expect(ReplicationLagMetricProducer).type.not.toBeConstructableWith({ enabled: false })
  expect(ReplicationPoller).type.not.toBeConstructableWith({ sources: [] })
  expect(ReplicationPoller).type.not.toBeConstructableWith({ gauge, positions: true })
  expect(poller.remove).type.not.toBeCallableWith(source)
})

test('each client of pg fits the PostgreSQL source', () => {
  for (const each of [new Pool(), client, connection, nativePool]) {
    expect(postgresSource).type.toBeCallableWith({ client: each, shard: 1 })
  }
  expect(postgresSource).type.toBeCallableWith({
    ...{ client, shard: 1, name: undefined, filter: undefined, expect: undefined },
    intermittent: ({ slotName }: { slotName: string | undefined }) => slotName === 'batch',
  })
  expect(postgresSource).type.not.toBeCallableWith({ client: 'postgres://localhost', shard: 1 })
  expect(postgresSource).type.not.toBeCallableWith({ client })
  expect(postgresSource).type.not.toBeCallableWith({ client, shard: 1, pollIntervalMillis: 1000 })
  expect(postgresSource({ client, shard: 1 })).type.toBe<ReplicationSource>()
})

test('a source has a name, and reads a promise of shards with their leaders', () => {
  const name = 'mine'
  const read = () => Promise.resolve({ shards: [] })
  expect<ReplicationSource>().type.toBeAssignableFrom({ name, read })
  expect<ReplicationSource>().type.not.toBeAssignableFrom({ read })
  expect<ReplicationSource>().type.not.toBeAssignableFrom({ name, read: () => ({ shards: [] }) })
  expect<ReplicationSource>().type.not.toBeAssignableFrom({
    name,
    read: () => Promise.resolve({ shards: [{ leaderSeqno: 1, followers: [] }] }),
  })
})
