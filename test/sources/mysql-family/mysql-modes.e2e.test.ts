import { createConnection, createPool } from 'mysql2/promise'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { expect, it, onTestFinished } from 'vitest'
import { mysql } from '../../servers/mysql.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'
import { read, seen, sourceFor, startForTest, untilSeen, useFamily } from './scenarios.js'

await describeInstalled(mysql, () => {
  const started = useFamily(mysql)

  /** Opens a connection of its own to a server, which ends with the test. */
  async function connect({ port }: { port: number }) {
    const connection = await createConnection({ host: '127.0.0.1', port, user: 'root' })
    onTestFinished(() => connection.destroy())
    return connection
  }

  /** A client of the monitoring user, which ends with the test. */
  function client({ port }: { port: number }) {
    const pool = createPool({ host: '127.0.0.1', port, user: 'monitor', password: 'monitor' })
    onTestFinished(() => pool.end())
    return pool
  }

  it('has no warning while a semi-synchronous leader waits for another replica', async () => {
    const { system } = started()
    const { leader } = system
    const [first, second] = ['replica-1', 'replica-2'].map((name) => system.member(name))
    if (!first || !second) throw new Error('expected two followers')
    await leader.run([
      "install plugin rpl_semi_sync_source soname 'semisync_source.so'",
      'set global rpl_semi_sync_source_timeout = 3600000',
      'set global rpl_semi_sync_source_wait_for_replica_count = 2',
      'set global rpl_semi_sync_source_enabled = 1',
    ])
    for (const replica of [first, second]) {
      await replica.run([
        "install plugin rpl_semi_sync_replica soname 'semisync_replica.so'",
        'set global rpl_semi_sync_replica_enabled = 1',
        ...['stop replica', 'start replica'],
      ])
      await replica.untilReplicating()
    }
    await eventually(async () => {
      const [row] = await leader.query("show status like 'Rpl_semi_sync_source_clients'")
      expect(row).toMatchObject({ Value: '2' })
    })
    const source = await started().connect()
    await untilSeen(source, 'replica-1', { lag: 0 })
    await second.query('stop replica')
    const before = await system.position()
    const writers = await Promise.all([connect(leader), connect(leader), connect(leader)])
    const writing = writers.map((writer) => writer.query('insert into app.t values (null)'))
    await eventually(async () => expect(await system.position('replica-1')).toBe(before + 3n))
    // The leader still waits.
    expect(await system.position()).toBe(before)
    expect(seen(await read(source), 'replica-1')).toEqual({
      connected: true,
      diverged: undefined,
      problem: undefined,
      lag: 0,
      receiveLag: 0,
    })
    await second.query('start replica')
    await Promise.all(writing)
    await untilSeen(source, 'replica-1', { lag: 0 })
    await untilSeen(source, 'replica-2', { lag: 0 })
    await leader.query('set global rpl_semi_sync_source_enabled = 0')
  })

  it('counts the seconds from the first transaction that is missing, where workers apply out of order', async () => {
    const { system } = started()
    const replica = system.member('replica-1')
    await system.leader.run([
      'create table if not exists app.held (i int primary key, v int)',
      'replace into app.held values (1, 0)',
    ])
    await replica.run([
      'stop replica',
      'set global replica_preserve_commit_order = OFF',
      'set global replica_parallel_workers = 4',
      'start replica',
    ])
    await replica.untilReplicating()
    // Workers run side by side only after they have committed a first transaction.
    await system.write(1)
    await system.untilCaughtUp('replica-1')
    const source = await started().connect()
    const producer = new ReplicationLagMetricProducer({
      sources: [await started().connect()],
      pollIntervalMillis: 50,
    })
    onTestFinished(() => producer.shutdown())
    const shown = () => producer.gauge.collectMetrics().find((each) => each.replica === 'replica-1')
    await eventually(() => expect(shown()).toMatchObject({ lagSeqno: 0, lagSeconds: 0 }))
    const holder = await connect(replica)
    await holder.query('begin')
    await holder.query('select * from app.held where i = 1 for update')
    await system.leader.query('update app.held set v = 1 where i = 1')
    const heldAt = performance.now()
    await system.write(20)
    await eventually(async () => {
      const { shards } = await read(source)
      const [follower] = shards[0]?.followers ?? []
      const leader = BigInt(shards[0]?.leaderSeqno ?? 0)
      expect(follower).toMatchObject({ appliedSeqno: leader - 1n, appliedUpTo: leader - 21n })
    })
    // The oldest one that is missing gets older, although new ones are applied.
    await eventually(async () => {
      await system.write(1)
      expect(shown()).toMatchObject({ lagSeqno: 1 })
      expect(shown()?.lagSeconds).toBeGreaterThan(2)
    })
    expect(shown()?.lagSeconds).toBeLessThan((performance.now() - heldAt) / 1000 + 0.1)
    await holder.query('rollback')
    await eventually(() => expect(shown()).toMatchObject({ lagSeqno: 0, lagSeconds: 0 }))
  })

  it('names two nodes that reach the same server', async () => {
    const { system } = started()
    const servers = system.members.map((member) => [member.name, client(member)] as const)
    const nodes = { vip: client(system.leader), ...Object.fromEntries(servers) }
    const source = mysqlSource({ nodes, shard: 'orders' })
    await untilSeen(source, 'replica-1', { lag: 0 })
    const { shards } = await read(source)
    expect(shards[0]?.problem).toMatch(/^vip and leader reach the same server/)
    expect(shards[0]?.followers.map(({ replica }) => replica)).toEqual(['replica-1', 'replica-2'])
  })

  it('says which source to use for MySQL', async () => {
    const source = mariadbSource({ nodes: { a: client(started().system.leader) }, shard: 'orders' })
    await expect(read(source)).rejects.toThrow(/its version is 9\..*: use mysqlSource for MySQL/)
  })
})

await describeInstalled(mysql, () => {
  it('reports no position of a server that reads the storage of another one, as a reader of Aurora', async () => {
    const { system } = await startForTest(mysql)
    const reader = system.member('replica-2')
    await reader.run(['stop replica', 'reset replica all'])
    await reader.query('shutdown').catch(() => undefined)
    await reader.server?.ended
    await reader.start(['--innodb-read-only', '--skip-log-bin'])
    const source = await sourceFor(system)
    const problem = expect.stringMatching(/^it reads the storage of its leader/) as string
    await untilSeen(source, 'replica-2', { connected: undefined, diverged: true, problem })
    await untilSeen(source, 'replica-1', { lag: 0 })
    expect((await read(source)).shards[0]).not.toHaveProperty('problem')
  })
})
