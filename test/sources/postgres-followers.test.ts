import type pg from 'pg'
import { describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.js'
import { readLags, TestCluster, write } from '../support/postgres.js'

describe('what counts as a follower of PostgreSQL', () => {
  it('is no base backup, neither the copy of the files nor the stream beside it', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const source = cluster.source(primary)
    // As pg_basebackup does: one connection for the files, slowed down so that it lasts, and one for the WAL.
    const replication = {
      replication: 'true',
      application_name: 'pg_basebackup',
    } as pg.ClientConfig
    const files = await cluster.client(primary, replication)
    const wal = await cluster.client(primary, replication)
    const system = await wal.query<{ xlogpos: string }>('IDENTIFY_SYSTEM')
    const position = system.rows[0]?.xlogpos ?? ''
    files.query("BASE_BACKUP (CHECKPOINT 'fast', MAX_RATE 32)").catch(() => undefined)
    wal.query(`START_REPLICATION PHYSICAL ${position}`).catch(() => undefined)
    await eventually(async () => {
      const senders = await primary.query('select state from pg_stat_replication order by state')
      expect(senders).toEqual([{ state: 'backup' }, { state: 'streaming' }])
    })
    expect(await readLags(source)).toEqual({})
    await cluster.startStandby({ name: 's1', of: primary })
    await eventually(async () => expect(await readLags(source)).toEqual({ s1: 0 }))
  })

  it('is a logical slot, by what its consumer has confirmed, connected or not', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const source = cluster.source(primary)
    await primary.query("select pg_create_logical_replication_slot('etl', 'pgoutput')")
    await write(primary)
    expect((await readLags(source))['etl']).toBeGreaterThan(100_000)
    await primary.query("select pg_replication_slot_advance('etl', pg_current_wal_lsn())")
    expect((await readLags(source))['etl']).toBeLessThan(10_000)
  })

  it('is a subscription of another server, under the name of its slot', async () => {
    await using cluster = await TestCluster.create()
    const publisher = await cluster.startPrimary({ name: 'publisher' })
    const subscriber = await cluster.startPrimary({ name: 'subscriber' })
    const source = cluster.source(publisher)
    await publisher.query('create table orders (id int primary key)')
    await publisher.query('create publication orders for table orders')
    await subscriber.query('create table orders (id int primary key)')
    await subscriber.query(
      `create subscription orders_copy
       connection 'host=127.0.0.1 port=${publisher.port} user=postgres dbname=postgres'
       publication orders`,
    )
    await publisher.query('insert into orders select generate_series(1, 1000)')
    await eventually(async () => expect(await readLags(source)).toEqual({ orders_copy: 0 }))
    await subscriber.query('alter subscription orders_copy disable')
    await publisher.query('insert into orders select generate_series(1001, 2000)')
    await eventually(async () => {
      const lags = await readLags(source)
      expect(Object.keys(lags)).toEqual(['orders_copy'])
      expect(lags['orders_copy']).toBeGreaterThan(10_000)
    })
  })

  it('is a slot that was copied to a standby once that is promoted, and not before', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary({ conf: { wal_level: 'logical' } })
    const conf = {
      hot_standby_feedback: 'on',
      primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres application_name=s1`,
    }
    const standby = await cluster.startStandby({ name: 's1', of: primary, slot: 's1', conf })
    await primary.query(
      "select pg_create_logical_replication_slot('etl', 'pgoutput', false, false, failover => true)",
    )
    await eventually(async () => {
      // The copy is kept once the standby has what the slot needs.
      await write(primary)
      await primary.query('select pg_log_standby_snapshot()')
      await primary.query("select pg_replication_slot_advance('etl', pg_current_wal_lsn())")
      await standby.untilCaughtUpWith(primary)
      await standby.query('select pg_sync_replication_slots()')
      const slots = await standby.query('select synced, temporary from pg_replication_slots')
      expect(slots).toEqual([{ synced: true, temporary: false }])
    })
    const source = cluster.source(standby)
    expect(await readLags(source)).toEqual({})
    await standby.promote()
    await write(standby)
    expect((await readLags(source))['etl']).toBeGreaterThan(100_000)
  })

  it('is a standby with a temporary slot, under its application_name: the slot is named by a process', async () => {
    await using cluster = await TestCluster.create()
    const primary = await cluster.startPrimary()
    const conf = { wal_receiver_create_temp_slot: 'on' }
    await cluster.startStandby({ name: 's1', of: primary, conf })
    await eventually(async () => {
      const slots = await primary.query('select temporary, active from pg_replication_slots')
      expect(slots).toEqual([{ temporary: true, active: true }])
    })
    expect(await readLags(cluster.source(primary))).toEqual({ s1: 0 })
  })

  it('is no slot that was never used, and of a slot whose WAL is gone only that it is lost', async () => {
    await using cluster = await TestCluster.create()
    const conf = {
      wal_keep_size: 0,
      max_slot_wal_keep_size: '2MB',
      max_wal_size: '4MB',
      min_wal_size: '2MB',
    }
    const primary = await cluster.startPrimary({ conf })
    const source = cluster.source(primary)
    await primary.query("select pg_create_physical_replication_slot('unused')")
    await primary.query("select pg_create_physical_replication_slot('lost', true)")
    expect(Object.keys(await readLags(source))).toEqual(['lost'])
    await eventually(async () => {
      await write(primary)
      await primary.query('select pg_switch_wal()')
      await primary.query('checkpoint')
      const [slot] = await primary.query(
        "select wal_status from pg_replication_slots where slot_name = 'lost'",
      )
      expect(slot).toEqual({ wal_status: 'lost' })
    })
    const { shards } = await source.read(AbortSignal.timeout(10_000))
    expect(shards[0]?.followers).toEqual([
      {
        replica: 'lost',
        connected: false,
        problem:
          'its slot lost is lost: the server has removed WAL that it needs, so it must be rebuilt',
      },
    ])
  })
})
