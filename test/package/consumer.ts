import { metrics, type MeterProvider } from '@opentelemetry/api'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  ReplicationPoller,
  ReplicationState,
  type AtomicSeqno,
  type FollowerLag,
  type ReplicationLagOptions,
  type ReplicationSource,
  type Seqno,
  type ThreadPort,
} from 'opentelemetry-instrumentation-replication-lag'
import { readEnvironment } from 'opentelemetry-instrumentation-replication-lag/environment'
import { instrumentation as registered } from 'opentelemetry-instrumentation-replication-lag/register'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'

// A user's program. package.slow.test.ts compiles it against the packed package with each module system, then runs it.

const leaderSeqno: Seqno = 130n
const state = new ReplicationState()
const gauge = new ReplicationLagGauge(state)
const leader: AtomicSeqno = gauge.leader('7')
leader.store(leaderSeqno)
state.setAppliedSeqno('7', 100, 'berlin')
const lags: FollowerLag[] = gauge.collectMetrics()

const constant: ReplicationSource = {
  name: 'constant',
  read: (signal) =>
    signal.aborted
      ? Promise.reject(new Error('aborted'))
      : Promise.resolve({ shards: [{ shard: 1, leaderSeqno: 9n, followers: [] }] }),
}
const client = { query: () => Promise.resolve({ rows: [] }), connect: () => Promise.resolve() }
const poller = new ReplicationPoller({ gauge, sources: [constant] })

const options: ReplicationLagOptions = { gauge, lagSeconds: false }
const producer = new ReplicationLagMetricProducer(options)
const provider: MeterProvider = metrics.getMeterProvider()
const instrumentation = new ReplicationLagInstrumentation({ ...options, enabled: false })
instrumentation.setMeterProvider(provider)
producer.addSource(postgresSource({ client, shard: 'main' }))

// The classes of each entry point are the same.
const withoutCode: ReplicationLagInstrumentation | undefined = registered
const configured: ReplicationLagOptions | undefined = readEnvironment({})

export function publishTo(port: ThreadPort): () => void {
  return producer.gauge.publish(port)
}

// Read back by package.slow.test.ts.
export const result: unknown[] = [
  instrumentation.lagSeqno('7', 'berlin'),
  lags.map(({ replica }) => replica),
  poller.remove('constant'),
  producer.removeSource('postgres:main'),
  withoutCode,
  configured,
]
