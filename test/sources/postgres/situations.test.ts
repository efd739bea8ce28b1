import type { PostgresFollower } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { poll } from '../../support/postgres-monitor.js'
import { WalReceiver } from '../../support/postgres-wal-receiver.js'
import {
  connect,
  createSource,
  dropSlot,
  major,
  read,
  readFollowers,
  readLags,
  startCluster,
  write,
} from '../../support/postgres.js'

// docs/sources/postgres.md begins with a table of these situations, under the same names.

const { cluster, primary } = await startCluster()

describe('without anything wrong', () => {
  it('Nothing is written', async () => {
    await cluster.startStandby({ name: 'idle', of: primary, slot: 'idle' })
    await write(primary)
    const metrics = poll([createSource(primary)])
    const caughtUp = { connected: true, lagSeqno: 0, lagSeconds: 0 }
    await eventually(() => expect(metrics.find('idle')).toMatchObject(caughtUp))
    const start = performance.now()
    await eventually(() => {
      expect(metrics.find('idle')).toMatchObject(caughtUp)
      expect(performance.now() - start).toBeGreaterThan(500)
    })
  })

  it('A standby streams from a standby', async () => {
    const middle = await cluster.startStandby({ name: 'middle', of: primary })
    const end = await cluster.startStandby({ name: 'end', of: middle })
    const source = createSource(middle, { shard: 'pg/middle' })
    await end.pauseReplay()
    await write(primary)
    await middle.untilCaughtUpWith(primary)
    await eventually(async () => {
      const behind = Number((await middle.position()) - (await end.position()))
      expect(behind).toBeGreaterThan(100_000)
      expect(await readLags(source)).toEqual({ end: behind })
    })
    expect(await readLags(createSource(primary))).toEqual({ middle: 0 })
    await end.resumeReplay()
    await eventually(async () => expect(await readLags(source)).toEqual({ end: 0 }))
  })

  it('A standby applies WAL with a delay', async () => {
    const conf = { recovery_min_apply_delay: '1h' }
    await cluster.startStandby({ name: 'delayed', of: primary, conf })
    const source = createSource(primary)
    await write(primary)
    await eventually(async () => {
      const { leaderSeqno, followers } = (await read(source)).shards[0] ?? {}
      expect(followers).toMatchObject([{ connected: true, receivedSeqno: leaderSeqno }])
      expect((await readLags(source))['delayed']).toBeGreaterThan(100_000)
    })
  })

  it('A base backup runs', async () => {
    // As pg_basebackup does: one connection for the files, slowed down so that it lasts, and one for the WAL.
    const files = await connect(primary, { replication: 'true' } as object)
    const options = major >= 15 ? "(CHECKPOINT 'fast', MAX_RATE 32)" : 'FAST MAX_RATE 32'
    files.query(`BASE_BACKUP ${options}`).catch(() => undefined)
    await WalReceiver.start(primary, { applicationName: 'pg_basebackup' })
    await eventually(async () => {
      const senders = await primary.query('select state from pg_stat_replication order by state')
      expect(senders).toEqual([{ state: 'backup' }, { state: 'streaming' }])
    })
    await write(primary)
    expect(await readLags(createSource(primary))).toStrictEqual({})
  })

  it('pg_receivewal archives WAL through a slot', async () => {
    await primary.query("select pg_create_physical_replication_slot('archive', true)")
    onTestFinished(() => dropSlot(primary, 'archive'))
    const source = createSource(primary)
    expect(Object.keys(await readLags(source))).toEqual(['archive'])
    const receiver = await WalReceiver.start(primary, {
      applicationName: 'pg_receivewal',
      slot: 'archive',
    })
    await write(primary)
    await eventually(async () => expect(await readLags(source)).toStrictEqual({}))
    await receiver.stop()
    await write(primary)
    expect(await readLags(source)).toStrictEqual({})
  })

  it('A standby restores from an archive only', async () => {
    const archive = join(cluster.folder, 'archive')
    await mkdir(archive)
    await chmod(archive, 0o777)
    const conf = { archive_mode: true, archive_command: `cp %p ${archive}/%f` }
    const archiving = await cluster.startPrimary({ name: 'archiving', conf })
    const restoring = await cluster.addStandby({
      name: 'restoring',
      of: archiving,
      conf: { primary_conninfo: '', restore_command: `cp ${archive}/%f %p` },
    })
    await write(archiving)
    await archiving.query('select pg_switch_wal()')
    await restoring.start()
    const end = await cluster.startStandby({ name: 'end-of-archive', of: restoring })
    expect(await readLags(createSource(archiving))).toStrictEqual({})
    const source = createSource(restoring)
    await end.pauseReplay()
    await write(archiving)
    await archiving.query('select pg_switch_wal()')
    await eventually(async () => {
      expect((await readLags(source))['end-of-archive']).toBeGreaterThan(100_000)
    })
  })
})

