import { createPool } from 'mysql2/promise'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { expect, it, onTestFinished } from 'vitest'
import { galera, mariadb, startGalera } from '../../servers/mariadb.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled, useStarted } from '../contract.js'
import { describeSituations, seen, startForTest, untilSeen } from './scenarios.js'
import { read } from '../shared/systems.js'

await describeSituations(mariadb, {
  replica: 'slave',
  source: 'master to master',
  notReceiving: 'its IO thread is not connected (No), last error 0',
  connecting: /^its IO thread is not connected/,
  notApplying: 'its SQL thread does not run, last error 0',
  connections: "information_schema.processlist where user = 'monitor'",
  addOther:
    "change master 'other' to master_host = '127.0.0.1', master_port = 1, master_user = 'nobody'",
  link: (name: string) => `'${name}'`,
  removeOther: "reset slave 'other' all",
  writtenTo: /^it has diverged: it has 0-2-\d+, which its leader does not have$/,
  reset: 'reset master',
  lost: /which its leader wrote and no longer has/,
  epochs: ['0.0', '0.1'],
})

await describeInstalled(mariadb, () => {
  it('knows whom a follower follows that was restarted while its link was cut, and needs no binary log of it', async () => {
    const started = await startForTest(mariadb)
    const { system } = started
    const replica = system.member('replica-1')
    const source = await started.connect()
    // A chain. Its second server forgets the id of the first one.
    await system.member('replica-2').follow(replica)
    await untilSeen(source, 'replica-2', { lag: 0 })
    await system.cut('replica-1')
    await replica.kill()
    await replica.start()
    const problem = expect.stringMatching(/^its IO thread is not connected/) as string
    await untilSeen(source, 'replica-1', { connected: false, lag: 0, problem })
    await untilSeen(source, 'replica-2', { lag: 0 })
    expect((await read(source)).shards).toMatchObject([{ epoch: '0.0' }])
    await system.mend('replica-1')
    await replica.kill()
    await replica.start(['--skip-log-slave-updates'])
    await system.write(4)
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it('reports each domain as a shard of its own, and calls no follower disconnected when that changes', async () => {
    const started = await startForTest(mariadb)
    const { system } = started
    const source = await started.connect()
    const sources = [await started.connect()]
    const producer = new ReplicationLagMetricProducer({ sources, pollIntervalMillis: 50 })
    onTestFinished(() => producer.shutdown())
    const states = () => producer.gauge.collectMetrics()
    await eventually(() => expect(states()).toHaveLength(2))
    await system.cut('replica-1')
    await system.leader.run([
      'set session gtid_domain_id = 7',
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
    expect(shards.map(({ followers }) => followers.length)).toEqual([2, 1])
  })
})

await describeInstalled(galera, () => {
  const ports = useStarted(startGalera)

  it('has no leader, and a warning says what to do', async () => {
    const pools = ports().map((port) => createPool({ host: '127.0.0.1', port, user: 'root' }))
    for (const pool of pools) onTestFinished(() => pool.end())
    const [a, b] = pools as [(typeof pools)[0], (typeof pools)[0]]
    const { shards } = await read(mariadbSource({ nodes: { a, b }, shard: 'orders' }))
    const problem = expect.stringMatching(
      /^a and b are nodes of a Galera cluster, which has no leader: list one of them/,
    ) as string
    const followers = ['a', 'b'].map((replica) => ({ replica, connected: false }))
    expect(shards).toEqual([{ shard: 'orders', problem, followers }])
  })
})
