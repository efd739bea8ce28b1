import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  type ReplicationLagInstrumentationConfig,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { SeqnoSlab } from '../../src/seqno-slab.js'
import { toCollected, type Collected } from '../support/collected.js'
import { recordDiag } from '../support/diag.js'
import { eventually } from '../support/eventually.js'
import { TestCluster, write, type PostgresNode } from '../support/postgres.js'
import { readText } from '../support/repository.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'
import { TestReader } from '../support/test-reader.js'

/** A service that polls, and a reader that collects from it through the producer. */
class Service implements AsyncDisposable {
  readonly gauge: ReplicationLagGauge
  readonly told = recordDiag()
  readonly #instrumentation: ReplicationLagInstrumentation
  readonly #reader: TestReader
  readonly #provider: MeterProvider

  constructor(config: ReplicationLagInstrumentationConfig) {
    this.#instrumentation = new ReplicationLagInstrumentation({
      pollIntervalMillis: 20,
      pollTimeoutMillis: 500,
      observableGauges: false,
      ...config,
    })
    this.gauge = this.#instrumentation.gauge
    const producer = new ReplicationLagMetricProducer(this.gauge, { sampleIntervalMillis: 20 })
    this.#reader = new TestReader({ metricProducers: [producer] })
    this.#provider = new MeterProvider({ readers: [this.#reader] })
  }

  /** One scrape. */
  async collect(): Promise<Collected> {
    return toCollected(await this.#reader.metrics())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#instrumentation.disable()
    this.told.stop()
    await this.#provider.shutdown()
  }
}

/** A service that polls one PostgreSQL node. */
function observe(
  cluster: TestCluster,
  node: PostgresNode,
  config: ReplicationLagInstrumentationConfig = {},
  user?: string,
): Service {
  const client = cluster.pool(node, user === undefined ? {} : { user })
  return new Service({ sources: [postgresSource({ client, shard: 'pg' })], ...config })
}

const LAG = 'replication_lag_seqno{pg,s1}'
const SECONDS = 'replication_lag_seconds{pg,s1}'
const CONNECTED = 'replication_follower_connected{pg,s1}'
const UP = 'replication_source_up{postgres:pg}'

describe('pain 1: an idle primary makes false seconds that grow', () => {
  it('is 0 in seconds and bytes for as long as nothing is written', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary })
    await using service = observe(cluster, primary)
    await write(primary)
    await standby.untilCaughtUpWith(primary)
    await eventually(async () => {
      expect(await service.collect()).toMatchObject({ [LAG]: 0, [SECONDS]: 0 })
    })
    // What others take for lag grows meanwhile: the age of the last transaction that was replayed.
    await eventually(async () => {
      const [row] = await standby.query(
        'select extract(epoch from now() - pg_last_xact_replay_timestamp())::float8 as age',
      )
      expect(row?.['age']).toBeGreaterThan(1)
    })
    expect(await service.collect()).toMatchObject({ [LAG]: 0, [SECONDS]: 0 })
  })
})

describe('pain 2: the fix for that hides a cut link', () => {
  it('grows while the standby is frozen, since it is measured against the primary', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary })
    await using service = observe(cluster, primary)
    await eventually(async () => expect(await service.collect()).toMatchObject({ [LAG]: 0 }))
    await standby.freeze()
    // More than the link takes: what was sent is less than what was written.
    const positions = async () => {
      const [row] = await primary.query(
        `select (pg_current_wal_lsn() - sent_lsn)::int as unsent, (sent_lsn - replay_lsn)::int as unapplied
          from pg_stat_replication`,
      )
      return row as { unsent: number; unapplied: number }
    }
    await eventually(async () => {
      for (let megabyte = 0; megabyte < 10; megabyte++) await write(primary)
      expect((await positions()).unsent).toBeGreaterThan(1_000_000)
    })
    const { unsent, unapplied } = await positions()
    await eventually(async () => {
      const collected = await service.collect()
      expect(collected[LAG]).toBeGreaterThanOrEqual(unsent + unapplied)
      expect(collected[SECONDS]).toBeGreaterThan(0.5)
    })
    await standby.thaw()
    await eventually(async () =>
      expect(await service.collect()).toMatchObject({ [LAG]: 0, [SECONDS]: 0 }),
    )
  })
})

describe('pain 3: a disconnected follower vanishes', () => {
  it('goes on being measured, with connected 0, until it is back', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary })
    await using service = observe(cluster, primary)
    await eventually(async () =>
      expect(await service.collect()).toMatchObject({ [LAG]: 0, [CONNECTED]: 1 }),
    )
    await standby.stop()
    await write(primary)
    await eventually(async () => {
      const collected = await service.collect()
      expect(collected[CONNECTED]).toBe(0)
      expect(collected[LAG]).toBeGreaterThan(100_000)
    })
    await standby.start()
    await eventually(async () =>
      expect(await service.collect()).toMatchObject({ [LAG]: 0, [CONNECTED]: 1 }),
    )
  })
})

