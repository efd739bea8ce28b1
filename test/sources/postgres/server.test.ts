import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import type pg from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { PostgresNode } from '../../servers/postgres/node.mjs'
import { eventually } from '../../support/eventually.js'
import { poll } from '../../support/postgres-monitor.js'
import { WalReceiver } from '../../support/postgres-wal-receiver.js'
import {
  connect,
  connectReplication,
  createPool,
  createSource,
  dropSlot,
  major,
  read,
  readFollowers,
  readLags,
  startCluster,
  write,
} from '../../support/postgres.js'

const { cluster, primary } = await startCluster()

describe('positions', () => {
  it('never make a negative lag while the primary is busy', async () => {
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
})

describe('the settings of an application', () => {
  it('do not matter: type parsers', async () => {
    await cluster.startStandby({ name: 'typed', of: primary, slot: 'typed' })
    const types = {
      getTypeParser: (oid: number) => (value: string) => (oid === 25 ? value : { parsed: value }),
    }
    const source = createSource(primary, {}, { types })
    await eventually(async () =>
      expect(await readFollowers(source)).toEqual({ typed: { connected: true, lag: 0 } }),
    )
  })

  it('do not matter: settings of the session', async () => {
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
    const pools = settings.map((setting) => createPool(primary, { options: `-c ${setting}` }))
    let reads = 0
    const client = {
      totalCount: 0,
      connect: () => (pools[reads++ % pools.length] as pg.Pool).connect(),
    }
    const source = postgresSource({ client, shard: 'pg' })
    await eventually(async () => expect(Object.keys(await readLags(source))).toHaveLength(2))
    const [before] = (await read(source)).shards
    const readings = []
    while (readings.length < pools.length) readings.push(await read(source))
    for (const { shards } of readings) {
      const [shard] = shards
      expect(shard?.epoch).toBe(before?.epoch)
      expect(shard?.followers.map(({ replica }) => replica)).toEqual(['same', 'same@127.0.0.1'])
      expect(shard).not.toHaveProperty('removed')
    }
  })
})

describe('names', () => {
  it('stay with two standbys of one name and address over a reconnection', async () => {
    const source = createSource(primary)
    const one = await cluster.startStandby({ name: 'one', of: primary, applicationName: 'twin' })
    await eventually(async () => expect(await readLags(source)).toEqual({ twin: 0 }))
    const two = await cluster.startStandby({ name: 'two', of: primary, applicationName: 'twin' })
    const both = ['twin', 'twin@127.0.0.1']
    await eventually(async () => {
      // Before PostgreSQL 12, only positions show that both are there.
      if (major < 12) await write(primary)
      expect(Object.keys(await readLags(source))).toEqual(both)
    })
    await two.pauseReplay()
    await write(primary)
    await eventually(async () => {
      const { twin, ...other } = await readLags(source)
      expect(twin).toBe(0)
      expect(other['twin@127.0.0.1']).toBeGreaterThan(100_000)
    })
    await one.stop()
    await eventually(async () =>
      expect(Object.keys(await readLags(source))).toEqual(['twin@127.0.0.1']),
    )
    await one.start()
    await eventually(async () => {
      const { twin, ...other } = await readLags(source)
      expect(twin).toBe(0)
      expect(other['twin@127.0.0.1']).toBeGreaterThan(100_000)
    })
  })

  const itFrom13 = major >= 13 ? it : it.skip
  itFrom13('do not change with a temporary slot, which is named by a process', async () => {
    const conf = { wal_receiver_create_temp_slot: 'on' }
    await cluster.startStandby({ name: 'temporary', of: primary, conf })
    await eventually(async () => {
      const slots = await primary.query('select temporary, active from pg_replication_slots')
      expect(slots).toEqual([{ temporary: true, active: true }])
    })
    const source = createSource(primary)
    await eventually(async () => expect(await readLags(source)).toEqual({ temporary: 0 }))
  })

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
  it('without a connection keep the position that was replayed, not the one that was received', async () => {
    const standby = await cluster.startStandby({ name: 'half', of: primary, slot: 'half' })
    const source = createSource(primary)
    await standby.pauseReplay()
    await write(primary)
    await eventually(async () => {
      expect((await readLags(source))['half']).toBeGreaterThan(100_000)
      const [slot] = await primary.query(
        'select (pg_current_wal_lsn() - restart_lsn)::int as kept from pg_replication_slots',
      )
      expect(slot).toEqual({ kept: 0 })
    })
    await standby.stop()
    await eventually(async () =>
      expect((await readFollowers(source))['half']?.connected).toBe(false),
    )
    expect((await readLags(source))['half']).toBeGreaterThan(100_000)
  })

  const itFrom18 = major >= 18 ? it : it.skip
  itFrom18('that are invalidated because nothing uses them keep nothing', async () => {
    const conf = { idle_replication_slot_timeout: '1s' }
    const node = await cluster.startPrimary({ name: 'timing-out', conf })
    await node.query("select pg_create_physical_replication_slot('retired', true)")
    const source = createSource(node)
    expect((await read(source)).shards[0]?.followers[0]).toHaveProperty('retainedSeqno')
    await eventually(async () => {
      await node.query('checkpoint')
      const [follower] = (await read(source)).shards[0]?.followers ?? []
      expect(follower?.problem).toMatch(/^its slot retired is lost: it was not used for/)
      expect(follower).toMatchObject({ replica: 'retired', connected: false })
      expect(follower).not.toHaveProperty('retainedSeqno')
    })
  })

  const itFrom16 = major >= 16 ? it : it.skip
  /** Creates a logical slot of a standby, which needs a snapshot that its primary logs. */
  async function createSlotOf(standby: PostgresNode, upstream: PostgresNode, slot: string) {
    // Until it knows the wal_level of its primary.
    await standby.untilCaughtUpWith(upstream)
    await Promise.all([
      standby.query('select pg_create_logical_replication_slot($1, $2)', [slot, 'pgoutput']),
      upstream.query('select pg_log_standby_snapshot()'),
    ])
  }

  itFrom16('of a standby that conflict with its replay are lost and keep nothing', async () => {
    const upstream = await cluster.startPrimary({ name: 'upstream-of-slot' })
    const standby = await cluster.startStandby({ name: 'with-slot', of: upstream })
    await createSlotOf(standby, upstream, 'etl')
    const source = createSource(standby)
    const [before] = (await read(source)).shards[0]?.followers ?? []
    expect(before).toMatchObject({ replica: 'etl', connected: false })
    expect(before).toHaveProperty('retainedSeqno')
    // Removes rows of the catalog that the slot may need.
    await upstream.query('create table removed (x int); drop table removed')
    await upstream.query('vacuum full pg_class')
    await standby.untilCaughtUpWith(upstream)
    await eventually(async () => {
      const [follower] = (await read(source)).shards[0]?.followers ?? []
      expect(follower?.problem).toMatch(
        /^its slot etl is lost: the server has invalidated it \((rows_removed|conflicting)\)/,
      )
      expect(follower).not.toHaveProperty('retainedSeqno')
    })
  })

  itFrom16('of a standby do not hide those of the primary under one shard', async () => {
    const upstream = await cluster.startPrimary({ name: 'upstream-of-both' })
    const standby = await cluster.startStandby({ name: 'with-both', of: upstream })
    await createSlotOf(standby, upstream, 'both')
    // As extensions do that copy slots. It stays behind, and has no consumer.
    await write(upstream)
    await upstream.query("select pg_create_logical_replication_slot('both', 'pgoutput')")
    await standby.untilCaughtUpWith(upstream)
    const nodes = [upstream, standby].map((node) => createSource(node, { name: node.name }))
    const metrics = poll(nodes)
    for (let round = 0; round < 10; round++) {
      await eventually(() => expect(metrics.find('both')).toMatchObject({ connected: false }))
      await new Promise((resolve) => setTimeout(resolve, 30))
      expect(metrics.find('both')?.lagSeqno).toBeLessThan(10_000)
    }
  })

  const itFrom17 = major >= 17 ? it : it.skip
  itFrom17(
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
      expect((await readLags(source))['etl']).toBeGreaterThan(100_000)
    },
  )

  const itFrom11 = major >= 11 ? it : it.skip
  itFrom11('that SQL advances have the position that it confirms', async () => {
    await primary.query("select pg_create_logical_replication_slot('polled', 'pgoutput')")
    onTestFinished(() => dropSlot(primary, 'polled'))
    await write(primary)
    const source = createSource(primary)
    expect((await readFollowers(source))['polled']?.connected).toBe(false)
    expect((await readLags(source))['polled']).toBeGreaterThan(100_000)
    await primary.query("select pg_replication_slot_advance('polled', pg_current_wal_lsn())")
    expect((await readLags(source))['polled']).toBeLessThan(10_000)
  })
})

describe('a role that is set to serializable', () => {
  it('can read a standby, through a Pool and through a Client', async () => {
    const standby = await cluster.startStandby({ name: 'strict', of: primary })
    await cluster.startStandby({ name: 'its-own', of: standby })
    await primary.query('create role serial login in role pg_monitor')
    await primary.query("alter role serial set default_transaction_isolation = 'serializable'")
    await standby.untilCaughtUpWith(primary)
    const client = await connect(standby, { user: 'serial' })
    for (const source of [
      createSource(standby, {}, { user: 'serial' }),
      postgresSource({ client, shard: 'pg' }),
    ]) {
      await eventually(async () => expect(await readLags(source)).toEqual({ 'its-own': 0 }))
      expect((await read(source)).shards[0]?.followers).toHaveLength(1)
    }
    const [row] = (await client.query('show transaction_isolation')).rows as unknown[]
    expect(row).toEqual({ transaction_isolation: 'serializable' })
  })
})

describe('a role with pg_monitor and nothing else', () => {
  it('can read a primary and a standby, and sees the timeline change at a promotion', async () => {
    await primary.query('create role monitor login in role pg_monitor')
    const standby = await cluster.startStandby({ name: 'watched', of: primary })
    await standby.untilCaughtUpWith(primary)
    const epochs = [primary, standby].map((node) => {
      const source = createSource(node, {}, { user: 'monitor' })
      return async () => (await read(source)).shards[0]?.epoch
    })
    const [ofPrimary, ofStandby] = epochs as [() => Promise<string>, () => Promise<string>]
    const first = await ofPrimary()
    expect(first).toMatch(/^\d{19}\/1$/)
    expect(await ofStandby()).toBe(first)
    await standby.promote()
    expect(await ofStandby()).toBe(first.replace(/1$/, '2'))
    expect(await ofPrimary()).toBe(first)
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

  it('keeps its epoch while the node that it follows is away', async () => {
    const first = await cluster.startPrimary({ name: 'first-of-chain' })
    const second = await cluster.startStandby({ name: 'second-of-chain', of: first })
    const third = await cluster.startStandby({ name: 'third-of-chain', of: second })
    await cluster.startStandby({ name: 'fourth-of-chain', of: third })
    const source = createSource(third)
    const epoch = async () => (await read(source)).shards[0]?.epoch
    await second.promote()
    await write(second)
    await eventually(async () => expect(await epoch()).toMatch(/\/2$/))
    await second.stop()
    await eventually(async () =>
      expect(await third.query('select from pg_stat_wal_receiver')).toEqual([]),
    )
    expect(await epoch()).toMatch(/\/2$/)
  })
})

describe('a connection that breaks during a read', () => {
  it('fails that read and not the process', async () => {
    const node = await cluster.startPrimary({ name: 'breaking' })
    const source = createSource(node)
    await read(source)
    await node.freeze()
    const reading = read(source)
    reading.catch(() => undefined)
    await node.kill()
    await expect(reading).rejects.toThrow(/PostgreSQL at 127\.0\.0\.1:\d+, role postgres: /)
    await node.start()
    expect(await readLags(source)).toStrictEqual({})
  })
})

it('what has no position yet is not a follower: an unused slot, a connection that reports nothing', async () => {
  await primary.query("select pg_create_physical_replication_slot('unused')")
  onTestFinished(() => dropSlot(primary, 'unused'))
  await WalReceiver.start(primary, { applicationName: 'pg_receivewal', confirms: false })
  await eventually(async () =>
    expect(await primary.query('select from pg_stat_replication')).toHaveLength(1),
  )
  expect(await readLags(createSource(primary))).toStrictEqual({})
})
