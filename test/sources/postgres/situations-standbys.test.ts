import { execa } from 'execa'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { poll, recordLog } from '../../support/postgres-monitor.js'
import { WalReceiver } from '../../support/postgres-wal-receiver.js'
import {
  BEHIND,
  connect,
  createSource,
  dropSlot,
  major,
  openLink,
  read,
  readFollowers,
  readLags,
  startCluster,
  untilFollowers,
  untilLags,
  write,
  type PostgresNode,
} from '../../support/postgres.js'

// docs/sources/postgres.md begins with a table of these situations, under the same names.

const { cluster, primary } = await startCluster()
const CAUGHT_UP = { connected: true, lagSeqno: 0 }

describe('a standby', () => {
  it('Replay is paused', async () => {
    const standby = await cluster.startStandby({ name: 'paused', of: primary })
    const source = createSource(primary)
    await standby.pauseReplay()
    const appliedSeqno = await standby.position()
    await write(primary)
    await eventually(async () => {
      const { leaderSeqno: receivedSeqno = 0n, followers } = (await read(source)).shards[0] ?? {}
      expect(BigInt(receivedSeqno) - appliedSeqno).toBeGreaterThan(100_000n)
      expect(followers).toMatchObject([{ connected: true, appliedSeqno, receivedSeqno }])
    })
    await standby.resumeReplay()
    await untilLags(source, { paused: 0 })
  })

  it('The link is cut', async () => {
    const conf = { wal_sender_timeout: '1s' }
    const impatient = await cluster.startPrimary({ name: 'impatient', conf })
    const link = await openLink(impatient)
    await cluster.startStandby({ name: 'far', of: impatient, slot: 'far', port: link.port })
    const source = createSource(impatient)
    await untilLags(source, { far: 0 })
    link.close()
    await write(impatient)
    // The server takes the connection for a good one until wal_sender_timeout. The lag shows at once.
    expect(await readLags(source)).toEqual({ far: BEHIND })
    await untilFollowers(source, { far: { connected: false, lag: BEHIND } })
  })

  it('A standby with a slot stops', async () => {
    const standby = await cluster.startStandby({ name: 'stopped', of: primary, slot: 'stopped' })
    const metrics = poll([createSource(primary)])
    await metrics.until('stopped', CAUGHT_UP)
    await standby.kill()
    await write(primary)
    const behind = { connected: false, lagSeqno: BEHIND, retainedSeqno: BEHIND }
    await metrics.until('stopped', behind)
    await standby.start()
    await metrics.until('stopped', CAUGHT_UP)
  })

  it('A standby without a slot stops', async () => {
    const standby = await cluster.startStandby({ name: 'slotless', of: primary })
    const metrics = poll([createSource(primary)])
    await metrics.until('slotless', CAUGHT_UP)
    await standby.kill()
    await write(primary)
    await metrics.until('slotless', { connected: false, lagSeqno: BEHIND })
  })

  it('A standby is missing when the monitor starts', async () => {
    const standby = await cluster.startStandby({ name: 'expected', of: primary })
    const missing = { connected: false, lag: undefined }
    await untilFollowers(createSource(primary, { expect: ['expected', 'never'] }), {
      expected: { connected: true, lag: 0 },
      never: missing,
    })
    await standby.kill()
    await untilFollowers(createSource(primary, { expect: ['expected'] }), { expected: missing })
  })

  it('A standby is cloned again through its slot', async () => {
    const standby = await cluster.startStandby({ name: 'cloned', of: primary, slot: 'cloned' })
    const source = createSource(primary)
    const disconnected = { cloned: { connected: false, lag: BEHIND } }
    await untilLags(source, { cloned: 0 })
    await standby.kill()
    await write(primary)
    await untilFollowers(source, disconnected)
    const applicationName = 'pg_basebackup'
    const backup = await WalReceiver.start(primary, { applicationName, slot: 'cloned' })
    await write(primary)
    await eventually(async () => {
      const [sender] = await primary.query(
        'select write_lsn is not null as has_reported from pg_stat_replication',
      )
      expect(sender).toEqual({ has_reported: true })
    })
    expect(await readFollowers(source)).toEqual(disconnected)
    await backup.stop()
    expect(await readFollowers(source)).toEqual(disconnected)
    await standby.start()
    await untilFollowers(source, { cloned: { connected: true, lag: 0 } })
  })

  it('A standby reconnects before its old connection times out', async () => {
    const link = await openLink(primary)
    await cluster.startStandby({ name: 'back', of: primary, port: link.port })
    const source = createSource(primary)
    const senders = () => primary.query('select from pg_stat_replication')
    await untilLags(source, { back: 0 })
    link.dropClients()
    await write(primary)
    await eventually(async () => {
      expect(await senders()).toHaveLength(2)
      expect(await readLags(source)).toEqual({ back: 0 })
    })
    await primary.query(
      'select pg_terminate_backend(pid) from pg_stat_replication order by backend_start limit 1',
    )
    await eventually(async () => expect(await senders()).toHaveLength(1))
    expect(await readLags(source)).toEqual({ back: 0 })
    expect((await read(source)).shards[0]).not.toHaveProperty('removed')
  })

  it('The primary of an upstream standby is down when the standby restarts', async () => {
    const gone = await cluster.startPrimary({ name: 'gone' })
    const conf = { recovery_min_apply_delay: '1h' }
    const upstream = await cluster.startStandby({ name: 'upstream', of: gone, conf })
    const last = await cluster.startStandby({ name: 'last', of: upstream })
    // An upstream serves a follower that is ahead of it only within one segment.
    await gone.query('select pg_switch_wal()')
    await write(gone)
    await last.untilCaughtUpWith(gone)
    const known = createSource(upstream)
    await untilLags(known, { last: 0 })
    await gone.kill()
    await upstream.restart()
    await eventually(async () => {
      const senders = await upstream.query(
        'select replay_lsn is not null as known from pg_stat_replication',
      )
      expect(senders).toEqual([{ known: true }])
    })
    const [row] = await upstream.query(
      "select (pg_last_wal_replay_lsn() - '0/0')::text as replayed",
    )
    expect(BigInt(String(row?.['replayed']))).toBeLessThan(await last.position())
    for (const source of [known, createSource(upstream)]) {
      const [shard] = (await read(source)).shards
      expect(shard?.followers).toEqual([{ replica: 'last', connected: true }])
      expect(shard).not.toHaveProperty('leaderSeqno')
    }
  })
})

