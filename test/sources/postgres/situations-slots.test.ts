import { execa } from 'execa'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { poll, recordLog } from '../../support/postgres-monitor.js'
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
  type PostgresNode,
} from '../../support/postgres.js'

// docs/sources/postgres.md begins with a table of these situations, under the same names.

const { cluster, primary } = await startCluster()

describe('a slot', () => {
  const itFrom13 = major >= 13 ? it : it.skip
  const small = { wal_keep_size: 0, max_wal_size: '4MB', min_wal_size: '2MB' }

  /** Writes WAL until the server says this of a slot. */
  async function writeUntil(node: PostgresNode, status: string) {
    await eventually(async () => {
      await write(node)
      await node.query('select pg_switch_wal()')
      await node.query('checkpoint')
      expect(await node.query('select wal_status from pg_replication_slots')).toEqual([
        { wal_status: status },
      ])
    })
  }

  it('A slot is dropped', async () => {
    const standby = await cluster.startStandby({ name: 'retired', of: primary, slot: 'retired' })
    const metrics = poll([createSource(primary)])
    await eventually(() => expect(metrics.names()).toEqual(['retired']))
    await standby.stop()
    await eventually(() => expect(metrics.find('retired')?.connected).toBe(false))
    await dropSlot(primary, 'retired')
    await eventually(() => expect(metrics.names()).toEqual([]))
  })

  itFrom13('A slot keeps much WAL', async () => {
    const node = await cluster.startPrimary({ name: 'filling', conf: small })
    await node.query("select pg_create_physical_replication_slot('forgotten', true)")
    const log = recordLog()
    const metrics = poll([createSource(node)])
    await writeUntil(node, 'extended')
    await eventually(() => {
      expect(metrics.find('forgotten')?.retainedSeqno).toBeGreaterThan(4_000_000)
      expect(
        log.matching('warn', 'its slot forgotten keeps more WAL than max_wal_size'),
      ).toHaveLength(1)
    })
  })

  itFrom13('A slot is lost', async () => {
    const conf = { ...small, max_slot_wal_keep_size: '2MB' }
    const node = await cluster.startPrimary({ name: 'losing', conf })
    const standby = await cluster.startStandby({ name: 'lost', of: node, slot: 'lost' })
    const log = recordLog()
    const metrics = poll([createSource(node)])
    await eventually(() =>
      expect(metrics.find('lost')).toMatchObject({ connected: true, lagSeqno: 0 }),
    )
    await standby.kill()
    await writeUntil(node, 'lost')
    await eventually(() => expect(log.matching('warn', 'its slot lost is lost')).toHaveLength(1))
    await eventually(() => expect(metrics.find('lost')?.connected).toBe(false))
    const before = metrics.find('lost')
    expect(before?.lagSeqno).toBeGreaterThan(2_000_000)
    await write(node)
    await eventually(() =>
      expect(metrics.find('lost')?.lagSeqno).toBeGreaterThan(before?.lagSeqno ?? 0),
    )
    expect(log.matching('warn', 'its slot lost is lost')).toHaveLength(1)
    expect(metrics.find('lost')?.retainedSeqno).toBeUndefined()
  })

  it('A slot is being created', async () => {
    const writer = await connect(primary)
    await writer.query('begin; select txid_current()')
    const creator = await connect(primary)
    const creating = creator.query("select pg_create_logical_replication_slot('new', 'pgoutput')")
    onTestFinished(() => dropSlot(primary, 'new'))
    const source = createSource(primary)
    await eventually(async () => expect(Object.keys(await readLags(source))).toEqual(['new']))
    await write(primary)
    const [shard] = (await read(source)).shards
    const [follower] = shard?.followers ?? []
    expect(follower).toMatchObject({
      connected: true,
      problem: expect.stringContaining('its slot new is being created') as string,
    })
    expect(follower).not.toHaveProperty('appliedSeqno')
    const kept = BigInt(shard?.leaderSeqno ?? 0) - BigInt(follower?.retainedSeqno ?? 0)
    expect(kept).toBeGreaterThan(100_000n)
    await writer.query('commit')
    await creating
    await eventually(async () =>
      expect(await readFollowers(source)).toEqual({
        new: { connected: false, lag: expect.any(Number) as number },
      }),
    )
  })
})

describe('a logical slot on a standby', () => {
  const itFrom17 = major >= 17 ? it : it.skip
  itFrom17('A former primary keeps its failover slots', async () => {
    const conf = { hot_standby_feedback: true }
    const former = await cluster.startPrimary({ name: 'former', conf })
    const current = await cluster.startStandby({ name: 'current', of: former, conf })
    const create = (node: PostgresNode) =>
      node.query(
        "select pg_create_logical_replication_slot('cdc', 'pgoutput', false, false, failover => true)",
      )
    await create(former)
    await current.untilCaughtUpWith(former)
    await former.stop()
    await current.promote()
    await create(current)
    await cluster.follow(former, { of: current })
    await former.start()
    await former.untilStreaming()
    const metrics = poll(
      [current, former].map((node) => createSource(node, { name: node.name, shard: 'pg' })),
    )
    for (let round = 0; round < 3; round++) {
      await write(current)
      await current.query("select pg_replication_slot_advance('cdc', pg_current_wal_lsn())")
    }
    // The slot of the former primary has stayed far behind.
    await eventually(() => {
      expect(metrics.find('former')?.lagSeqno).toBe(0)
      expect(metrics.find('cdc')?.lagSeqno).toBeLessThan(10_000)
    })
    expect(await readLags(createSource(former))).toStrictEqual({})
    await current.query("select pg_drop_replication_slot('cdc')")
    await eventually(() => expect(metrics.names()).toEqual(['former']))
  })

  const itUpTo15 = major >= 11 && major <= 15 ? it : it.skip
  itUpTo15('Patroni copies slots to a standby', async () => {
    await primary.query("select pg_create_logical_replication_slot('cdc', 'pgoutput')")
    onTestFinished(() => dropSlot(primary, 'cdc'))
    const standby = await cluster.startStandby({ name: 'copying', of: primary, slot: 'copying' })
    await primary.query('checkpoint')
    await standby.stop()
    const folder = (node: PostgresNode) => join(cluster.folder, node.name, 'pg_replslot/cdc')
    await execa('cp', ['-Rp', folder(primary), folder(standby)])
    await standby.start()
    await standby.untilStreaming()
    const slots = await standby.query('select slot_name, active from pg_replication_slots')
    expect(slots).toEqual([{ slot_name: 'cdc', active: false }])
    const metrics = poll(
      [primary, standby].map((node) => createSource(node, { name: node.name, shard: 'pg' })),
    )
    await write(primary)
    await primary.query("select pg_replication_slot_advance('cdc', pg_current_wal_lsn())")
    await eventually(() => expect(metrics.find('cdc')?.lagSeqno).toBeLessThan(10_000))
    expect(await readLags(createSource(standby))).toStrictEqual({})
  })
})