describe('pain 4: a removed follower stays', () => {
  it('is gone from the next collection once its retention time is over', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary })
    await using service = observe(cluster, primary, { retentionMillis: 100 })
    await eventually(async () => expect(await service.collect()).toMatchObject({ [LAG]: 0 }))
    await standby.stop()
    await eventually(async () => {
      const collected = await service.collect()
      expect(Object.keys(collected).filter((name) => name.includes('s1'))).toEqual([])
      expect(collected[UP]).toBe(1)
    })
  })
})

describe('pain 5: negative lag', () => {
  it('does not come from reading the leader before its follower', () => {
    const gauge = new ReplicationLagGauge()
    const [leader, applied] = [gauge.leader('a'), gauge.applied('a')]
    leader.store(10)
    applied.store(10)
    // Between the two reads of a collection the leader writes, and its follower applies.
    const load = vi.spyOn(SeqnoSlab.prototype, 'load')
    onTestFinished(() => load.mockRestore())
    load.mockImplementationOnce(function (this: SeqnoSlab, ...register) {
      const seqno = this.load(...register)
      leader.store(20)
      applied.store(20)
      return seqno
    })
    expect(gauge.collectMetrics()).toMatchObject([{ appliedSeqno: 10n, leaderSeqno: 20n }])
  })

  it('does not come from a busy primary either', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    await cluster.startStandby({ name: 's1', of: primary })
    await using service = observe(cluster, primary, { pollIntervalMillis: 1 })
    await eventually(async () => expect(await service.collect()).toHaveProperty([LAG]))
    for (let round = 0; round < 10; round++) {
      await write(primary)
      expect((await service.collect())[LAG]).toBeGreaterThanOrEqual(0)
    }
  })
})

describe('pain 6: NULL becomes 0', () => {
  it('leaves the lag out and says why, for a role that may not see positions', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    await cluster.startStandby({ name: 's1', of: primary })
    await primary.query('create role plain login')
    await using service = observe(cluster, primary, {}, 'plain')
    await eventually(() =>
      expect(service.told.matching('GRANT pg_monitor TO plain')).toHaveLength(1),
    )
    expect(await service.collect()).toEqual({ [UP]: 0 })
  })
})

describe('pain 7: NULL becomes a gap that nobody notices', () => {
  it('has a series that is there from the start and tells the failure', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    await cluster.startStandby({ name: 's1', of: primary })
    await using service = observe(cluster, primary)
    expect(await service.collect()).toEqual({ [UP]: 0 })
    await eventually(async () =>
      expect(await service.collect()).toMatchObject({ [UP]: 1, [LAG]: 0 }),
    )
    await primary.stop()
    await eventually(async () => {
      const collected = await service.collect()
      expect(collected[UP]).toBe(0)
      expect(collected).not.toHaveProperty([LAG])
    })
  })
})

describe('pain 8: a promoted leader shows a huge lag', () => {
  it('has no lag of its own, from the node itself', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary })
    await cluster.startStandby({ name: 's2', of: standby })
    await using service = observe(cluster, standby)
    await standby.promote()
    await write(standby)
    await eventually(async () => {
      const collected = await service.collect()
      const lags = Object.entries(collected).filter(([name]) => name.startsWith('replication_lag_'))
      expect(Object.fromEntries(lags)).toEqual({
        'replication_lag_seqno{pg,s2}': 0,
        'replication_lag_seconds{pg,s2}': 0,
      })
    })
  })
})

describe('pain 9: a reset, rebuild or failover poisons the history', () => {
  it('begins anew behind the same address: no spike, and none of the old followers', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary })
    await cluster.startStandby({ name: 's2', of: standby })
    // As a virtual address does: the same source reads whoever is the leader.
    const pools = [cluster.pool(primary), cluster.pool(standby)]
    let leader = 0
    const client = {
      query: (text: string) => pools[leader]?.query(text) ?? Promise.reject(new Error('none')),
      connect: () => Promise.resolve(),
    }
    await using service = new Service({ sources: [postgresSource({ client, shard: 'pg' })] })
    await eventually(async () => expect(await service.collect()).toMatchObject({ [LAG]: 0 }))
    // There is no time at which nothing is read: what is known of the old followers is not withheld for that.
    await standby.promote()
    leader = 1
    await primary.stop()
    const seen: Collected[] = []
    await eventually(async () => {
      seen.push(await service.collect())
      expect(seen.at(-1)).toMatchObject({ 'replication_lag_seqno{pg,s2}': 0 })
    })
    await write(standby)
    await eventually(async () => {
      seen.push(await service.collect())
      expect(seen.at(-1)).toMatchObject({ 'replication_lag_seqno{pg,s2}': 0 })
      expect(seen.at(-1)).not.toHaveProperty([LAG])
    })
    for (const collected of seen) {
      expect(collected['replication_lag_seconds{pg,s2}'] ?? 0).toBeLessThan(10)
      expect(collected['replication_lag_seqno{pg,s2}'] ?? 0).toBeLessThan(2_000_000)
    }
  })
})

