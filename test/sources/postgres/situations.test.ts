import type { PostgresFollower } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { poll } from '../../support/postgres-monitor.js'
import { WalReceiver } from '../../support/postgres-wal-receiver.js'
import {
  BEHIND,
  connect,
  createSource,
  dropSlot,
  major,
  NEAR,
  read,
  readFollowers,
  readLags,
  startCluster,
  untilLags,
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
    await metrics.until('idle', caughtUp)
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
    await untilLags(source, { end: 0 })
  })

  it('A standby applies WAL with a delay', async () => {
    const conf = { recovery_min_apply_delay: '1h' }
    await cluster.startStandby({ name: 'delayed', of: primary, conf })
    const metrics = poll([createSource(primary)])
    await write(primary)
    await metrics.until('delayed', { connected: true, lagSeqno: BEHIND, receiveLagSeqno: 0 })
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
    const applicationName = 'pg_receivewal'
    const receiver = await WalReceiver.start(primary, { applicationName, slot: 'archive' })
    await write(primary)
    await untilLags(source, {})
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
    const archiveMore = async () => {
      await write(archiving)
      await archiving.query('select pg_switch_wal()')
    }
    await archiveMore()
    await restoring.start()
    const end = await cluster.startStandby({ name: 'end-of-archive', of: restoring })
    expect(await readLags(createSource(archiving))).toStrictEqual({})
    await end.pauseReplay()
    await archiveMore()
    await untilLags(createSource(restoring), { 'end-of-archive': BEHIND })
  })
})

describe('a consumer of changes', () => {
  let number = 0

  /** Creates a table and its publication, and a slot that is dropped when the test ends. */
  async function publish(slot?: string) {
    const table = `orders_${++number}`
    await primary.query(`create table ${table} (id int primary key)`)
    await primary.query(`create publication ${table} for table ${table}`)
    if (slot !== undefined) {
      await primary.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slot])
      onTestFinished(() => dropSlot(primary, slot))
    }
    return table
  }

  /** Lets a new server subscribe to a table. */
  async function subscribe(subscription: string, table: string, more = '') {
    onTestFinished(() => dropSlot(primary, subscription))
    const subscriber = await cluster.startPrimary({ name: `subscriber-${number}` })
    await subscriber.query(`create table ${table} (id int primary key)`)
    await subscriber.query(
      `create subscription ${subscription}
       connection 'host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres' publication ${table} ${more}`,
    )
    return subscriber
  }

  const heartbeat = "select pg_logical_emit_message(false, 'heartbeat', '')"
  // Older versions send every consumer the begin and the end of all transactions.
  const itFrom15 = major >= 15 ? it : it.skip

  it('A consumer of changes falls behind', async () => {
    const table = await publish()
    const subscriber = await subscribe('copy', table)
    const source = createSource(primary)
    await primary.query(`insert into ${table} select generate_series(1, 1000)`)
    await untilLags(source, { copy: 0 })
    await subscriber.query('alter subscription copy disable')
    // Its worker ends a moment later, and would still receive what is written before that.
    await eventually(async () =>
      expect((await readFollowers(source))['copy']?.connected).toBe(false),
    )
    await write(primary)
    await untilLags(source, { copy: BEHIND })
  })

  itFrom15('A logical consumer is idle', async () => {
    const publication = await publish('quiet')
    const source = createSource(primary)
    // Without messages, as Debezium and subscriptions do.
    const receiver = { applicationName: 'consumer', slot: 'quiet', publication, messages: false }
    await WalReceiver.start(primary, receiver)
    await primary.query(`insert into ${publication} values (1)`)
    await untilLags(source, { quiet: NEAR })
    await write(primary)
    const behind = { quiet: { connected: true, lag: BEHIND } }
    expect(await readFollowers(source)).toEqual(behind)
    await primary.query(heartbeat)
    await write(primary)
    expect(await readFollowers(source)).toEqual(behind)
    await eventually(async () => {
      await primary.query(`update ${publication} set id = id + 1`)
      expect(await readLags(source)).toEqual({ quiet: NEAR })
    })
  })

  itFrom15('A consumer of changes that takes messages has nothing to do', async () => {
    await primary.query('create database other template postgres')
    const other = await connect(primary, { database: 'other' })
    const publication = await publish('listening')
    const source = createSource(primary)
    const receiver = { applicationName: 'consumer', slot: 'listening', publication }
    await WalReceiver.start(primary, receiver)
    await primary.query(heartbeat)
    await untilLags(source, { listening: NEAR })
    await write(primary)
    // A message of another database does not reach it.
    await other.query(heartbeat)
    await primary.query(`select pg_sleep(0.3)`)
    expect(await readFollowers(source)).toEqual({ listening: { connected: true, lag: BEHIND } })
    await eventually(async () => {
      await primary.query(heartbeat)
      expect(await readLags(source)).toEqual({ listening: NEAR })
    })
  })

  it('A consumer of changes connects now and then', async () => {
    const publication = await publish('batches')
    const intermittent = ({ slotName }: PostgresFollower) => slotName === 'batches'
    const metrics = poll([createSource(primary, { intermittent })])
    const away = { connected: true, lagSeqno: BEHIND, retainedSeqno: BEHIND }
    await write(primary)
    await metrics.until('batches', away)
    const receiver = { applicationName: 'batch', slot: 'batches', publication }
    const batch = await WalReceiver.start(primary, receiver)
    await eventually(async () => {
      await primary.query(`insert into ${publication} select count(*) from ${publication}`)
      expect(metrics.find('batches')?.lagSeqno).toBeLessThan(10_000)
    })
    await batch.stop()
    await write(primary)
    await metrics.until('batches', away)
  })

  it('A consumer of changes confirms more than there is', async () => {
    const publication = await publish('hasty')
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
      const [follower] = (await read(source)).shards[0]?.followers ?? []
      expect(follower).toMatchObject({ replica: 'hasty', diverged: true })
      expect(follower?.problem).toContain('after the end of the WAL')
    })
  })

  it('A new subscription copies a table', async () => {
    const table = await publish()
    const subscriber = await subscribe('copies', table, 'with (enabled = false)')
    const source = createSource(primary)
    // A new slot waits for the transactions in progress, so the copy does not begin.
    const writer = await connect(primary)
    await writer.query('begin; select txid_current()')
    await subscriber.query('alter subscription copies enable')
    await eventually(async () => {
      const slots = await primary.query(
        "select from pg_replication_slots where slot_name ~ '[0-9]+_sync_[0-9]+'",
      )
      expect(slots).toHaveLength(1)
    })
    expect(Object.keys(await readLags(source))).toEqual(['copies'])
    await writer.query('commit')
    await untilLags(source, { copies: 0 })
  })

  it('A consumer with a temporary slot ends', async () => {
    const publication = await publish()
    const metrics = poll([createSource(primary)])
    const receiver = { applicationName: 'nightly-export', slot: 'export_slot', temporary: true }
    const consumer = await WalReceiver.start(primary, { ...receiver, publication })
    await metrics.until('nightly-export', { connected: true })
    await consumer.stop()
    await metrics.untilNames([])
  })
})
