import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagMetricProducer,
  type ReplicationLagOptions,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Collected } from '../support/collected.js'
import { recordDiag } from '../support/diag.js'
import { eventually } from '../support/eventually.js'
import { createPool, createSource, TestCluster, write } from '../support/postgres.js'
import type { PostgresNode } from '../support/postgres.js'
import { readText } from '../support/repository.js'
import { ScriptedSource } from '../support/scripted-source.js'
import { TestReader } from '../support/test-reader.js'

/** One primary serves all tests. Each test leaves it as it has found it, without a standby. */
let cluster: TestCluster
let primary: PostgresNode
beforeAll(async () => {
  cluster = await TestCluster.create()
  primary = await cluster.startSharedPrimary()
})
beforeEach(async () => {
  await eventually(async () => {
    expect(await primary.query('select from pg_stat_replication')).toEqual([])
  })
})
afterAll(() => cluster.stop())

let standbys = 0
/** Starts a standby that the primary knows as `s1`. */
const startStandby = () =>
  cluster.startStandby({ name: `standby-${++standbys}`, of: primary, applicationName: 's1' })

async function stop(node: PostgresNode): Promise<void> {
  onTestFinished(() => start(node))
  await node.stop()
}

/** Starts a node that is stopped. */
async function start(node: PostgresNode): Promise<void> {
  if (node.pid === undefined) await node.start()
}

async function freeze(node: PostgresNode): Promise<void> {
  onTestFinished(() => node.thaw())
  await node.freeze()
}

/** A service that polls often, and a reader that collects from it. They end with the test. */
function createService(options: ReplicationLagOptions) {
  const producer = new ReplicationLagMetricProducer({
    pollIntervalMillis: 20,
    pollTimeoutMillis: 500,
    ...options,
  })
  const reader = new TestReader({ metricProducers: [producer] })
  const provider = new MeterProvider({ readers: [reader] })
  onTestFinished(async () => {
    await producer.shutdown()
    await provider.shutdown()
  })
  return {
    gauge: producer.gauge,
    /** One scrape. */
    collect: () => reader.values(),
    /** Waits until a scrape has these values. */
    until: (values: Collected) =>
      eventually(async () => expect(await reader.values()).toMatchObject(values)),
  }
}

/** A service that polls one PostgreSQL node. */
const observe = (node: PostgresNode, options: ReplicationLagOptions = {}) =>
  createService({ sources: [createSource(node)], ...options })

const LAG = 'replication_lag_seqno{pg,s1}'
const SECONDS = 'replication_lag_seconds{pg,s1}'
const CONNECTED = 'replication_follower_connected{pg,s1}'
const UP = 'replication_source_up{postgres:pg}'
const LAST_SUCCESS = 'replication_source_last_success_timestamp_seconds{postgres:pg}'

describe('pain 1: an idle primary makes false seconds that grow', () => {
  it('reports 0 in seconds and bytes for as long as nothing is written', async () => {
    const standby = await startStandby()
    const service = observe(primary)
    await write(primary)
    await standby.untilCaughtUpWith(primary)
    await service.until({ [LAG]: 0, [SECONDS]: 0 })
    // What others take for lag grows meanwhile: the age of the last transaction that was replayed.
    await eventually(async () => {
      const [row] = await standby.query(
        'select extract(epoch from now() - pg_last_xact_replay_timestamp())::float8 as age',
      )
      expect(row?.['age']).toBeGreaterThan(0.5)
    })
    expect(await service.collect()).toMatchObject({ [LAG]: 0, [SECONDS]: 0 })
  })
})

describe('pain 2: the fix for that hides a cut link', () => {
  it('reports a lag that grows while the standby is frozen, measured against the primary', async () => {
    const standby = await startStandby()
    const service = observe(primary)
    await service.until({ [LAG]: 0 })
    await freeze(standby)
    // More than the link takes: not all that was written is sent.
    const positions = async () => {
      const [row] = await primary.query(
        `select (pg_current_wal_lsn() - sent_lsn)::int as unsent, (sent_lsn - replay_lsn)::int as unapplied
          from pg_stat_replication`,
      )
      return row as { unsent: number; unapplied: number }
    }
    await primary.query('create table if not exists large (text text)')
    await eventually(async () => {
      // About 5 MB.
      await primary.query(
        "insert into large select repeat('x', 1000) from generate_series(1, 5000)",
      )
      expect((await positions()).unsent).toBeGreaterThan(100_000)
    })
    const { unsent, unapplied } = await positions()
    await eventually(async () => {
      const collected = await service.collect()
      expect(collected[LAG]).toBeGreaterThanOrEqual(unsent + unapplied)
      expect(collected[SECONDS]).toBeGreaterThan(0.5)
    })
    await standby.thaw()
    await service.until({ [LAG]: 0, [SECONDS]: 0 })
  })
})

