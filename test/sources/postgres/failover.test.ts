import {
  ReplicationLagMetricProducer,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Collected } from '../../support/collected.js'
import { eventually } from '../../support/eventually.js'
import { collectedFrom } from '../../support/polling.js'
import { createPool, createSource, TestCluster, write } from '../../support/postgres.js'
import type { PostgresNode } from '../../support/postgres.js'

let cluster: TestCluster
let primary: PostgresNode
beforeAll(async () => {
  cluster = await TestCluster.create()
  primary = await cluster.startSharedPrimary()
})
afterAll(() => cluster.stop())

/** Polls a source often. It ends with the test. */
function poll(source: ReplicationSource) {
  const producer = new ReplicationLagMetricProducer({ sources: [source], pollIntervalMillis: 20 })
  onTestFinished(() => producer.shutdown())
  const collect = () => collectedFrom(producer)
  return {
    collect,
    until: (values: Collected) =>
      eventually(async () => expect(await collect()).toMatchObject(values)),
  }
}

test('a failover starts from scratch behind the same address, without a spike or an old follower', async () => {
  const promoted = await cluster.startStandby({ name: 's9', of: primary })
  await cluster.startStandby({ name: 's9-follower', of: promoted })
  // As a virtual address does: one source reads the node that is the leader.
  const pools = [createPool(primary), createPool(promoted)]
  let leader = 0
  const client = {
    query: (text: string) => pools[leader]?.query(text) ?? Promise.reject(new Error('no node')),
  }
  const service = poll(postgresSource({ client, shard: 'pg' }))
  const of = (metric: string, follower: string) => `replication_${metric}{pg,${follower}}`
  await service.until({ [of('lag_seqno', 's9')]: 0 })
  await poll(createSource(promoted)).until({ [of('lag_seqno', 's9-follower')]: 0 })
  await promoted.promote()
  leader = 1
  const seen: Collected[] = []
  const untilSeen = (check: (collected: Collected) => void) =>
    eventually(async () => {
      const collected = await service.collect()
      seen.push(collected)
      check(collected)
    })
  await untilSeen((collected) => {
    expect(collected).toMatchObject({ [of('lag_seqno', 's9-follower')]: 0 })
    expect(collected).not.toHaveProperty([of('lag_seqno', 's9')])
  })
  await write(promoted)
  await untilSeen((collected) => {
    expect(collected).toMatchObject({ [of('lag_seqno', 's9-follower')]: 0 })
  })
  for (const collected of seen) {
    expect(collected[of('lag_seconds', 's9-follower')] ?? 0).toBeLessThan(10)
    expect(collected[of('lag_seqno', 's9-follower')] ?? 0).toBeLessThan(2_000_000)
  }
})
