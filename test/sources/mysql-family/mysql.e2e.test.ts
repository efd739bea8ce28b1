import { createConnection } from 'mysql2/promise'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { expect, it, onTestFinished } from 'vitest'
import { mysql, startGroup } from '../../servers/mysql.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled, useStarted } from '../contract.js'
import {
  describeSituations,
  seen,
  sourceFor,
  startForTest,
  untilSeen,
  useFamily,
} from './scenarios.js'
import { read } from '../shared/systems.js'

await describeSituations(mysql, {
  replica: 'replica',
  source: 'replication source to source',
  notReceiving: 'its receiver is OFF, last error 0',
  connecting: /^its receiver is CONNECTING/,
  notApplying: undefined,
  connections: "performance_schema.threads where processlist_user = 'monitor'",
  addOther: `change replication source to source_host = '127.0.0.1', source_port = 1, source_user = 'nobody',
    source_auto_position = 1 for channel 'other'`,
  link: (name: string) => `for channel '${name}'`,
  removeOther: "reset replica all for channel 'other'",
  writtenTo: /^it has transactions that its leader does not have, of [0-9a-f-]{36}: compare/,
  reset: 'reset binary logs and gtids',
  lost: /^it has transactions of its leader that the leader itself no longer has/,
  epochs: ['0', '1'],
})

await describeInstalled(mysql, () => {
  const started = useFamily(mysql)

  /** Opens a connection of its own to a server, which ends with the test. */
  async function connect({ port }: { port: number }) {
    const connection = await createConnection({ host: '127.0.0.1', port, user: 'root' })
    onTestFinished(() => connection.destroy())
    return connection
  }

  it('has no warning while a semi-synchronous leader waits for another replica', async () => {
    const { system } = started()
    const { leader } = system
    const second = system.member('replica-2')
    await leader.run([
      "install plugin rpl_semi_sync_source soname 'semisync_source.so'",
      'set global rpl_semi_sync_source_timeout = 3600000',
      'set global rpl_semi_sync_source_wait_for_replica_count = 2',
      'set global rpl_semi_sync_source_enabled = 1',
    ])
    for (const replica of system.replicas) {
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
    const normal = { connected: true, diverged: undefined, problem: undefined }
    expect(await seen(source, 'replica-1')).toEqual({ ...normal, lag: 0, receiveLag: 0 })
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
    await untilSeen(source, 'replica-2', { diverged: true, problem })
    await untilSeen(source, 'replica-1', { lag: 0 })
    expect((await read(source)).shards[0]).not.toHaveProperty('problem')
  })
})

await describeInstalled(mysql, () => {
  const group = useStarted(startGroup)

  it('reports how far the secondaries of a group are behind its primary', async () => {
    const system = group()
    const source = await sourceFor(system)
    await untilSeen(source, 'member-2', { lag: 0, receiveLag: 0 })
    await untilSeen(source, 'member-3', { lag: 0, receiveLag: 0 })
    const secondary = system.member('member-2')
    await secondary.query('flush tables with read lock')
    await system.write(5)
    await untilSeen(source, 'member-2', { lag: 5, receiveLag: 0 })
    await untilSeen(source, 'member-3', { lag: 0, receiveLag: 0 })
    await secondary.query('unlock tables')
    await untilSeen(source, 'member-2', { lag: 0 })
  })

  it('reports a member that has left its group as disconnected', async () => {
    const system = group()
    const source = await sourceFor(system)
    const secondary = system.member('member-3')
    await secondary.query('stop group_replication')
    await system.write(3)
    const problem = 'it is not an active member of its group'
    await untilSeen(source, 'member-3', { connected: false, lag: 3, problem })
    await untilSeen(source, 'member-2', { lag: 0 })
    await secondary.query('start group_replication')
    await untilSeen(source, 'member-3', { lag: 0 })
    // It cannot apply this. Its channel stays on.
    await secondary.run([
      "set global group_replication_exit_state_action = 'READ_ONLY'",
      ...['set global super_read_only = OFF', 'set sql_log_bin = 0'],
      'insert into app.t values (-7)',
    ])
    await system.leader.query('insert into app.t values (-7)')
    await untilSeen(source, 'member-3', { connected: false, lag: 1, problem })
    await secondary.run([
      ...['stop group_replication', 'set global super_read_only = OFF'],
      ...['delete from app.t where i = -7', 'set sql_log_bin = 1', 'start group_replication'],
    ])
    await untilSeen(source, 'member-3', { lag: 0 })
  })

  it('has no leader in a primary that has lost contact with most others', async () => {
    const system = group()
    const source = await sourceFor(system)
    const others = ['member-2', 'member-3']
    const resume = async () => {
      for (const name of others) await system.resume(name)
    }
    onTestFinished(resume)
    for (const name of others) await system.pause(name)
    await untilSeen(source, 'member-2', { connected: false, problem: expect.anything() as string })
    await eventually(() =>
      expect(read(source)).rejects.toThrow(/no node that answers leads, and member-2 and member-3/),
    )
    await resume()
    for (const name of others) await untilSeen(source, name, { lag: 0 })
  })

  it('counts the seconds of a member rightly after its primary has changed and changed back', async () => {
    const system = group()
    const source = await sourceFor(system)
    const [first, second] = [system.member('member-1'), system.member('member-2')]
    for (const next of [second, first]) {
      const [row] = await next.query('select @@server_uuid as uuid')
      // A member that was expelled while it was paused has to rejoin first.
      await eventually(() =>
        next.query(`select group_replication_set_as_primary('${String(row?.['uuid'])}')`),
      )
      system.leader = next
      await system.write(5)
    }
    await untilSeen(source, 'member-3', { lag: 0 })
    // Numbers of the first primary come before those of the second one, although they are newer.
    await system.member('member-3').query('flush tables with read lock')
    await system.write(2)
    await untilSeen(source, 'member-3', { lag: 2 })
    const [follower] = (await read(source)).shards[0]?.followers.slice(-1) ?? []
    expect(follower).toMatchObject({ replica: 'member-3' })
    expect(follower).not.toHaveProperty('appliedUpTo')
    await system.member('member-3').query('unlock tables')
    await untilSeen(source, 'member-3', { lag: 0 })
  })

  it('finds the primary that is elected when the last one is killed', async () => {
    const system = group()
    const source = await sourceFor(system)
    await untilSeen(source, 'member-3', { lag: 0 })
    await system.leader.kill()
    await expect(read(source)).rejects.toThrow(/^MySQL leader member-1 at /)
    await eventually(async () => {
      const { shards } = await read(source)
      expect(shards[0]?.followers).toHaveLength(2)
    })
    const { shards } = await read(source)
    const names = shards[0]?.followers.map(({ replica }) => String(replica)) ?? []
    const [secondary = ''] = names.filter((name) => name !== 'member-1')
    system.leader = system.member(secondary === 'member-2' ? 'member-3' : 'member-2')
    await system.write(2)
    await untilSeen(source, secondary, { lag: 0 })
    expect(await seen(source, 'member-1')).toMatchObject({ connected: false })
    expect((await read(source)).shards).toMatchObject([
      { leaderSeqno: await system.position(), epoch: '0' },
    ])
  })
})