describe('pain 3: a disconnected follower vanishes', () => {
  it('keeps reporting it, with connected 0, until it is back', async () => {
    const standby = await startStandby()
    const service = observe(primary)
    await service.until({ [LAG]: 0, [CONNECTED]: 1 })
    await stop(standby)
    await write(primary)
    await eventually(async () => {
      const collected = await service.collect()
      expect(collected[CONNECTED]).toBe(0)
      expect(collected[LAG]).toBeGreaterThan(100_000)
    })
    await standby.start()
    await service.until({ [LAG]: 0, [CONNECTED]: 1 })
  })
})

describe('pain 4: a removed follower stays', () => {
  it('does not report it any more once its retention time is over', async () => {
    const standby = await startStandby()
    const service = observe(primary, { retentionMillis: 100 })
    await service.until({ [LAG]: 0 })
    await stop(standby)
    await eventually(async () => {
      const collected = await service.collect()
      expect(Object.keys(collected).filter((name) => name.includes('s1'))).toEqual([])
      expect(collected[UP]).toBe(1)
    })
  })
})

describe('pain 5: negative lag', () => {
  it('comes neither from a busy log of the application nor from a busy primary', async () => {
    const gauge = new ReplicationLagGauge()
    const [leader, applied] = [gauge.leader('a'), gauge.applied('a')]
    leader.store(10)
    applied.store(10)
    expect(gauge.collectMetrics()).toMatchObject([{ lagSeqno: 0 }])
    // Between the two reads of a collection the leader writes, and its follower applies.
    const load = vi.spyOn(Atomics, 'load').mockImplementationOnce((...position) => {
      const seqno = Atomics.load(...position)
      leader.store(20)
      applied.store(20)
      return seqno
    })
    onTestFinished(() => load.mockRestore())
    expect(gauge.collectMetrics()).toMatchObject([{ appliedSeqno: 10n, leaderSeqno: 20n }])

    await startStandby()
    const service = observe(primary, { pollIntervalMillis: 1 })
    await eventually(async () => expect(await service.collect()).toHaveProperty([LAG]))
    for (let round = 0; round < 10; round++) {
      await write(primary)
      expect((await service.collect())[LAG]).toBeGreaterThanOrEqual(0)
    }
  })
})

describe('pain 6: NULL becomes 0', () => {
  it('leaves the lag out and says why, for a role that may not see positions', async () => {
    await startStandby()
    await primary.query('create role plain login')
    onTestFinished(async () => {
      await primary.query('drop role plain')
    })
    const logged = recordDiag()
    onTestFinished(() => logged.stop())
    const sources = [createSource(primary, {}, { user: 'plain' })]
    const service = createService({ sources })
    await eventually(() => expect(logged.matching('GRANT pg_monitor TO plain')).toHaveLength(1))
    expect(await service.collect()).toEqual({ [UP]: 0 })
  })
})

describe('pain 7: NULL becomes a gap that nobody notices', () => {
  it('has a series that shows each failure, from the first read on', async () => {
    await stop(primary)
    const service = observe(primary)
    await service.until({ [UP]: 0 })
    expect(await service.collect()).toEqual({ [UP]: 0 })
    await primary.start()
    await service.until({ [UP]: 1 })
    await primary.stop()
    await service.until({ [UP]: 0 })
  })
})

describe('pain 8: a promoted leader shows a huge lag', () => {
  it('reports no lag of the promoted node, as that node sees it', async () => {
    const promoted = await cluster.startStandby({ name: 's8', of: primary })
    await cluster.startStandby({ name: 's8-follower', of: promoted })
    const service = observe(promoted)
    await promoted.promote()
    await write(promoted)
    await eventually(async () => {
      const collected = Object.entries(await service.collect())
      const lags = collected.filter(([name]) => name.startsWith('replication_lag_'))
      expect(Object.fromEntries(lags)).toEqual({
        'replication_lag_seqno{pg,s8-follower}': 0,
        'replication_lag_seconds{pg,s8-follower}': 0,
      })
    })
  })
})

