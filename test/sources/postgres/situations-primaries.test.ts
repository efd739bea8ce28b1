import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { appendFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { poll, recordLog } from '../../support/postgres-monitor.js'
import {
  createPool,
  createSource,
  major,
  openLink,
  read,
  readFollowers,
  readLags,
  startCluster,
  untilLags,
  write,
  type PostgresNode,
} from '../../support/postgres.js'

// docs/sources/postgres.md begins with a table of these situations, under the same names.

const { cluster, primary } = await startCluster()
const CAUGHT_UP = { connected: true, lagSeqno: 0 }

/** Makes a server a standby of another after its next start. */
async function demote(node: PostgresNode, { to, slot }: { to: PostgresNode; slot?: string }) {
  const folder = join(cluster.folder, node.name)
  const conninfo = `host=127.0.0.1 port=${to.port} user=postgres application_name=${node.name}`
  const named = slot === undefined ? '' : `primary_slot_name = '${slot}'\n`
  const conf = `primary_conninfo = '${conninfo}'\n${named}`
  if (major < 12) {
    const recovery = `standby_mode = on\nrecovery_target_timeline = latest\n${conf}`
    await writeFile(join(folder, 'recovery.conf'), recovery)
  } else {
    await writeFile(join(folder, 'standby.signal'), '')
    await appendFile(join(folder, 'postgresql.conf'), conf)
  }
}

describe('the primary', () => {
  it('The primary restarts', async () => {
    const node = await cluster.startPrimary({ name: 'restarting' })
    await cluster.startStandby({ name: 'loyal', of: node })
    const source = createSource(node)
    const before = (await read(source)).shards[0]
    await node.stop()
    await expect(read(source)).rejects.toThrow(
      /PostgreSQL at 127\.0\.0\.1:\d+, role postgres: .*ECONNREFUSED/,
    )
    await node.start()
    await write(node)
    await untilLags(source, { loyal: 0 })
    expect((await read(source)).shards[0]?.epoch).toBe(before?.epoch)
  })

  it('The server hangs', async () => {
    const node = await cluster.startPrimary({ name: 'hanging' })
    await cluster.startStandby({ name: 'patient', of: node })
    const pool = createPool(node, { max: 2 })
    const log = recordLog()
    const metrics = poll([postgresSource({ client: pool, shard: 'pg' })], {
      pollTimeoutMillis: 200,
    })
    await metrics.until('patient', { lagSeqno: 0 })
    await node.freeze()
    await eventually(() => expect(log.matching('error', 'postgres:pg')).toHaveLength(1))
    await eventually(() => expect(pool.waitingCount + pool.totalCount).toBeLessThanOrEqual(2))
    await node.thaw()
    await eventually(() => expect(log.matching('info', 'postgres:pg')).toHaveLength(1))
    expect(metrics.find('patient')).toMatchObject({ lagSeqno: 0 })
  })

  it('A privilege is missing', async () => {
    await cluster.startStandby({ name: 'hidden', of: primary })
    await primary.query('create role "Plain ""one""" login')
    const source = createSource(primary, {}, { user: 'Plain "one"' })
    await expect(read(source)).rejects.toThrow(
      `PostgreSQL at 127.0.0.1:${primary.port}, role Plain "one": the role "Plain ""one""" may not see ` +
        'the positions of followers: GRANT pg_monitor TO "Plain ""one"""',
    )
    await primary.query('grant pg_monitor to "Plain ""one"""')
    await untilLags(source, { hidden: 0 })
  })

  it('A failover happens behind one address', async () => {
    const old = await cluster.startPrimary({ name: 'old' })
    const promoted = await cluster.startStandby({ name: 'promoted', of: old })
    await cluster.startStandby({ name: 'follower', of: promoted })
    const pools = [createPool(old), createPool(promoted)] as const
    let address: 0 | 1 = 0
    const client = { totalCount: 0, connect: () => pools[address].connect() }
    const metrics = poll([postgresSource({ client, shard: 'pg' })])
    await metrics.untilNames(['promoted'])
    await promoted.promote()
    address = 1
    await old.stop()
    const untilCaughtUp = () =>
      eventually(() => {
        const { connected, lagSeqno = 0, lagSeconds = 0 } = metrics.find('follower') ?? {}
        // No sample compares the follower with the other history.
        expect.soft(lagSeqno).toBeLessThan(2_000_000)
        expect.soft(lagSeconds).toBeLessThan(10)
        expect(metrics.names()).toEqual(['follower'])
        expect({ connected, lagSeqno }).toEqual(CAUGHT_UP)
      })
    await untilCaughtUp()
    await write(promoted)
    await untilCaughtUp()
  })

  it('An address leads to another primary while the old one lives', async () => {
    const old = await cluster.startPrimary({ name: 'cut-off' })
    const next = await cluster.startStandby({ name: 'next', of: old, slot: 'next' })
    const address = await openLink(old)
    const pool = createPool(old, { port: address.port })
    const metrics = poll([postgresSource({ client: pool, shard: 'pg' })])
    await metrics.until('next', { connected: true })
    await next.promote()
    address.redirect(next.port)
    await cluster.startStandby({ name: 'loyal-to-next', of: next })
    await write(next)
    await metrics.untilNames(['loyal-to-next'])
    await metrics.until('loyal-to-next', CAUGHT_UP)
    expect(old.pid).toBeDefined()
  })

  it('A failover makes a follower of `expect` the primary', async () => {
    const first = await cluster.startPrimary({ name: 'first' })
    const named = (name: string) => ({ name, of: first, conf: { cluster_name: name } })
    const heir = await cluster.startStandby({ ...named('heir'), slot: 'heir' })
    const sibling = await cluster.startStandby(named('sibling'))
    const expected = ['heir', 'sibling', 'never']
    const address = await openLink(first)
    const source = createSource(first, { expect: expected }, { port: address.port })
    const names = async () => {
      const followers = Object.entries(await readFollowers(source))
      return Object.fromEntries(followers.map(([name, { connected }]) => [name, connected]))
    }
    await eventually(async () =>
      expect(await names()).toEqual({ heir: true, sibling: true, never: false }),
    )
    await first.stop()
    await heir.promote()
    address.moveTo(heir.port)
    expect(await names()).toEqual({ sibling: false, never: false })
    await demote(sibling, { to: heir })
    await sibling.restart()
    await eventually(async () => expect(await names()).toEqual({ sibling: true, never: false }))
  })

  it('A switchover happens between nodes with a source each', async () => {
    const n1 = await cluster.startPrimary({ name: 'n1' })
    const n2 = await cluster.startStandby({ name: 'n2', of: n1, slot: 'n2' })
    const n3 = await cluster.startStandby({ name: 'n3', of: n1, slot: 'n3' })
    for (const slot of ['n1', 'n3']) {
      await n2.query('select pg_create_physical_replication_slot($1, true)', [slot])
    }
    const metrics = poll(
      [n1, n2, n3].map((node) => createSource(node, { name: node.name, shard: 'pg' })),
    )
    const untilCaughtUp = async (names: string[]) => {
      await metrics.untilNames(names)
      for (const name of names) await metrics.until(name, CAUGHT_UP)
    }
    await untilCaughtUp(['n2', 'n3'])
    await n1.stop()
    await n2.promote()
    await demote(n1, { to: n2, slot: 'n1' })
    await demote(n3, { to: n2, slot: 'n3' })
    await Promise.all([n1.start(), n3.restart()])
    await write(n2)
    await untilCaughtUp(['n1', 'n3'])
    // The demoted node still has the slots of its time as the primary.
    const slots = await n1.query('select slot_name from pg_replication_slots order by 1')
    expect(slots).toEqual([{ slot_name: 'n2' }, { slot_name: 'n3' }])
    expect(await readLags(createSource(n1))).toStrictEqual({})
  })

  it('An address reaches any node', async () => {
    const standby = await cluster.startStandby({ name: 'other', of: primary })
    const pools = [createPool(primary), createPool(standby)] as const
    let reads = 0
    const client = { totalCount: 0, connect: () => (pools[reads++ % 2] ?? pools[0]).connect() }
    const log = recordLog()
    const source = postgresSource({ client, shard: 'pg' })
    for (let number = 0; number < 6; number++) await read(source)
    expect(log.messages).toEqual([
      expect.stringContaining(
        'source "postgres:pg": its address reaches different servers in turn',
      ),
    ])
  })
})
