import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { mysql } from '../../servers/mysql.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'
import { read, seen, startForTest, untilSeen, useFamily } from './scenarios.js'

const CLIENTS = ['mysql2', 'mariadb']

await describeInstalled(mysql, () => {
  const started = useFamily(mysql)

  it.each(CLIENTS)('tells what was received from what was applied, with %s', async (client) => {
    const { system } = started()
    const replica = system.member('replica-1')
    const source = await started().connect({ client })
    await replica.query('stop replica sql_thread')
    await system.write(100)
    await untilSeen(source, 'replica-1', { lag: 100, receiveLag: 0 })
    await untilSeen(source, 'replica-2', { lag: 0, receiveLag: 0 })
    await replica.query('start replica sql_thread')
    await untilSeen(source, 'replica-1', { lag: 0, receiveLag: 0 })
  })

  it('reports a follower that does not receive as disconnected, with its lag', async () => {
    const { system } = started()
    const replica = system.member('replica-1')
    const source = await started().connect()
    await replica.query('stop replica io_thread')
    await system.write(10)
    const problem = 'its receiver is OFF, last error 0'
    await untilSeen(source, 'replica-1', { connected: false, lag: 10, receiveLag: 10, problem })
    await replica.query('start replica io_thread')
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it('reports the lag of a follower with a delay, which has received everything', async () => {
    const { system } = started()
    const replica = system.member('replica-1')
    const source = await started().connect()
    const delay = (seconds: number) =>
      replica.run([
        'stop replica',
        `change replication source to source_delay = ${seconds}`,
        'start replica',
      ])
    await delay(3600)
    await replica.untilReplicating()
    await system.write(5)
    await untilSeen(source, 'replica-1', { lag: 5, receiveLag: 0 })
    await delay(0)
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it('reports a follower whose link was cut as disconnected after replica_net_timeout', async () => {
    const { system } = started()
    const replica = system.member('replica-1')
    const source = await started().connect()
    const setTimeouts = (timeout: number, heartbeat: number) =>
      replica.run([
        `set global replica_net_timeout = ${timeout}`,
        'stop replica',
        `change replication source to source_heartbeat_period = ${heartbeat}`,
        'start replica',
      ])
    await setTimeouts(1, 0.2)
    await untilSeen(source, 'replica-1', { lag: 0 })
    await system.cut('replica-1')
    await system.write(2)
    const problem = expect.stringMatching(/^its receiver is CONNECTING/) as string
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
        /which node leads is unknown.*GRANT SELECT ON performance_schema/,
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
        /^the replication state of leader, replica-1 and replica-2 cannot be seen, .*GRANT SELECT ON performance_schema/,
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
        problem: expect.stringContaining('cannot be read: MySQL') as string,
      })
      expect(seen(reading, 'replica-2')).toMatchObject({ connected: true })
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
        "select 1 from performance_schema.threads where processlist_user = 'monitor'",
      )
      expect(rows).toEqual([])
    })
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it('counts transactions with a tag', async () => {
    const { system } = started()
    const source = await started().connect()
    await untilSeen(source, 'replica-1', { lag: 0 })
    await system.cut('replica-1')
    await system.leader.query("set session gtid_next = 'AUTOMATIC:blue'")
    await system.write(3)
    await system.leader.query("set session gtid_next = 'AUTOMATIC'")
    await system.write(1)
    await untilSeen(source, 'replica-1', { lag: 4, receiveLag: 4 })
    await system.mend('replica-1')
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it('looks at the channel from the leader, not at those from other servers', async () => {
    const replica = started().system.member('replica-1')
    const source = await started().connect()
    await replica.run([
      `change replication source to source_host = '127.0.0.1', source_port = 1, source_user = 'nobody',
        source_auto_position = 1 for channel 'other'`,
      "start replica for channel 'other'",
    ])
    await untilSeen(source, 'replica-1', { lag: 0 })
    await replica.query("stop replica for channel ''")
    const problem = 'its receiver is OFF, last error 0'
    await untilSeen(source, 'replica-1', { connected: false, lag: 0, problem })
    await replica.run([
      "start replica for channel ''",
      "stop replica for channel 'other'",
      "reset replica all for channel 'other'",
    ])
    await untilSeen(source, 'replica-1', { lag: 0 })
  })

  it('says what is wrong when the leader is gone', async () => {
    const { leader } = started().system
    for (const client of CLIENTS) {
      const source = await started().connect({ client })
      await read(source)
      await leader.kill()
      await expect(read(source)).rejects.toThrow(/^MySQL leader leader.*: .*(lost|closed|REFUSED)/)
      await leader.start()
      await untilSeen(source, 'replica-1', { lag: 0 })
    }
  })
})

await describeInstalled(mysql, () => {
  it('follows a failover, and reports the old leader when it is back', async () => {
    const started = await startForTest(mysql)
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
    const started = await startForTest(mysql)
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

  it('reports a follower that was written to as diverged', async () => {
    const started = await startForTest(mysql)
    const { system } = started
    const replica = system.member('replica-1')
    const source = await started.connect()
    await untilSeen(source, 'replica-1', { lag: 0 })
    await replica.query('insert into app.t values (-1)')
    const [row] = await replica.query('select @@server_uuid as uuid')
    const problem = `it has transactions that its leader does not have, of ${String(row?.['uuid'])}: compare the gtid_executed of both`
    const diverged = { connected: undefined, diverged: true, lag: undefined, problem }
    await untilSeen(source, 'replica-1', diverged)
    await system.write(6)
    await untilSeen(source, 'replica-2', { lag: 0 })
    await untilSeen(source, 'replica-1', diverged)
  })

  it('reports no position of followers with one server_uuid', async () => {
    const started = await startForTest(mysql)
    const [first, second] = started.system.replicas
    if (!first || !second) throw new Error('expected two followers')
    const fileOf = async (name: string) =>
      join(await first.servers.folderOf(name), 'data', 'auto.cnf')
    await second.kill()
    await copyFile(await fileOf(first.name), await fileOf(second.name))
    await second.start()
    const { shards } = await read(await started.connect())
    expect(shards[0]?.followers).toHaveLength(2)
    for (const follower of shards[0]?.followers ?? []) {
      expect(follower).toMatchObject({ diverged: true })
      expect(follower.problem).toMatch(/^its server_uuid is also that of replica-[12]: give each/)
    }
  })

  it.each([true, false])(
    'reports no lag against a leader that has lost its history, seen before: %s',
    async (wasRead) => {
      const started = await startForTest(mysql)
      const { system } = started
      const source = await started.connect()
      if (wasRead) await untilSeen(source, 'replica-1', { lag: 0 })
      await system.leader.query('reset binary logs and gtids')
      const problem = expect.stringMatching(
        /^it has transactions of its leader that the leader itself no longer has/,
      ) as string
      const lost = { connected: undefined, diverged: true, lag: undefined, problem }
      await untilSeen(source, 'replica-1', lost)
      await system.write(2)
      await untilSeen(source, 'replica-1', lost)
      const epoch = wasRead ? '1' : '0'
      expect((await read(source)).shards).toMatchObject([{ leaderSeqno: 2n, epoch }])
    },
  )

  it('says so when the leader does not use GTIDs', async () => {
    const started = await startForTest(mysql)
    const source = await started.connect()
    await started.system.leader.run([
      'set global gtid_mode = ON_PERMISSIVE',
      'set global gtid_mode = OFF_PERMISSIVE',
    ])
    await eventually(async () => {
      await expect(read(source)).rejects.toThrow(
        'MySQL leader leader: its gtid_mode is OFF_PERMISSIVE: the source needs GTIDs',
      )
    })
  })
})
