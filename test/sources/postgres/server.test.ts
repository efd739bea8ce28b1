import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import type pg from 'pg'
import { describe, expect, it } from 'vitest'
import type { PostgresNode } from '../../servers/postgres/node.mjs'
import { eventually } from '../../support/eventually.js'
import { poll } from '../../support/postgres-monitor.js'
import {
  BEHIND,
  connect,
  connectReplication,
  createPool,
  createSource,
  major,
  NEAR,
  read,
  readLags,
  startCluster,
  untilLags,
  write,
} from '../../support/postgres.js'

const { cluster, primary } = await startCluster()

it('positions never make a negative lag while the primary is busy', async () => {
  await cluster.startStandby({ name: 'busy', of: primary })
  const source = createSource(primary)
  await write(primary)
  const writer = await connect(primary)
  const insert = "insert into written select repeat('x', 100) from generate_series(1, 50)"
  const progress = { writes: 0 }
  const writing = (async () => {
    for (; progress.writes < 200; progress.writes++) await writer.query(insert)
  })()
  while (progress.writes < 200) {
    expect((await readLags(source))['busy'] ?? 0).toBeGreaterThanOrEqual(0)
  }
  await writing
})

it('the settings of an application do not matter: type parsers, and settings of the session', async () => {
  for (const name of ['first', 'second']) {
    await cluster.startStandby({ name, of: primary, applicationName: 'same' })
  }
  await primary.query('create schema app; create view app.pg_stat_replication as select 1 as pid')
  const settings = [
    'TimeZone=Asia/Kathmandu',
    'TimeZone=America/St_Johns -c DateStyle=German -c IntervalStyle=sql_standard',
    'search_path=app,pg_catalog -c extra_float_digits=-15 -c quote_all_identifiers=on',
    'default_transaction_isolation=repeatable\\ read -c bytea_output=escape',
  ]
  const getTypeParser = (oid: number) => (value: string) => (oid === 25 ? value : { value })
  const types = { getTypeParser }
  const pools = settings.map((setting) => createPool(primary, { options: `-c ${setting}`, types }))
  let reads = 0
  const connect = () => (pools[reads++ % pools.length] as pg.Pool).connect()
  const source = postgresSource({ client: { totalCount: 0, connect }, shard: 'pg' })
  await untilLags(source, { same: NEAR, 'same@127.0.0.1': NEAR })
  const epochs = new Set()
  const readings = []
  while (readings.length < pools.length) readings.push(await read(source))
  for (const { shards } of readings) {
    const [shard] = shards
    epochs.add(shard?.epoch)
    expect(shard?.followers.map(({ replica }) => replica)).toEqual(['same', 'same@127.0.0.1'])
    expect(shard).not.toHaveProperty('removed')
  }
  expect(epochs.size).toBe(1)
})