describe('a consumer of changes', () => {
  let number = 0

  /** Creates a table and its publication. */
  async function publish() {
    const table = `orders_${++number}`
    await primary.query(`create table ${table} (id int primary key)`)
    await primary.query(`create publication ${table} for table ${table}`)
    return table
  }

  it('A consumer of changes falls behind', async () => {
    const table = await publish()
    onTestFinished(() => dropSlot(primary, 'copy'))
    const subscriber = await cluster.startPrimary({ name: `subscriber-${number}` })
    await subscriber.query(`create table ${table} (id int primary key)`)
    await subscriber.query(
      `create subscription copy connection 'host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres'
       publication ${table}`,
    )
    const source = createSource(primary)
    await primary.query(`insert into ${table} select generate_series(1, 1000)`)
    await eventually(async () => expect(await readLags(source)).toEqual({ copy: 0 }))
    await subscriber.query('alter subscription copy disable')
    // Its worker ends a moment later, and would still receive what is written before that.
    await eventually(async () =>
      expect((await readFollowers(source))['copy']?.connected).toBe(false),
    )
    await primary.query(`insert into ${table} select generate_series(1001, 2000)`)
    await eventually(async () => expect((await readLags(source))['copy']).toBeGreaterThan(10_000))
  })

  // Older versions send every consumer the begin and the end of all transactions.
  const itFrom15 = major >= 15 ? it : it.skip
  itFrom15('A logical consumer is idle', async () => {
    const table = await publish()
    await primary.query("select pg_create_logical_replication_slot('quiet', 'pgoutput')")
    onTestFinished(() => dropSlot(primary, 'quiet'))
    const source = createSource(primary)
    await WalReceiver.start(primary, {
      applicationName: 'consumer',
      slot: 'quiet',
      publication: table,
      // As Debezium and subscriptions do.
      messages: false,
    })
    await primary.query(`insert into ${table} values (1)`)
    await eventually(async () => expect((await readLags(source))['quiet']).toBeLessThan(10_000))
    const isBehind = async () => {
      const { quiet } = await readFollowers(source)
      expect(quiet?.connected).toBe(true)
      expect(quiet?.lag).toBeGreaterThan(100_000)
    }
    await write(primary)
    await isBehind()
    // Messages are not sent to it.
    await primary.query("select pg_logical_emit_message(false, 'heartbeat', '')")
    await write(primary)
    await isBehind()
    await eventually(async () => {
      await primary.query(`update ${table} set id = id + 1`)
      expect((await readLags(source))['quiet']).toBeLessThan(10_000)
    })
  })

  itFrom15('A consumer of changes that takes messages has nothing to do', async () => {
    const table = await publish()
    await primary.query('create database other template postgres')
    const other = await connect(primary, { database: 'other' })
    await primary.query("select pg_create_logical_replication_slot('listening', 'pgoutput')")
    onTestFinished(() => dropSlot(primary, 'listening'))
    const source = createSource(primary)
    const receiver = { applicationName: 'consumer', slot: 'listening', publication: table }
    await WalReceiver.start(primary, receiver)
    const beat = "select pg_logical_emit_message(false, 'heartbeat', '')"
    await primary.query(beat)
    await eventually(async () => expect((await readLags(source))['listening']).toBeLessThan(10_000))
    await write(primary)
    // A message of another database does not reach it.
    await other.query(beat)
    await primary.query(`select pg_sleep(0.3)`)
    const { listening } = await readFollowers(source)
    expect(listening?.connected).toBe(true)
    expect(listening?.lag).toBeGreaterThan(100_000)
    await eventually(async () => {
      await primary.query(beat)
      expect((await readLags(source))['listening']).toBeLessThan(10_000)
    })
  })

  it('A consumer of changes connects now and then', async () => {
    const table = await publish()
    await primary.query("select pg_create_logical_replication_slot('batches', 'pgoutput')")
    onTestFinished(() => dropSlot(primary, 'batches'))
    const intermittent = ({ slotName }: PostgresFollower) => slotName === 'batches'
    const metrics = poll([createSource(primary, { intermittent })])
    const isAway = () => {
      const follower = metrics.find('batches')
      expect(follower).toMatchObject({ connected: true })
      expect(follower?.lagSeqno).toBeGreaterThan(100_000)
      expect(follower?.retainedSeqno).toBeGreaterThan(100_000)
    }
    await write(primary)
    await eventually(isAway)
    const receiver = { applicationName: 'batch', slot: 'batches', publication: table }
    const batch = await WalReceiver.start(primary, receiver)
    await eventually(async () => {
      await primary.query(`insert into ${table} select coalesce(max(id), 0) + 1 from ${table}`)
      expect(metrics.find('batches')?.lagSeqno).toBeLessThan(10_000)
    })
    await batch.stop()
    await write(primary)
    await eventually(isAway)
  })

  it('A consumer of changes confirms more than there is', async () => {
    const publication = await publish()
    await primary.query("select pg_create_logical_replication_slot('hasty', 'pgoutput')")
    onTestFinished(() => dropSlot(primary, 'hasty'))
    const receiver = { applicationName: 'hasty', slot: 'hasty', publication, confirms: false }
    const consumer = await WalReceiver.start(primary, receiver)
    const source = createSource(primary)
    // Some consumers confirm the byte after the last one.
    await eventually(async () => {
      consumer.confirm((await primary.position()) + 1n)
      expect(await readFollowers(source)).toEqual({ hasty: { connected: true, lag: 0 } })
    })
    await eventually(async () => {
      consumer.confirm((await primary.position()) + 1_000_000n)
      const [shard] = (await read(source)).shards
      expect(shard?.followers).toEqual([
        expect.objectContaining({
          replica: 'hasty',
          diverged: true,
          problem: expect.stringContaining('after the end of the WAL') as string,
        }),
      ])
    })
  })

  it('A new subscription copies a table', async () => {
    const table = await publish()
    onTestFinished(() => dropSlot(primary, 'copies'))
    const subscriber = await cluster.startPrimary({ name: `subscriber-${number}` })
    await subscriber.query(`create table ${table} (id int primary key)`)
    const source = createSource(primary)
    await subscriber.query(
      `create subscription copies connection 'host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres'
       publication ${table} with (enabled = false)`,
    )
    // A new slot waits for the transactions in progress, so the copy does not begin.
    const writer = await connect(primary)
    await writer.query('begin; select txid_current()')
    await subscriber.query('alter subscription copies enable')
    await eventually(async () => {
      const slots = await primary.query('select slot_name from pg_replication_slots')
      expect(slots.map((slot) => slot['slot_name'])).toContainEqual(
        expect.stringMatching(/\d+_sync_\d+/),
      )
    })
    expect(Object.keys(await readLags(source))).toEqual(['copies'])
    await writer.query('commit')
    await eventually(async () => expect(await readLags(source)).toEqual({ copies: 0 }))
  })

  it('A consumer with a temporary slot ends', async () => {
    const table = await publish()
    const metrics = poll([createSource(primary)])
    const consumer = await WalReceiver.start(primary, {
      applicationName: 'nightly-export',
      slot: 'export_slot',
      temporary: true,
      publication: table,
    })
    await eventually(() => expect(metrics.find('nightly-export')?.connected).toBe(true))
    await consumer.stop()
    await eventually(() => expect(metrics.names()).toEqual([]))
  })
})
