import { metrics, type MeterProvider } from '@opentelemetry/api'
import {
  AtomicSeqno,
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationState,
  type FollowerLag,
  type ReplicationSource,
  type Seqno,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'

// A program of a user, for package.test.ts: compiled against the packed package under each module system, then run.

const leaderSeqno: Seqno = 130n
const register = new AtomicSeqno(leaderSeqno)

const state = new ReplicationState()
const gauge = new ReplicationLagGauge(state)
gauge.updateLeaderSeqno('7', AtomicSeqno.attach(register.share()).load())
state.setAppliedSeqno('7', 100, 'berlin')
const attached = ReplicationLagGauge.attach(gauge.share())
const lags: FollowerLag[] = attached.collectMetrics()

const constant: ReplicationSource = {
  name: 'constant',
  read: () => Promise.resolve({ shards: [{ shard: 1, leaderSeqno: 9n, followers: [] }] }),
}
const client = { query: () => Promise.resolve({ rows: [] }), connect: () => Promise.resolve() }
const sources = [constant, postgresSource({ client, shard: 'main' })]

const provider: MeterProvider = metrics.getMeterProvider()
const instrumentation = new ReplicationLagInstrumentation({ gauge, sources, enabled: false })
instrumentation.setMeterProvider(provider)

// Read back by package.test.ts.
export const lagSeqno: number = instrumentation.lagSeqno('7', 'berlin')
export const replicas: (string | undefined)[] = lags.map(({ replica }) => replica)
export const names: string[] = sources.map(({ name }) => name)