describe('pain 10: a frozen value after a role change', () => {
  it('has the time of the last success as a series, which stops where the readings stop', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    await cluster.startStandby({ name: 's1', of: primary })
    await using service = observe(cluster, primary)
    const name = 'replication_source_last_success_timestamp_seconds{postgres:pg}'
    const started = Date.now() / 1000
    await eventually(async () =>
      expect((await service.collect())[name]).toBeGreaterThanOrEqual(started),
    )
    await primary.stop()
    await eventually(async () => expect(await service.collect()).toMatchObject({ [UP]: 0 }))
    const last = (await service.collect())[name]
    await eventually(() => expect(Date.now() / 1000).toBeGreaterThan((last ?? Infinity) + 0.1))
    expect((await service.collect())[name]).toBe(last)
  })
})

describe('pain 11: queries pile up on a slow database', () => {
  it('asks no second question before the first is answered, and ends the connection it gives up', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const pool = cluster.pool(primary)
    const config = {
      sources: [postgresSource({ client: pool, shard: 'pg' })],
      pollTimeoutMillis: 100,
    }
    await using service = new Service(config)
    await eventually(async () => expect(await service.collect()).toMatchObject({ [UP]: 1 }))
    await primary.freeze()
    await eventually(async () => expect(await service.collect()).toMatchObject({ [UP]: 0 }))
    const frozenAt = performance.now()
    await eventually(() => {
      expect(pool.totalCount + pool.waitingCount).toBeLessThanOrEqual(1)
      // Long enough for twenty polls.
      expect(performance.now() - frozenAt).toBeGreaterThan(400)
    })
    await primary.thaw()
    await eventually(async () => expect(await service.collect()).toMatchObject({ [UP]: 1 }))
  })
})

describe('pain 12: duplicate labels fail the scrape', () => {
  it('gives two standbys of one application_name two names', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    for (const name of ['one', 'two']) {
      await cluster.startStandby({ name, of: primary, applicationName: 'same' })
    }
    await using service = observe(cluster, primary)
    await eventually(async () =>
      expect(await service.collect()).toMatchObject({
        'replication_lag_seqno{pg,same}': 0,
        'replication_lag_seqno{pg,same@127.0.0.1}': 0,
      }),
    )
  })
})

describe('pain 13: cardinality', () => {
  it('has no limit inside, and no label that is not needed', async () => {
    await using service = new Service({})
    for (let shard = 0; shard < 3000; shard++) service.gauge.updateLeaderSeqno(shard, 1)
    const collected = await service.collect()
    expect(Object.keys(collected)).toContain('replication_lag_seqno{2999}')
    expect(Object.keys(collected).filter((name) => name.includes('overflow'))).toEqual([])
  })
})

describe('pain 14: seconds and positions are both wanted', () => {
  it('has both, of the same follower at the same time', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const standby = await cluster.startStandby({ name: 's1', of: primary })
    await using service = observe(cluster, primary)
    await eventually(async () => expect(await service.collect()).toMatchObject({ [LAG]: 0 }))
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
  it('documents every metric that is really emitted, under the name it has, and no other', async () => {
    const source = new ScriptedSource('db')
    const config = { sources: [source], positions: true, observableGauges: true }
    const instrumentation = new ReplicationLagInstrumentation(config)
    const reader = new TestReader()
    const provider = new MeterProvider({ readers: [reader] })
    instrumentation.setMeterProvider(provider)
    try {
      source.last.answer(reading('a', 10, { r1: 10 }))
      const names = /\breplication_[a-z_]+(?=[`{])/g
      for (const page of ['README.md', 'docs/metrics.md']) {
        const documented = new Set(readText(page).match(names))
        await eventually(async () => {
          const emitted = (await reader.metrics()).map(({ descriptor }) => descriptor.name)
          expect([...documented].sort()).toEqual(emitted.sort())
        })
      }
    } finally {
      instrumentation.disable()
      await provider.shutdown()
    }
  })
})
