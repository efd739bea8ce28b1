import type { MeterProvider } from '@opentelemetry/sdk-metrics'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  ReplicationLagGauge,
  ReplicationPoller,
  type ReplicationLagMetricProducer,
  type ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import type pg from 'pg'
import { Registry, register } from 'prom-client'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { waitForFollowers, writeInBatches } from '../../docs/examples/bulk-write/bulk-write.mjs'
import { freePort } from '../servers/postgres/processes.mjs'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'
import { createPool, createSource, startCluster, write } from '../support/postgres.js'
import { parsePrometheusText } from '../support/http.js'
import { readText } from '../support/repository.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'
import { findBlocks, importProgram, isProgram, startProgram } from './pages.js'

// Runs programs of the pages and the examples on what works. programs.e2e.test.ts runs those of all sources, also on servers
// that do not.

const built = await useBuiltPackage()
const { cluster, primary } = await startCluster()

const start = (text: string, env: Record<string, string> = {}) =>
  startProgram(built.folder, text, { env })

/** Stubs variables of the environment until the end of the test. */
function stub(variables: Record<string, string>): void {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
}

/** Polls a source until the test ends. */
function poll(source: ReplicationSource, pollIntervalMillis = 100): ReplicationLagGauge {
  const gauge = new ReplicationLagGauge()
  const poller = new ReplicationPoller({ gauge, sources: [source], pollIntervalMillis })
  poller.start()
  onTestFinished(() => poller.stop())
  return gauge
}

/** Starts a server of a page, or waits for it. Returns its port. */
async function portOf(server: Server): Promise<number> {
  onTestFinished(() => void server.close())
  if (!server.listening) await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

function programsOf(path: string): string[] {
  return findBlocks({ path, text: readText(path) })
    .filter(isProgram)
    .map(({ text }) => text)
}

describe('the README', () => {
  const [service = '', ownLog = ''] = programsOf('README.md')

  test('has a service that reports standbys, and logs nothing', async () => {
    await cluster.startStandby({ name: 'of_readme', of: primary })
    const { output, until, scrape, greet } = await start(service, { DATABASE_URL: primary.url() })
    await until(async () => {
      const { value } = await scrape()
      const labels = { shard: 'orders', replica: 'of_readme' }
      expect(value('replication_lag_seqno', labels)).toBe(0)
      expect(value('replication_source_up', { source: 'postgres:orders' })).toBe(1)
    })
    expect(await greet()).toBe('ok\n')
    expect(output()).toBe('')
  })

  test('has a log that reports what the page shows', async () => {
    const { output, until, scrape } = await start(ownLog)
    const [, labels = '', lag = ''] =
      /^replication_lag_seqno\{(.*),…\} (\d+)\n.*replica="eu-2",…\} \d\.\d$/m.exec(
        readText('README.md'),
      ) ?? []
    expect(labels).toBe('shard="orders",replica="eu-2"')
    await until(async () => {
      const { value } = await scrape()
      const follower = { shard: 'orders', replica: 'eu-2' }
      expect(value('replication_lag_seqno', follower)).toBe(Number(lag))
      expect(value('replication_lag_seconds', follower)).toBeGreaterThan(0)
    })
    expect(output()).toBe('')
  })
})

test('the service of docs/otlp.md sends the lag to the endpoint of the environment, and once more at the end', async () => {
  await cluster.startStandby({ name: 'of_otlp', of: primary })
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const { program, until } = await start(programsOf('docs/otlp.md')[0] ?? '', {
    DATABASE_URL: primary.url(),
    OTEL_EXPORTER_OTLP_ENDPOINT: new URL(receiver.url).origin,
  })
  await until(async () => {
    const rows = await primary.query(
      "select from pg_stat_activity where state = 'idle' and query ~ 'pg_replication_slots'",
    )
    expect(rows).not.toEqual([])
  })
  program.kill('SIGTERM')
  expect(await program.ended).toEqual({ code: 0, signal: null })
  const points = receiver.points('replication_lag_seqno')
  expect(points.map(({ attributes }) => attributes)).toContainEqual({
    shard: 'orders',
    replica: 'of_otlp',
  })
})

describe('examples with workers', () => {
  /** Runs an example until an expectation about its metrics holds, by replica. */
  async function run(
    example: string,
    env: Record<string, string>,
    check: (lags: (metric: string, shard?: string) => Record<string, number>) => void,
  ) {
    const running = await start(`import './docs/examples/${example}/main.mjs'`, env)
    await running.until(async () => {
      const { find } = await running.scrape(running.url)
      check((metric, shard = 'orders') =>
        Object.fromEntries(
          find(metric, { shard }).map(({ labels, value }) => [labels['replica'] ?? '', value]),
        ),
      )
    })
    expect(running.program.stderr).toBe('')
  }

  test('a worker serves what the main thread stores', async () => {
    await run('worker-exporter', {}, (valuesOf) => {
      // The main thread stores meanwhile, so they can be off by one.
      expect(valuesOf('replication_lag_seqno')).toEqual({
        prompt: expect.toBeOneOf([0, 1]) as number,
        'five-behind': expect.toBeOneOf([4, 5, 6]) as number,
      })
    })
  })

  test('a worker polls a PostgreSQL next to what the main thread stores', async () => {
    await cluster.startStandby({ name: 'of_worker', of: primary })
    await run('worker-exporter', { DATABASE_URL: primary.url() }, (valuesOf) => {
      expect(valuesOf('replication_lag_seqno', 'database')).toEqual({ of_worker: 0 })
      expect(Object.keys(valuesOf('replication_lag_seqno'))).toHaveLength(2)
    })
  })

  test('the main thread serves what workers apply', async () => {
    await run('worker-followers', {}, (valuesOf) => {
      const lags = valuesOf('replication_lag_seqno')
      for (const lag of Object.values(lags)) expect(lag).toBeLessThan(50)
      expect(Object.keys(lags)).toHaveLength(2)
      expect(valuesOf('replication_follower_connected')).toEqual({ 'worker-1': 1, 'worker-2': 1 })
    })
  })
})