describe('a slot', () => {
  const itFrom13 = major >= 13 ? it : it.skip
  const small = { wal_keep_size: 0, max_wal_size: '4MB', min_wal_size: '2MB' }

  /** Writes WAL until the server says this of a slot. */
  async function writeUntil(node: PostgresNode, wal_status: string) {
    await eventually(async () => {
      await write(node)
      await node.query('select pg_switch_wal()')
      await node.query('checkpoint')
      const slots = await node.query('select wal_status from pg_replication_slots')
      expect(slots).toEqual([{ wal_status }])
    })
  }

  it('A slot is dropped', async () => {
    const standby = await cluster.startStandby({ name: 'retired', of: primary, slot: 'retired' })
    const metrics = poll([createSource(primary)])
    await metrics.untilNames(['retired'])
    await standby.stop()
    await metrics.until('retired', { connected: false })
    await dropSlot(primary, 'retired')
    await metrics.untilNames([])
  })

  itFrom13('A slot keeps much WAL', async () => {
    const node = await cluster.startPrimary({ name: 'filling', conf: small })
    await node.query("select pg_create_physical_replication_slot('forgotten', true)")
    const log = recordLog()
    const metrics = poll([createSource(node)])
    await writeUntil(node, 'extended')
    await eventually(() => {
      expect(metrics.find('forgotten')?.retainedSeqno).toBeGreaterThan(4_000_000)
      const problem = 'its slot forgotten keeps more WAL than max_wal_size'
      expect(log.matching('warn', problem)).toHaveLength(1)
    })
  })

  itFrom13('A slot is lost', async () => {
    const conf = { ...small, max_slot_wal_keep_size: '2MB' }
    const node = await cluster.startPrimary({ name: 'losing', conf })
    const standby = await cluster.startStandby({ name: 'lost', of: node, slot: 'lost' })
    const log = recordLog()
    const metrics = poll([createSource(node)])
    await metrics.until('lost', CAUGHT_UP)
    await standby.kill()
    await writeUntil(node, 'lost')
    await eventually(() => expect(log.matching('warn', 'its slot lost is lost')).toHaveLength(1))
    await metrics.until('lost', { connected: false })
    const before = metrics.find('lost')?.lagSeqno ?? 0
    expect(before).toBeGreaterThan(2_000_000)
    await write(node)
    await eventually(() => expect(metrics.find('lost')?.lagSeqno).toBeGreaterThan(before))
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
    const metrics = poll([source])
    await metrics.until('new', { connected: true, retainedSeqno: BEHIND })
    const { lag, problem } = (await readFollowers(source))['new'] ?? {}
    expect(lag).toBeUndefined()
    expect(problem).toContain('its slot new is being created')
    await writer.query('commit')
    await creating
    const lagAfter = expect.any(Number) as number
    await untilFollowers(source, { new: { connected: false, lag: lagAfter } })
  })
})

describe('a logical slot on a standby', () => {
  /** Polls a primary and a standby, as sources of one shard. */
  const pollBoth = (...nodes: PostgresNode[]) =>
    poll(nodes.map((node) => createSource(node, { name: node.name, shard: 'pg' })))
  const advance = "select pg_replication_slot_advance('cdc', pg_current_wal_lsn())"

  const itFrom17 = major >= 17 ? it : it.skip
  itFrom17('A former primary keeps its failover slots', async () => {
    const conf = { hot_standby_feedback: true }
    const former = await cluster.startPrimary({ name: 'former', conf })
    const current = await cluster.startStandby({ name: 'current', of: former, conf })
    const create =
      "select pg_create_logical_replication_slot('cdc', 'pgoutput', false, false, failover => true)"
    await former.query(create)
    await current.untilCaughtUpWith(former)
    await former.stop()
    await current.promote()
    await current.query(create)
    await cluster.follow(former, { of: current })
    await former.start()
    await former.untilStreaming()
    const metrics = pollBoth(current, former)
    for (let round = 0; round < 3; round++) {
      await write(current)
      await current.query(advance)
    }
    // The slot of the former primary has stayed far behind.
    await eventually(() => {
      expect(metrics.find('former')?.lagSeqno).toBe(0)
      expect(metrics.find('cdc')?.lagSeqno).toBeLessThan(10_000)
    })
    expect(await readLags(createSource(former))).toStrictEqual({})
    await current.query("select pg_drop_replication_slot('cdc')")
    await metrics.untilNames(['former'])
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
    const metrics = pollBoth(primary, standby)
    await write(primary)
    await primary.query(advance)
    await eventually(() => expect(metrics.find('cdc')?.lagSeqno).toBeLessThan(10_000))
    expect(await readLags(createSource(standby))).toStrictEqual({})
  })
})
