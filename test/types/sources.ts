import { Client, native, Pool, type PoolClient } from 'pg'
import {
  ReplicationLagInstrumentation,
  type FollowerReading,
  type ReplicationReading,
  type ReplicationSource,
  type ShardReading,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'

// Checked by types.test.ts, once with each line of the SDK; never run.

export function poll(connection: PoolClient): ReplicationLagInstrumentation {
  const client = new Client()
  return new ReplicationLagInstrumentation({
    sources: [
      postgresSource({ client: new Pool(), shard: 'pool' }),
      postgresSource({ client, shard: 1 }),
      postgresSource({ client: connection, shard: 'lent out by a pool' }),
      postgresSource({ client: native ? new native.Pool() : client, shard: 'native' }),
      new QueueSource(),
      literal,
    ],
    pollIntervalMillis: 1000,
  })
}

/** As a class, with a state of its own. */
class QueueSource implements ReplicationSource {
  readonly name = 'queue'
  #head = 0n

  async read(signal: AbortSignal): Promise<ReplicationReading> {
    signal.throwIfAborted()
    const followers: FollowerReading[] = [
      { replica: 'a', appliedSeqno: 5n },
      { replica: 2, appliedSeqno: 5 },
      { replica: 'not known yet' },
    ]
    const shards: ShardReading[] = [{ shard: 'queue', leaderSeqno: this.#head++, followers }]
    return Promise.resolve({ shards, note: 'all is well' })
  }
}

/** As a literal, that needs no signal. */
const literal: ReplicationSource = {
  name: 'literal',
  read: () => Promise.resolve({ shards: [] }),
}
