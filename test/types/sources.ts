import { Client, native, Pool, type PoolClient } from 'pg'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  ReplicationPoller,
  type FollowerReading,
  type PollingOptions,
  type ReplicationReading,
  type ReplicationSource,
  type ShardReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'

// Checked with each SDK version, by `npm run check` and types.slow.test.ts. It never runs.

/** Each class that polls takes the same options, and each client of `pg` fits. */
export function poll(connection: PoolClient) {
  const client = new Client()
  const polling: PollingOptions = {
    sources: [
      postgresSource({ client: new Pool(), shard: 'pool' }),
      postgresSource({ client, shard: 1 }),
      postgresSource({ client: connection, shard: 'lent by a pool' }),
      postgresSource({ client: native ? new native.Pool() : client, shard: 'native' }),
      postgresSource({ client, shard: 1, filter: ({ slotType }) => slotType !== 'logical' }),
      new QueueSource(),
      literal,
    ],
    pollIntervalMillis: 1000,
  }
  const gauge = new ReplicationLagGauge()
  const poller = new ReplicationPoller({ ...polling, gauge })
  poller.add(new QueueSource())
  poller.start()
  return [new ReplicationLagInstrumentation(polling), new ReplicationLagMetricProducer(polling)]
}

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

/** A source that is a literal and needs no signal. */
const literal: ReplicationSource = {
  name: 'literal',
  read: () => Promise.resolve({ shards: [] }),
}
