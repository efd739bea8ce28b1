import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { ReplicationLagInstrumentation } from 'opentelemetry-instrumentation-replication-lag'
import {
  postgresSource,
  type PostgresSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.js'
import { recordDiag } from '../support/diag.js'
import { readLags, TestCluster, write } from '../support/postgres.js'
import { TestReader } from '../support/test-reader.js'

describe('a role without pg_monitor', () => {
  it('gets one clear error and no zeros; granted, it reads', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    await cluster.startStandby({ name: 's1', of: primary })
    await primary.query('create role "Plain ""one""" login')
    const source = cluster.source(primary, { user: 'Plain "one"' })
    const told = recordDiag()
    const instrumentation = new ReplicationLagInstrumentation({
      sources: [source],
      pollIntervalMillis: 20,
    })
    try {
      const message =
        'source "postgres:pg" cannot be read: the role "Plain ""one""" may not see the positions of ' +
        'followers: GRANT pg_monitor TO "Plain ""one"""'
      await eventually(() => expect(told.matching(message)).toHaveLength(1))
      await expect(readLags(source)).rejects.toThrow('GRANT pg_monitor')
      await expect(readLags(source)).rejects.toThrow('GRANT pg_monitor')
      expect(told.matching('error')).toHaveLength(1)
      expect(instrumentation.gauge.collectMetrics()).toEqual([])
      await primary.query('grant pg_monitor to "Plain ""one"""')
      await eventually(() =>
        expect(instrumentation.gauge.collectMetrics()).toMatchObject([
          { replica: 's1', lagSeqno: 0 },
        ]),
      )
    } finally {
      instrumentation.disable()
      told.stop()
    }
  })
})

describe('a frozen server', () => {
  it('costs a read its deadline and the scrape nothing, and is read again when it thaws', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    await cluster.startStandby({ name: 's1', of: primary })
    const pool = cluster.pool(primary)
    const reader = new TestReader()
    const provider = new MeterProvider({ readers: [reader] })
    const told = recordDiag()
    const instrumentation = new ReplicationLagInstrumentation({
      sources: [postgresSource({ client: pool, shard: 'pg' })],
      pollIntervalMillis: 20,
      pollTimeoutMillis: 200,
    })
    instrumentation.setMeterProvider(provider)
    const points = () => reader.points('replication_lag_seqno')
    const point = { attributes: { shard: 'pg', replica: 's1' }, value: 0 }
    try {
      await eventually(async () => expect(await points()).toEqual([point]))
      await primary.freeze()
      await eventually(() =>
        expect(told.matching('error', 'no answer within 200 ms')).toHaveLength(1),
      )
      expect(await points()).toEqual([point])
      // Its connection is gone, and one that waits for the server has taken its place: never more than the one.
      expect(pool.totalCount).toBeLessThanOrEqual(1)
      await primary.thaw()
      await write(primary)
      await eventually(() => expect(told.matching('info', 'answers again')).toHaveLength(1))
      await eventually(async () => expect(await points()).toEqual([point]))
      expect(pool.waitingCount).toBe(0)
    } finally {
      instrumentation.disable()
      told.stop()
      await provider.shutdown()
    }
  })
})

describe('a read that is aborted', () => {
  it('while it queries, ends its connection so that the pool can open another', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const pool = cluster.pool(primary, { max: 1 })
    const source = postgresSource({ client: pool, shard: 'pg' })
    await readLags(source)
    await primary.freeze()
    const abort = new AbortController()
    const read = source.read(abort.signal)
    read.catch(() => undefined)
    await eventually(() => expect(pool.idleCount).toBe(0))
    abort.abort()
    await expect(read).rejects.toThrow()
    expect(pool.totalCount).toBe(0)
    await primary.thaw()
    await readLags(source)
  })

  it('while it waits for a connection, gives that back', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const pool = cluster.pool(primary, { max: 1 })
    const source = postgresSource({ client: pool, shard: 'pg' })
    const taken = await pool.connect()
    const abort = new AbortController()
    const read = source.read(abort.signal)
    read.catch(() => undefined)
    expect(pool.waitingCount).toBe(1)
    abort.abort(new Error('no time left'))
    taken.release()
    await expect(read).rejects.toThrow('no time left')
    expect(pool.idleCount).toBe(1)
  })
})

describe('a connection that breaks during a read', () => {
  it('fails that read and not the process', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const source = cluster.source(primary)
    await readLags(source)
    await primary.freeze()
    const read = source.read(AbortSignal.timeout(30_000))
    read.catch(() => undefined)
    await primary.kill()
    await expect(read).rejects.toThrow()
    await primary.start()
    expect(await readLags(source)).toEqual({})
  })
})

describe('a server that takes a connection and says nothing', () => {
  it('fails a read once the pool has had enough, and is asked again at the next', async () => {
    const sockets: Socket[] = []
    await using server = createServer((socket) => sockets.push(socket.on('error', () => undefined)))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const pool = new pg.Pool({ host: '127.0.0.1', port, max: 1, connectionTimeoutMillis: 50 })
    const source = postgresSource({ client: pool, shard: 'pg' })
    for (const attempts of [1, 2]) {
      await expect(source.read(AbortSignal.timeout(10_000))).rejects.toThrow(/timeout/)
      expect(sockets).toHaveLength(attempts)
    }
    for (const socket of sockets) socket.destroy()
    await pool.end()
  })
})

describe('options of postgresSource', () => {
  const client = { query: () => Promise.resolve({ rows: [] }), connect: () => Promise.resolve() }

  it.each<[unknown, RegExp]>([
    [undefined, /^options: expected an object, got undefined/],
    [null, /^options: expected an object, got null/],
    [{ shard: 'a' }, /^client: expected a Pool or Client of pg, got undefined/],
    [{ client: null, shard: 'a' }, /^client: expected a Pool or Client of pg, got null/],
    [
      { client: 'postgres://', shard: 'a' },
      /^client: expected a Pool or Client of pg, got "postgres:/,
    ],
    [
      { client: { connect: () => 1 }, shard: 'a' },
      /^client: expected a Pool or Client of pg, got an/,
    ],
    [{ client }, /^shard: expected a non-empty string or a non-negative integer, got undefined/],
    [{ client, shard: '' }, /^shard: expected a non-empty string .* got ""/],
    [{ client, shard: 'a', slot: 'b' }, /^slot: there is no such option/],
  ])('throw a TypeError that names the option: %#', (options, message) => {
    expect(() => postgresSource(options as PostgresSourceOptions)).toThrow(TypeError)
    expect(() => postgresSource(options as PostgresSourceOptions)).toThrow(message)
  })
})
