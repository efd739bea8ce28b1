import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { expect, it, onTestFinished } from 'vitest'
import { mariadb } from '../../servers/mariadb.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'
import { read, seen, startForTest, untilSeen, useFamily } from './scenarios.js'

const CLIENTS = ['mysql2', 'mariadb']

await describeInstalled(mariadb, () => {
  const started = useFamily(mariadb)

  it.each(CLIENTS)('tells what was received from what was applied, with %s', async (client) => {
    const { system } = started()
    const replica = system.member('replica-1')
    const source = await started().connect({ client })
    await replica.query('stop slave sql_thread')
    await system.write(100)
    const problem = 'its SQL thread does not run, last error 0'
    await untilSeen(source, 'replica-1', { lag: 100, receiveLag: 0, problem })
    await untilSeen(source, 'replica-2', { lag: 0, receiveLag: 0 })
    await replica.query('start slave sql_thread')
    await untilSeen(source, 'replica-1', { lag: 0, receiveLag: 0 })
  })

  it('reports a follower that does not receive as disconnected, with its lag', async () => {
    const { system } = started()
    const replica = system.member('replica-1')
    const source = await started().connect()
    await replica.query('stop slave io_thread')
    await system.write(10)
    const problem = 'its IO thread is not connected (No), last error 0'
    await untilSeen(source, 'replica-1', { connected: false, lag: 10, receiveLag: 10, problem })
    await replica.query('start slave io_thread')
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it('reports the lag of a follower with a delay, which has received everything', async () => {
    const { system } = started()
    const replica = system.member('replica-1')
    const source = await started().connect()
    await replica.run(['stop slave', 'change master to master_delay = 3600', 'start slave'])
    await replica.untilReplicating()
    await system.write(5)
    await untilSeen(source, 'replica-1', { lag: 5, receiveLag: 0 })
    await replica.run(['stop slave', 'change master to master_delay = 0', 'start slave'])
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it('reports a follower whose link was cut as disconnected after slave_net_timeout', async () => {
    const { system } = started()
    const replica = system.member('replica-1')
    const source = await started().connect()
    const setTimeouts = (timeout: number, heartbeat: number) =>
      replica.run([
        `set global slave_net_timeout = ${timeout}`,
        'stop slave',
        `change master to master_heartbeat_period = ${heartbeat}`,
        'start slave',
      ])
    await setTimeouts(1, 0.2)
    await untilSeen(source, 'replica-1', { lag: 0 })
    await system.cut('replica-1')
    await system.write(2)
    const problem = expect.stringMatching(/^its IO thread is not connected/) as string
    await untilSeen(source, 'replica-1', { connected: false, lag: 2, receiveLag: 2, problem })
    await system.mend('replica-1')
    await setTimeouts(60, 30)
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it.each(CLIENTS)(
    'reports the lag without any privilege, and what is missing, with %s',
    async (client) => {
      const { system } = started()
      const source = await started().connect({ client, fault: 'missing right' })
      // Which node leads is then only known if one accepts writes.
      await expect(read(source)).rejects.toThrow(
        /which node leads is unknown.*GRANT REPLICA MONITOR/,
      )
      const setReadOnly = async (value: number) => {
        for (const replica of system.replicas)
          await replica.query(`set global read_only = ${value}`)
      }
      await setReadOnly(1)
      onTestFinished(() => setReadOnly(0))
      await system.cut('replica-1')
      await system.write(7)
      await untilSeen(source, 'replica-1', { connected: false, lag: 7, receiveLag: undefined })
      expect((await read(source)).shards[0]?.problem).toMatch(
        /^the replication state of leader, replica-1 and replica-2 cannot be seen, .*GRANT REPLICA MONITOR/,
      )
      await system.mend('replica-1')
      await untilSeen(source, 'replica-1', { connected: false, lag: 0, receiveLag: undefined })
    },
  )

  it.each(CLIENTS)('is not hidden by a follower that is frozen, with %s', async (client) => {
    const { system } = started()
    const source = await started().connect({ client })
    await untilSeen(source, 'replica-1', { lag: 0 })
    const { server } = system.member('replica-1')
    server?.freeze()
    try {
      await system.write(3)
      const reading = await read(source)
      expect(seen(reading, 'replica-1')).toMatchObject({
        connected: false,
        lag: undefined,
        problem: expect.stringContaining('cannot be read: MariaDB') as string,
      })
      expect(seen(reading, 'replica-2')).toMatchObject({ connected: true })
      // Its last question is not answered yet, so it is not asked again.
      expect(seen(await read(source), 'replica-1')).toMatchObject({ connected: false })
    } finally {
      server?.thaw()
    }
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it.each(CLIENTS)('survives that a server closes idle connections, with %s', async (client) => {
    const leader = started().system.leader
    await leader.query('set global wait_timeout = 1')
    onTestFinished(() => leader.run(['set global wait_timeout = 28800']))
    const source = await started().connect({ client })
    await read(source)
    await eventually(async () => {
      const rows = await leader.query(
        "select 1 from information_schema.processlist where user = 'monitor'",
      )
      expect(rows).toEqual([])
    })
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it('reports no position of a follower with the server_id of its leader', async () => {
    const replica = started().system.member('replica-2')
    const source = await started().connect()
    await replica.query('set global server_id = 1')
    onTestFinished(() => replica.run(['set global server_id = 3']))
    expect(seen(await read(source), 'replica-2')).toMatchObject({
      diverged: true,
      lag: undefined,
      problem: 'its server_id is also that of leader: give each server its own',
    })
    expect(seen(await read(source), 'replica-1')).toMatchObject({ lag: 0 })
  })

  it('looks at the link to the leader, not at those to other leaders', async () => {
    const replica = started().system.member('replica-1')
    const source = await started().connect()
    await replica.run([
      "change master 'other' to master_host = '127.0.0.1', master_port = 1, master_user = 'nobody'",
      "start slave 'other'",
    ])
    await untilSeen(source, 'replica-1', { lag: 0 })
    await replica.query("stop slave ''")
    await untilSeen(source, 'replica-1', {
      connected: false,
      lag: 0,
      problem: 'its IO thread is not connected (No), last error 0',
    })
    await replica.run(["start slave ''", "stop slave 'other'", "reset slave 'other' all"])
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

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

  it('says what is wrong when the leader is gone', async () => {
    const { leader } = started().system
    for (const client of CLIENTS) {
      const source = await started().connect({ client })
      await read(source)
      await leader.kill()
      await expect(read(source)).rejects.toThrow(
        /^MariaDB leader leader.*: .*(lost|closed|REFUSED)/,
      )
      await leader.start()
      await untilSeen(source, 'replica-1', { lag: 0 })
    }
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
  it('follows a failover, and reports the old leader when it is back', async () => {
    const started = await startForTest(mariadb)
    const { system } = started
    const source = await started.connect()
    for (const replica of system.followers) await untilSeen(source, replica, { lag: 0 })
    const other = await system.failOver()
    const { shards } = await read(source)
    expect(shards[0]?.followers.map(({ replica }) => replica)).toEqual(['leader', other])
    await untilSeen(source, 'leader', { lag: 0 })
    await system.cut(other)
    await system.write(3)
    await untilSeen(source, other, { lag: 3 })
    await untilSeen(source, 'leader', { lag: 0 })
    await system.mend(other)
    await untilSeen(source, other, { lag: 0 })
  })

  it('names nodes that lead besides the leader', async () => {
    const started = await startForTest(mariadb)
    const { system } = started
    const source = await started.connect()
    await untilSeen(source, 'replica-2', { lag: 0 })
    const { leader } = system
    await system.promote('replica-2')
    system.leader = leader
    await system.write(4)
    const problem = 'it is not set up as a replica'
    await untilSeen(source, 'replica-2', { connected: false, lag: 4, problem })
    await untilSeen(source, 'replica-1', { lag: 0 })
    expect((await read(source)).shards[0]?.problem).toMatch(
      /^two nodes claim to lead: leader and replica-2 do not follow each other/,
    )
    await system.promote('replica-1')
    expect((await read(source)).shards).toMatchObject([
      {
        problem: expect.stringMatching(
          /^3 nodes claim to lead: leader, replica-1 and replica-2/,
        ) as string,
        followers: system.members.map(({ name }) => ({ replica: name, connected: false })),
      },
    ])
    expect((await read(source)).shards[0]).not.toHaveProperty('leaderSeqno')
  })

  it('reports each domain as a shard of its own, and calls nobody disconnected when that changes', async () => {
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
    expect(seen(await read(source), 'replica-1', 'orders/7')).toMatchObject({ lag: undefined })
    expect(seen(await read(source), 'replica-1', 'orders/0')).toMatchObject({ lag: 0 })
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
    const diverged = { connected: undefined, diverged: true, lag: undefined, problem }
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
    const lost = { connected: undefined, diverged: true, lag: undefined, problem }
    await untilSeen(source, 'replica-1', lost)
    expect((await read(source)).shards).toMatchObject([{ leaderSeqno: 0n, epoch: '0.1' }])
    await leader.query('insert into app.t values (null)')
    await untilSeen(source, 'replica-1', lost)
    expect((await read(source)).shards).toMatchObject([{ leaderSeqno: 1n, epoch: '0.1' }])
  })

  it('says so when the leader has no binary log', async () => {
    const started = await startForTest(mariadb)
    const { leader } = started.system
    const source = await started.connect()
    await leader.kill()
    await leader.start(['--skip-log-bin', '--skip-log-slave-updates'])
    await eventually(async () => {
      await expect(read(source)).rejects.toThrow('its binary log is off: start it with log_bin')
    })
  })
})
