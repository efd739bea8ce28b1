import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  ReplicationLagGauge,
  ReplicationPoller,
} from 'opentelemetry-instrumentation-replication-lag'
import type pg from 'pg'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { waitForFollowers, writeInBatches } from '../../docs/examples/bulk-write/bulk-write.mjs'
import { eventually } from '../support/eventually.js'
import { importProgram } from './page-programs.js'
import {
  createPool,
  createSource,
  startCluster,
  write,
  type PostgresNode,
} from '../support/postgres.js'
import { reading, ScriptedSource } from '../support/scripted-source.js'

const PAGE = 'docs/recipes.md'

const { cluster, primary } = await startCluster()

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

/** Polls a node until the test ends. */
function follow(node: PostgresNode): { gauge: ReplicationLagGauge; poller: ReplicationPoller } {
  const gauge = new ReplicationLagGauge()
  const sources = [createSource(node, { shard: 'orders' })]
  const poller = new ReplicationPoller({ gauge, sources, pollIntervalMillis: 100 })
  poller.start()
  onTestFinished(() => poller.stop())
  return { gauge, poller }
}

/** Polls a source that the test answers, with fake time. */
function followScripted(): { gauge: ReplicationLagGauge; source: ScriptedSource } {
  const [gauge, source] = [new ReplicationLagGauge(), new ScriptedSource()]
  const poller = new ReplicationPoller({ gauge, sources: [source], pollIntervalMillis: 1000 })
  poller.start()
  onTestFinished(() => poller.stop())
  return { gauge, source }
}

describe('with real servers', () => {
  let standby: PostgresNode
  let count = 0
  beforeEach(async () => {
    standby = await cluster.startStandby({ name: `standby_${++count}`, of: primary })
  })

  test('the set-up follows a server by the variables of its client', async () => {
    vi.stubEnv('PGHOST', '127.0.0.1')
    vi.stubEnv('PGPORT', `${primary.port}`)
    vi.stubEnv('PGUSER', 'postgres')
    vi.stubEnv('PGDATABASE', 'postgres')
    onTestFinished(() => void vi.unstubAllEnvs())
    const { gauge, monitorPool, poller } = (await importProgram(PAGE, 'gauge')) as {
      gauge: ReplicationLagGauge
      monitorPool: pg.Pool
      poller: ReplicationPoller
    }
    onTestFinished(() => {
      poller.stop()
      void monitorPool.end()
    })
    await eventually(() => expect(gauge.lagSeconds('orders', standby.name)).toBe(0))
  })

  describe('a bulk write', () => {
    test('waits while a follower is behind, continues when it has caught up, and fails at the deadline', async () => {
      const { gauge } = follow(primary)
      const limits = { maxSeconds: 0.2, deadlineMillis: 40_000 }
      await waitForFollowers(gauge, 'orders', limits)

      await standby.pauseReplay()
      await write(primary)
      await eventually(() =>
        expect(gauge.lagSeconds('orders', standby.name)).toBeGreaterThan(limits.maxSeconds),
      )
      const late = waitForFollowers(gauge, 'orders', { ...limits, deadlineMillis: 300 })
      await expect(late).rejects.toThrow(
        new RegExp(`^${standby.name} is .* s behind, after 300 ms`),
      )

      const waiting = waitForFollowers(gauge, 'orders', limits)
      await standby.resumeReplay()
      await waiting
      expect(gauge.lagSeconds('orders', standby.name)).toBeLessThanOrEqual(limits.maxSeconds)
    })

    test('writes all batches, in order', async () => {
      const { gauge } = follow(primary)
      const written: number[] = []
      await writeInBatches(gauge, 'orders', [1, 2, 3], (n) => Promise.resolve(written.push(n)))
      expect(written).toEqual([1, 2, 3])
    })

    test('waits for a follower that is down', async () => {
      const { gauge } = follow(primary)
      await eventually(() => expect(gauge.lagSeconds('orders', standby.name)).toBe(0))
      await standby.kill()
      await write(primary)
      await eventually(() => expect(gauge.lagSeconds('orders', standby.name)).toBeGreaterThan(0.2))
      const late = waitForFollowers(gauge, 'orders', { maxSeconds: 0.2, deadlineMillis: 300 })
      await expect(late).rejects.toThrow(`${standby.name} is`)
    })
  })

  test('a query goes to a replica that is fresh, and to the primary while none is', async () => {
    const { gauge } = follow(primary)
    const primaryPool = createPool(primary)
    const replicas = new Map([[standby.name, createPool(standby)]])
    const isOnReplica = async () => {
      const pool = choosePool(gauge, 'orders', primaryPool, replicas)
      const { rows } = await pool.query<{ replica: boolean }>(
        'select pg_is_in_recovery() as replica',
      )
      return rows[0]?.replica
    }
    expect(await isOnReplica()).toBe(false) // nothing was read yet
    await eventually(async () => expect(await isOnReplica()).toBe(true))

    await standby.pauseReplay()
    await write(primary)
    await eventually(async () => expect(await isOnReplica()).toBe(false))

    await standby.resumeReplay()
    await eventually(async () => expect(await isOnReplica()).toBe(true))

    // It has all data, and is sent no more.
    await standby.kill()
    await eventually(async () => expect(await isOnReplica()).toBe(false))
  })
})

describe('with a source that a test answers', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test('a readiness probe fails while a follower is far behind, disconnected or unknown', async () => {
    const { gauge, source } = followScripted()
    const server = createReadinessServer(gauge, 'orders', 'standby_1').listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
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