describe('pain 9: a reset, rebuild or failover poisons the history', () => {
  it('starts from scratch behind the same address, without a spike or an old follower', async () => {
    const promoted = await cluster.startStandby({ name: 's9', of: primary })
    await cluster.startStandby({ name: 's9-follower', of: promoted })
    // As a virtual address does: one source reads the node that is the leader.
    const pools = [createPool(primary), createPool(promoted)]
    let leader = 0
    const client = {
      query: (text: string) => pools[leader]?.query(text) ?? Promise.reject(new Error('no node')),
    }
    const service = createService({ sources: [postgresSource({ client, shard: 'pg' })] })
    const of = (metric: string, follower: string) => `replication_${metric}{pg,${follower}}`
    await service.until({ [of('lag_seqno', 's9')]: 0 })
    await observe(promoted).until({ [of('lag_seqno', 's9-follower')]: 0 })
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
})

describe('pain 10: a frozen value after a role change', () => {
  it('has the time of the last success as a series, which stops when the readings stop', async () => {
    const service = observe(primary)
    const started = Date.now() / 1000
    await eventually(async () => {
      expect((await service.collect())[LAST_SUCCESS]).toBeGreaterThanOrEqual(started)
    })
    await stop(primary)
    await service.until({ [UP]: 0 })
    const last = (await service.collect())[LAST_SUCCESS] ?? Infinity
    await eventually(() => expect(Date.now() / 1000).toBeGreaterThan(last + 0.1))
    expect((await service.collect())[LAST_SUCCESS]).toBe(last)
  })
})

describe('pain 11: queries pile up on a slow database', () => {
  it('does not ask again before it has given up, and keeps no connection that it has given up', async () => {
    const pool = createPool(primary)
    const source = postgresSource({ client: pool, shard: 'pg' })
    const connections: number[] = []
    const read = (signal: AbortSignal) => {
      connections.push(pool.totalCount + pool.waitingCount)
      return source.read(signal)
    }
    const sources = [{ name: source.name, read }]
    const service = createService({ sources, pollTimeoutMillis: 100 })
    await service.until({ [UP]: 1 })
    await freeze(primary)
    await service.until({ [UP]: 0 })
    const before = connections.length
    await eventually(() => expect(connections.length).toBeGreaterThan(before + 10))
    // At most two that wait for the server to accept them.
    expect(Math.max(...connections)).toBeLessThanOrEqual(2)
    await primary.thaw()
    await service.until({ [UP]: 1 })
  })
})

describe('pain 12: duplicate labels fail the scrape', () => {
  it('gives two standbys of one application_name two names', async () => {
    for (const name of ['s12-one', 's12-two']) {
      await cluster.startStandby({ name, of: primary, applicationName: 'same' })
    }
    await observe(primary).until({
      'replication_lag_seqno{pg,same}': 0,
      'replication_lag_seqno{pg,same@127.0.0.1}': 0,
    })
  })
})

describe('pain 13: cardinality', () => {
  it('has no limit inside, and no attribute that is not needed', async () => {
    const service = createService({ lagSeconds: false })
    for (let shard = 0; shard < 3000; shard++) service.gauge.updateLeaderSeqno(shard, 1)
    const expected = Array.from({ length: 3000 }, (_, shard) => `replication_lag_seqno{${shard}}`)
    expect(Object.keys(await service.collect())).toEqual(expected)
  })
})

describe('pain 14: seconds and positions are both wanted', () => {
  it('reports both, of the same follower at the same time', async () => {
    const standby = await startStandby()
    const service = observe(primary)
    await service.until({ [LAG]: 0 })
    onTestFinished(() => standby.resumeReplay())
    await standby.pauseReplay()
    await write(primary)
    await eventually(async () => {
      const collected = await service.collect()
      expect(collected[LAG]).toBeGreaterThan(100_000)
      expect(collected[SECONDS]).toBeGreaterThan(0.2)
    })
  })
})

describe('pain 15: shipped alerts that never fire', () => {
  it('documents every metric under the name that it really has, and no other', async () => {
    const source = new ScriptedSource('db')
    const service = createService({ sources: [source], positions: true })
    const positions = { appliedSeqno: 10, receivedSeqno: 10, retainedSeqno: 1 }
    const followers = [{ replica: 'r1', ...positions }]
    source.last.answer({ shards: [{ shard: 'a', leaderSeqno: 10, followers }] })
    await service.until({ 'replication_source_up{db}': 1 })
    const emitted = Object.keys(await service.collect()).map((name) => name.replace(/\{.*/, ''))
    const documentedIn = (page: string) =>
      new Set(readText(page).match(/\breplication_[a-z_]+(?=[`{])/g))
    expect([...documentedIn('docs/metrics.md')].sort()).toEqual(emitted.sort())
    for (const page of ['README.md', 'docs/lifecycle.md', 'docs/large-fleets.md']) {
      expect([...documentedIn(page)].filter((name) => !emitted.includes(name))).toEqual([])
    }
  })
})