describe('names', () => {
  it.skipIf(major < 13)(
    'do not change with a temporary slot, which has that of a process',
    async () => {
      const conf = { wal_receiver_create_temp_slot: 'on' }
      await cluster.startStandby({ name: 'temporary', of: primary, conf })
      await eventually(async () => {
        const slots = await primary.query('select temporary, active from pg_replication_slots')
        expect(slots).toEqual([{ temporary: true, active: true }])
      })
      await untilLags(createSource(primary), { temporary: 0 })
    },
  )

  it('are given once to a connection that holds several temporary slots', async () => {
    await primary.query('create publication nothing')
    const client = await connectReplication(primary, 'collector', 'database')
    for (const slot of ['a', 'b']) {
      await client.query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL pgoutput`)
    }
    expect(Object.keys(await readLags(createSource(primary)))).toEqual(['collector'])
  })
})

describe('slots', () => {
  /** Waits until a slot has a problem, and nothing that it keeps. */
  const untilLost = (node: PostgresNode, replica: string, problem: RegExp, work: () => unknown) => {
    const source = createSource(node)
    return eventually(async () => {
      await work()
      const [follower] = (await read(source)).shards[0]?.followers ?? []
      expect(follower).toMatchObject({ replica, connected: false })
      expect(follower?.problem).toMatch(problem)
      expect(follower).not.toHaveProperty('retainedSeqno')
    })
  }

  it.skipIf(major < 18)('that are invalidated because nothing uses them keep nothing', async () => {
    const conf = { idle_replication_slot_timeout: '1s' }
    const node = await cluster.startPrimary({ name: 'timing-out', conf })
    await node.query("select pg_create_physical_replication_slot('retired', true)")
    const [before] = (await read(createSource(node))).shards[0]?.followers ?? []
    expect(before).toHaveProperty('retainedSeqno')
    const problem = /^its slot retired is lost: it was not used for/
    await untilLost(node, 'retired', problem, () => node.query('checkpoint'))
  })

  /** Starts a standby with a logical slot of its own, which needs a snapshot that its primary logs. */
  async function startWithSlot(name: string, slot: string) {
    const upstream = await cluster.startPrimary({ name: `upstream-of-${name}` })
    const standby = await cluster.startStandby({ name, of: upstream })
    // Until it knows the wal_level of its primary.
    await standby.untilCaughtUpWith(upstream)
    await Promise.all([
      standby.query('select pg_create_logical_replication_slot($1, $2)', [slot, 'pgoutput']),
      upstream.query('select pg_log_standby_snapshot()'),
    ])
    return { upstream, standby }
  }

  it.skipIf(major < 16)(
    'of a standby that conflict with its replay are lost and keep nothing',
    async () => {
      const { upstream, standby } = await startWithSlot('conflicting', 'etl')
      const [before] = (await read(createSource(standby))).shards[0]?.followers ?? []
      expect(before).toMatchObject({ replica: 'etl', connected: false })
      expect(before).toHaveProperty('retainedSeqno')
      // Removes rows of the catalog that the slot may need.
      await upstream.query('create table removed (x int); drop table removed')
      await upstream.query('vacuum full pg_class')
      await standby.untilCaughtUpWith(upstream)
      const problem = /^its slot etl is lost: the server has invalidated it \((rows_removed|conf)/
      await untilLost(standby, 'etl', problem, () => undefined)
    },
  )

  it.skipIf(major < 16)(
    'of a standby do not hide those of the primary under one shard',
    async () => {
      const { upstream, standby } = await startWithSlot('with-both', 'both')
      // As extensions do that copy slots. It stays behind, and has no consumer.
      await write(upstream)
      await upstream.query("select pg_create_logical_replication_slot('both', 'pgoutput')")
      await standby.untilCaughtUpWith(upstream)
      const nodes = [upstream, standby].map((node) => createSource(node, { name: node.name }))
      const metrics = poll(nodes)
      await metrics.until('both', { connected: false })
      const start = performance.now()
      await eventually(() => {
        expect.soft(metrics.find('both')?.lagSeqno).toBeLessThan(10_000)
        expect(performance.now() - start).toBeGreaterThan(300)
      })
    },
  )

  it.skipIf(major < 17)(
    'that a standby copies from its primary count once it is promoted, and not before',
    async () => {
      const origin = await cluster.startPrimary({ name: 'origin' })
      const conf = {
        hot_standby_feedback: 'on',
        primary_conninfo: `host=127.0.0.1 port=${origin.port} user=postgres dbname=postgres application_name=sync`,
      }
      const standby = await cluster.startStandby({ name: 'sync', of: origin, slot: 'sync', conf })
      await origin.query(
        "select pg_create_logical_replication_slot('etl', 'pgoutput', false, false, failover => true)",
      )
      await eventually(async () => {
        // The copy is kept when the standby has what the slot needs.
        await write(origin)
        await standby.untilCaughtUpWith(origin)
        // The slot moves to the last snapshot but one.
        for (let snapshot = 0; snapshot < 3; snapshot++) {
          await origin.query('select pg_log_standby_snapshot()')
          await origin.query("select pg_replication_slot_advance('etl', pg_current_wal_lsn())")
        }
        await standby.untilCaughtUpWith(origin)
        await standby.query('select pg_sync_replication_slots()')
        const slots = await standby.query('select synced, temporary from pg_replication_slots')
        expect(slots).toEqual([{ synced: true, temporary: false }])
      })
      const source = createSource(standby)
      expect(await readLags(source)).toStrictEqual({})
      await standby.promote()
      await write(standby)
      expect(await readLags(source)).toEqual({ etl: BEHIND })
    },
  )
})

describe('a role', () => {
  it('that is set to serializable can read a standby, through a Pool and through a Client', async () => {
    const standby = await cluster.startStandby({ name: 'strict', of: primary })
    await cluster.startStandby({ name: 'its-own', of: standby })
    await primary.query('create role serial login in role pg_monitor')
    await primary.query("alter role serial set default_transaction_isolation = 'serializable'")
    await standby.untilCaughtUpWith(primary)
    const client = await connect(standby, { user: 'serial' })
    await untilLags(createSource(standby, {}, { user: 'serial' }), { 'its-own': 0 })
    await untilLags(postgresSource({ client, shard: 'pg' }), { 'its-own': 0 })
    const [row] = (await client.query('show transaction_isolation')).rows as unknown[]
    expect(row).toEqual({ transaction_isolation: 'serializable' })
  })

  it('with pg_monitor and nothing else can read a primary and a standby, and sees a promotion', async () => {
    await primary.query('create role monitor login in role pg_monitor')
    const standby = await cluster.startStandby({ name: 'watched', of: primary })
    await standby.untilCaughtUpWith(primary)
    const sources = [primary, standby].map((node) => createSource(node, {}, { user: 'monitor' }))
    const epochs = () =>
      Promise.all(sources.map(async (source) => (await read(source)).shards[0]?.epoch))
    const [first = ''] = await epochs()
    expect(first).toMatch(/^\d{19}\/1$/)
    expect(await epochs()).toEqual([first, first])
    await standby.promote()
    expect(await epochs()).toEqual([first, first.replace(/1$/, '2')])
  })
})

describe('a standby', () => {
  it('is measured against what it has received, not against what it has replayed', async () => {
    const middle = await cluster.startStandby({ name: 'receiving', of: primary })
    await cluster.startStandby({ name: 'its-follower', of: middle })
    const source = createSource(middle)
    await middle.pauseReplay()
    const stoppedAt = await middle.position()
    await write(primary)
    const written = await primary.position()
    await eventually(async () =>
      expect((await read(source)).shards[0]?.leaderSeqno).toBeGreaterThanOrEqual(written),
    )
    expect(await middle.position()).toBe(stoppedAt)
  })
})
