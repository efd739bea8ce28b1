import {
  createAllowListAttributesProcessor,
  MeterProvider,
  PeriodicExportingMetricReader,
  InMemoryMetricExporter,
  AggregationTemporality,
} from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { buildTemporaryPackage, type BuiltPackage } from '../../support/built-package.js'
import { eventually } from '../../support/eventually.js'
import { TestCluster, write, type PostgresNode, openLink } from '../../support/postgres.js'
import { Program } from '../../support/program.js'
import { TestReader } from '../../support/test-reader.js'

// Sentences of docs/sources/postgres.md that are not in its table.

let cluster: TestCluster
let primary: PostgresNode
let built: BuiltPackage

beforeAll(async () => {
  const creating = [TestCluster.create(), buildTemporaryPackage()] as const
  ;[cluster, built] = await Promise.all(creating)
  primary = await cluster.startSharedPrimary({ conf: { wal_sender_timeout: '1min' } })
})
afterAll(async () => {
  await Promise.all([cluster.stop(), built.remove()])
})

describe('replay_lag of pg_stat_replication', () => {
  const readMillis = async () => {
    const [row] = await primary.query(
      'select extract(epoch from replay_lag) * 1000 as millis from pg_stat_replication',
    )
    return row?.['millis'] == null ? undefined : Number(row['millis'])
  }

  it('follows replay that is paused while the link is up, and is NULL when nothing is written', async () => {
    const standby = await cluster.startStandby({ name: 'paused', of: primary })
    await standby.pauseReplay()
    await write(primary)
    await eventually(async () => expect(await readMillis()).toBeGreaterThan(300))
    await standby.resumeReplay()
    await eventually(async () => expect(await readMillis()).toBeUndefined())
  })

  it('does not move when the link is cut', async () => {
    const link = await openLink(primary)
    const standby = await cluster.startStandby({ name: 'cut', of: primary, port: link.port })
    await write(primary)
    await standby.untilCaughtUpWith(primary)
    link.close()
    const cutAt = performance.now()
    await write(primary)
    const before = await readMillis()
    await eventually(() => expect(performance.now() - cutAt).toBeGreaterThan(1000))
    expect(await readMillis()).toBe(before)
    expect(before ?? 0).toBeLessThan(1000)
  })
})

describe('a job that is done', () => {
  /** Runs a job that polls more often than its Pool's connections may be idle. */
  function startJob(options: object) {
    const config = { ...primary.connectionConfig(), idleTimeoutMillis: 500, ...options }
    const program = `
      const { ReplicationLagMetricProducer } = require(${JSON.stringify(built.implementation)})
      const { postgresSource } = require(${JSON.stringify(`${built.folder}/dist/sources/postgres/index.js`)})
      const { Pool } = require('pg')
      const pool = new Pool(${JSON.stringify(config)})
      const source = postgresSource({ client: pool, shard: 'pg' })
      let reads = 0
      const read = async (signal) => {
        const reading = await source.read(signal)
        console.log('reads:', ++reads)
        return reading
      }
      new ReplicationLagMetricProducer({ sources: [{ name: 'pg', read }], pollIntervalMillis: 100 })
    `
    const running = new Program(['--eval', program], { cwd: built.folder })
    onTestFinished(() => running.stop())
    return running
  }

  it('exits with allowExitOnIdle', async () => {
    const job = startJob({ allowExitOnIdle: true })
    expect(await job.ended).toEqual({ code: 0, signal: null })
    expect(job.stderr).toBe('')
  })

  it('does not exit without it, because each poll comes before the idle timeout', async () => {
    await startJob({}).untilPrinted(/reads: 10\n/)
  })
})

describe('polling', () => {
  it('goes on after sdk.shutdown(), and ends with producer.shutdown()', async () => {
    let reads = 0
    const source: ReplicationSource = {
      name: 'db',
      read: () => Promise.resolve({ shards: [], note: String(++reads) }),
    }
    const producer = new ReplicationLagMetricProducer({ sources: [source], pollIntervalMillis: 10 })
    onTestFinished(() => producer.shutdown())
    const reader = new PeriodicExportingMetricReader({
      exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
      metricProducers: [producer],
    })
    const sdk = new NodeSDK({
      metricReaders: [reader],
      spanProcessors: [],
      logRecordProcessors: [],
    })
    sdk.start()
    await sdk.shutdown()
    const before = reads
    await eventually(() => expect(reads).toBeGreaterThan(before + 2))
    await producer.shutdown()
    const after = reads
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(reads).toBe(after)
  })
})

describe('a View that keeps only the shard', () => {
  it('shows the lag of the last follower, not of the worst', async () => {
    const reader = new TestReader()
    const view = {
      instrumentName: 'replication_lag_seqno',
      attributesProcessors: [createAllowListAttributesProcessor(['shard'])],
    }
    const provider = new MeterProvider({ readers: [reader], views: [view] })
    const instrumentation = new ReplicationLagInstrumentation()
    onTestFinished(async () => {
      instrumentation.disable()
      await provider.shutdown()
    })
    instrumentation.setMeterProvider(provider)
    instrumentation.gauge.updateLeaderSeqno('pg', 100)
    instrumentation.gauge.updateAppliedSeqno('pg', 0, 'worst')
    instrumentation.gauge.updateAppliedSeqno('pg', 99, 'last')
    expect(await reader.points('replication_lag_seqno')).toEqual([
      { attributes: { shard: 'pg' }, value: 1 },
    ])
  })
})
