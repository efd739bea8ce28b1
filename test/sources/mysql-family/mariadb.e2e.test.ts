import { createPool } from 'mysql2/promise'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { expect, it, onTestFinished } from 'vitest'
import { galera, mariadb, startGalera } from '../../servers/mariadb.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled, useStarted } from '../contract.js'
import { seen, startForTest, untilSeen, useFamily } from './scenarios.js'
import { read } from '../shared/systems.js'

const CLIENTS = ['mysql2', 'mariadb']

await describeInstalled(mariadb, () => {
  const started = useFamily(mariadb)

  it('reports a follower that writes no binary log of its own', async () => {
    const { system } = started()
    const replica = system.member('replica-1')
    const source = await started().connect()
    await replica.kill()
    await replica.start(['--skip-log-slave-updates'])
    await system.write(4)
    await untilSeen(source, 'replica-1', { lag: 0 })
    await replica.kill()
    await replica.start()
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it.each(CLIENTS)('is exact with sequence numbers over 2^53, with %s', async (client) => {
    const { system } = started()
    const source = await started().connect({ client })
    const first = client === 'mysql2' ? 2n ** 53n : 2n ** 62n
    await system.leader.query(`set session gtid_seq_no = ${first + 1n}`)
    await system.cut('replica-1')
    await system.write(2)
    const { shards } = await read(source)
    expect(shards[0]).toMatchObject({ shard: 'orders', leaderSeqno: first + 2n })
    await system.mend('replica-1')
    await untilSeen(source, 'replica-1', { lag: 0 })
    await system.cut('replica-1')
    await system.write(1)
    await untilSeen(source, 'replica-1', { lag: 1, receiveLag: 1 })
    await system.mend('replica-1')
  })
})

await describeInstalled(mariadb, () => {
  it('reports each domain as a shard of its own, and calls no follower disconnected when that changes', async () => {
    const started = await startForTest(mariadb)
    const { system } = started
    const source = await started.connect()
    const producer = new ReplicationLagMetricProducer({
      sources: [await started.connect()],
      pollIntervalMillis: 50,
    })
    onTestFinished(() => producer.shutdown())
    const states = () => producer.gauge.collectMetrics()
    await eventually(() => expect(states()).toHaveLength(2))
    await system.cut('replica-1')
    await system.leader.run([
      'set session gtid_domain_id = 7',
      'insert into app.t values (null)',
      'insert into app.t values (null)',
      'set session gtid_domain_id = 0',
    ])
    await untilSeen(source, 'replica-2', { lag: 0 }, 'orders/7')
    await eventually(() => {
      const shards = new Set(states().map(({ shard }) => shard))
      expect(shards).toEqual(new Set(['orders/0', 'orders/7']))
    })
    expect(states().filter(({ connected }) => !connected)).toEqual([])
    // It has nothing of the new domain yet.
    expect(await seen(source, 'replica-1', 'orders/7')).toMatchObject({ lag: undefined })
    expect(await seen(source, 'replica-1', 'orders/0')).toMatchObject({ lag: 0 })
    await system.mend('replica-1')
    await untilSeen(source, 'replica-1', { lag: 0 }, 'orders/7')
    await system
      .member('replica-2')
      .run(['stop slave', 'change master to ignore_domain_ids = (7)', 'start slave'])
    const { shards } = await read(source)
    expect(shards.map(({ shard, followers }) => [shard, followers.length])).toEqual([
      ['orders/0', 2],
      ['orders/7', 1],
    ])
  })

  it('reports a follower that was written to as diverged, and not as caught up', async () => {
    const started = await startForTest(mariadb)
    const { system } = started
    const replica = system.member('replica-2')
    const source = await started.connect()
    await untilSeen(source, 'replica-2', { lag: 0 })
    await replica.query('insert into app.t values (null)')
    const problem = expect.stringMatching(
      /^it has diverged: it has 0-3-\d+, which its leader does not have$/,
    ) as string
    const diverged = { diverged: true, lag: undefined, problem }
    await untilSeen(source, 'replica-2', diverged)
    // The leader gives the same sequence number to another transaction, and then further ones.
    for (const count of [1, 2]) {
      await system.write(count)
      await untilSeen(source, 'replica-1', { lag: 0 })
      await untilSeen(source, 'replica-2', diverged)
    }
  })

  it('counts what a former leader has written itself, until it applies something', async () => {
    const started = await startForTest(mariadb)
    const { system } = started
    const [former, next] = [system.leader, system.member('replica-1')]
    await untilSeen(await started.connect(), 'replica-1', { lag: 0 })
    await next.run(['stop slave', 'reset slave all'])
    await former.run([
      `change master to master_host = '127.0.0.1', master_port = ${next.port}, master_user = 'replicator',
        master_password = 'replicator', master_use_gtid = current_pos`,
      'start slave',
    ])
    await system.member('replica-2').kill()
    system.leader = next
    const source = await started.connect()
    await untilSeen(source, 'leader', { lag: 0 })
    await system.write(5)
    await untilSeen(source, 'leader', { lag: 0 })
  })

  it('reports no lag against a leader whose binary log was reset', async () => {
    const started = await startForTest(mariadb)
    const { leader } = started.system
    const source = await started.connect()
    await untilSeen(source, 'replica-1', { lag: 0 })
    await leader.query('reset master')
    const problem = expect.stringMatching(/which its leader wrote and no longer has/) as string
    const lost = { diverged: true, lag: undefined, problem }
    await untilSeen(source, 'replica-1', lost)
    expect((await read(source)).shards).toMatchObject([{ leaderSeqno: 0n, epoch: '0.1' }])
    await leader.query('insert into app.t values (null)')
    await untilSeen(source, 'replica-1', lost)
    expect((await read(source)).shards).toMatchObject([{ leaderSeqno: 1n, epoch: '0.1' }])
  })
})

await describeInstalled(galera, () => {
  const ports = useStarted(startGalera)

  it('has no leader, and a warning says what to do', async () => {
    const nodes = Object.fromEntries(
      ports().map((port, index) => {
        const pool = createPool({ host: '127.0.0.1', port, user: 'root' })
        onTestFinished(() => pool.end())
        return [`node-${index + 1}`, pool]
      }),
    )
    const { shards } = await read(mariadbSource({ nodes, shard: 'orders' }))
    expect(shards).toEqual([
      {
        shard: 'orders',
        problem: expect.stringMatching(
          /^node-1 and node-2 are nodes of a Galera cluster, which has no leader: list one of them/,
        ) as string,
        followers: [
          { replica: 'node-1', connected: false },
          { replica: 'node-2', connected: false },
        ],
      },
    ])
  })
})