describe('docs/migration.md', async () => {
  const { registerReplicationLag } = (await importProgram(
    'docs/migration.md',
    'registerReplicationLag',
  )) as { registerReplicationLag: (gauge: ReplicationLagGauge, registry: Registry) => void }

  test('lets prom-client report followers, and forget a removed one', async () => {
    const source = new ScriptedSource()
    const gauge = poll(source)
    const registry = new Registry()
    registerReplicationLag(gauge, registry)
    gauge.updateLeaderSeqno('orders', 42n)
    gauge.updateAppliedSeqno('orders', 40n, 'eu-1')
    gauge.updateAppliedSeqno('orders', 42n, 'eu-2')
    const read = await eventually(() => source.last)
    const follower = { appliedSeqno: 1, replica: 'us-1', connected: false }
    read.answer({ shards: [{ shard: 'users', leaderSeqno: 1, followers: [follower] }] })
    const metrics = await eventually(async () => {
      const parsed = parsePrometheusText(await registry.metrics())
      expect(parsed.value('replication_follower_connected', { replica: 'us-1' })).toBe(0)
      return parsed
    })
    expect(metrics.value('replication_lag_seqno', { shard: 'orders', replica: 'eu-1' })).toBe(2)
    expect(metrics.value('replication_lag_seqno', { shard: 'orders', replica: 'eu-2' })).toBe(0)
    expect(metrics.value('replication_lag_seconds', { shard: 'orders', replica: 'eu-2' })).toBe(0)
    // Nothing knows whether the application's own are connected.
    expect(metrics.find('replication_follower_connected')).toHaveLength(1)

    gauge.remove('orders', 'eu-2')
    const { find } = parsePrometheusText(await registry.metrics())
    const replicas = (name: string) => find(name).map(({ labels }) => labels['replica'])
    expect(replicas('replication_lag_seqno').sort()).toEqual(['eu-1', 'us-1'])
    expect(replicas('replication_lag_seconds')).not.toContain('eu-2')
  })

  test('runs prom-client and the exporter of the SDK side by side on two ports', async () => {
    const port = await freePort()
    stub({ PORT: '0', OTEL_EXPORTER_PROMETHEUS_PORT: `${port}` })
    const { producer, provider, server } = (await importProgram('docs/migration.md', 'server')) as {
      producer: ReplicationLagMetricProducer
      provider: MeterProvider
      server: Server
    }
    onTestFinished(async () => {
      register.clear()
      await provider.shutdown()
      await producer.shutdown()
    })
    producer.gauge.updateLeaderSeqno('orders', 42n)
    producer.gauge.updateAppliedSeqno('orders', 40n, 'eu-1')

    const read = async (port: number) => {
      const response = await fetch(`http://127.0.0.1:${port}/metrics`)
      return parsePrometheusText(await response.text())
    }
    const before = await read(await portOf(server))
    expect(before.value('app_scrapes_total')).toBe(1)
    expect(before.find('replication_lag_seqno')).toEqual([])
    const after = await eventually(() => read(port))
    expect(after.value('replication_lag_seqno', { shard: 'orders', replica: 'eu-1' })).toBe(2)
    expect(after.find('app_scrapes_total')).toEqual([])
  })
})

describe('docs/recipes.md', async () => {
  const PAGE = 'docs/recipes.md'
  const { choosePool } = (await importProgram(PAGE, 'choosePool')) as {
    choosePool: (
      gauge: ReplicationLagGauge,
      shard: string,
      primary: pg.Pool,
      replicas: ReadonlyMap<string, pg.Pool>,
    ) => pg.Pool
  }
  const { createReadinessServer } = (await importProgram(PAGE, 'createReadinessServer')) as {
    createReadinessServer: (gauge: ReplicationLagGauge, shard: string, replica: string) => Server
  }

  /** Starts a standby, and polls its primary. */
  async function follow(name: string) {
    const standby = await cluster.startStandby({ name, of: primary })
    return { standby, gauge: poll(createSource(primary, { shard: 'orders' })) }
  }

  test('has a set-up that follows a server by the variables of its client', async () => {
    await cluster.startStandby({ name: 'of_set_up', of: primary })
    stub({ PGHOST: '127.0.0.1', PGPORT: `${primary.port}` })
    stub({ PGUSER: 'postgres', PGDATABASE: 'postgres' })
    const { gauge, monitorPool, poller } = (await importProgram(PAGE, 'gauge')) as {
      gauge: ReplicationLagGauge
      monitorPool: pg.Pool
      poller: ReplicationPoller
    }
    onTestFinished(() => {
      poller.stop()
      void monitorPool.end()
    })
    await eventually(() => expect(gauge.lagSeconds('orders', 'of_set_up')).toBe(0))
  })

  const limits = { maxSeconds: 0.2, deadlineMillis: 40_000 }

  test('lets a bulk write wait while a follower is behind, continue when it has caught up, and fail at the deadline', async () => {
    const { gauge, standby } = await follow('behind')
    const written: number[] = []
    await writeInBatches(gauge, 'orders', [1, 2, 3], (n) => Promise.resolve(written.push(n)))
    expect(written).toEqual([1, 2, 3])

    await standby.pauseReplay()
    await write(primary)
    await eventually(() =>
      expect(gauge.lagSeconds('orders', standby.name)).toBeGreaterThan(limits.maxSeconds),
    )
    const late = waitForFollowers(gauge, 'orders', { ...limits, deadlineMillis: 300 })
    await expect(late).rejects.toThrow(/^behind is .* s behind, after 300 ms/)

    const waiting = waitForFollowers(gauge, 'orders', limits)
    await standby.resumeReplay()
    await waiting
    expect(gauge.lagSeconds('orders', standby.name)).toBeLessThanOrEqual(limits.maxSeconds)
  })

  test('lets a bulk write wait for a follower that is down', async () => {
    const { gauge, standby } = await follow('down')
    await eventually(() => expect(gauge.lagSeconds('orders', standby.name)).toBe(0))
    await standby.kill()
    await write(primary)
    await eventually(() => expect(gauge.lagSeconds('orders', standby.name)).toBeGreaterThan(0.2))
    const late = waitForFollowers(gauge, 'orders', { ...limits, deadlineMillis: 300 })
    await expect(late).rejects.toThrow('down is')
  })

  test('sends a query to a replica that is fresh, and to the primary while none is', async () => {
    const { gauge, standby } = await follow('replica')
    const primaryPool = createPool(primary)
    const replicas = new Map([[standby.name, createPool(standby)]])
    const isOnReplica = async () => {
      const pool = choosePool(gauge, 'orders', primaryPool, replicas)
      const { rows } = await pool.query<{ replica: boolean }>(
        'select pg_is_in_recovery() as replica',
      )
      return rows[0]?.replica
    }
    const untilOnReplica = (expected: boolean) =>
      eventually(async () => expect(await isOnReplica()).toBe(expected))
    expect(await isOnReplica()).toBe(false) // nothing was read yet
    await untilOnReplica(true)

    await standby.pauseReplay()
    await write(primary)
    await untilOnReplica(false)

    await standby.resumeReplay()
    await untilOnReplica(true)

    // It has all data, and is sent no more.
    await standby.kill()
    await untilOnReplica(false)
  })

  test('has a readiness probe that fails while a follower is far behind, disconnected or unknown', async () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const source = new ScriptedSource()
    const gauge = poll(source, 1000)
    const server = createReadinessServer(gauge, 'orders', 'standby_1').listen(0, '127.0.0.1')
    const port = await portOf(server)
    const probe = async () => {
      const response = await fetch(`http://127.0.0.1:${port}`)
      return `${response.status} ${await response.text()}`.trim()
    }
    const read = async (leader: number, applied: number) => {
      await vi.advanceTimersByTimeAsync(0)
      source.last.answer(reading('orders', leader, { standby_1: applied }))
      await vi.advanceTimersByTimeAsync(1000)
    }
    expect(await probe()).toBe('503 the lag of standby_1 is unknown')
    await read(100, 100)
    expect(await probe()).toBe('200 standby_1 is 0.0 s behind')

    for (let leader = 200; leader < 1000; leader += 100) await read(leader, 100)
    expect(await probe()).toMatch(/^200 standby_1 is [78]\.\d s behind$/)
    for (let leader = 1000; leader < 1400; leader += 100) await read(leader, 100)
    expect(await probe()).toMatch(/^503 standby_1 is 1[12]\.\d s behind$/)
    await read(1400, 1400)
    expect(await probe()).toBe('200 standby_1 is 0.0 s behind')

    // Nothing is written, so a dead follower lacks nothing.
    source.last.answer(reading('orders', 1400, {}))
    await vi.advanceTimersByTimeAsync(1000)
    expect(await probe()).toBe('503 standby_1 is disconnected')
    await read(1400, 1400)

    // The last reading is reported for three intervals and a timeout, at least for 15 s.
    await vi.advanceTimersByTimeAsync(13_000)
    expect(await probe()).toBe('200 standby_1 is 0.0 s behind')
    await vi.advanceTimersByTimeAsync(2_000)
    expect(await probe()).toBe('503 the lag of standby_1 is unknown')
  })
})
