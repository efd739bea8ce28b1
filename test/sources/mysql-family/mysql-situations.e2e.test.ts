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

  it.each(CLIENTS)('reports the lag without any right, with %s', async (client) => {
    const { system } = started()
    const source = await started().connect({ client, fault: 'missing right' })
    await system.cut('replica-1')
    await system.write(7)
    await untilSeen(source, 'replica-1', { lag: 7, receiveLag: undefined })
    await system.mend('replica-1')
    await untilSeen(source, 'replica-1', { lag: 0, receiveLag: undefined })
  })

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

  it.each(CLIENTS)('survives that the server closes idle connections, with %s', async (client) => {
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
      await expect(read(source)).rejects.toThrow(/^MySQL leader.*: .*(lost|closed|REFUSED)/)
      await leader.start()
      await untilSeen(source, 'replica-1', { lag: 0 })
    }
  })
})

await describeInstalled(mysql, () => {
  it('goes on after a failover, behind an address that follows the leader', async () => {
    const started = await startForTest(mysql)
    const { system } = started
    const connected = await system.connect()
    onTestFinished(() => connected.close())
    const { source, gate } = connected
    for (const replica of system.followers) await untilSeen(source, replica, { lag: 0 })
    const other = await system.failOver()
    gate.moveTo(system.leader.port)
    await eventually(async () => {
      const { shards } = await read(source)
      expect(shards[0]?.followers.map(({ replica }) => replica)).toEqual([other])
      expect(shards[0]?.removed).toEqual([system.leader.name])
    })
    await system.cut(other)
    await system.write(3)
    await untilSeen(source, other, { lag: 3 })
    await system.mend(other)
    await untilSeen(source, other, { lag: 0 })
  })

  it('reports transactions that only the follower has, next to its lag', async () => {
    const started = await startForTest(mysql)
    const { system } = started
    const replica = system.member('replica-1')
    const source = await started.connect()
    await replica.query('insert into app.t values (-1)')
    const [row] = await replica.query('select @@server_uuid as uuid')
    const problem = `it has transactions that its leader does not have, of ${String(row?.['uuid'])}`
    await untilSeen(source, 'replica-1', { lag: 0, receiveLag: 0, problem })
    await system.cut('replica-1')
    await system.write(6)
    await untilSeen(source, 'replica-1', { lag: 6, receiveLag: 6, problem })
    await system.mend('replica-1')
    await untilSeen(source, 'replica-1', { lag: 0, receiveLag: 0, problem })
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
      expect(follower).not.toHaveProperty('appliedSeqno')
      expect(follower.problem).toBe(
        'its server_uuid is that of another server, or its client reaches that one',
      )
    }
  })

  it('reports no lag against a leader that has lost its history', async () => {
    const started = await startForTest(mysql)
    const { system } = started
    const source = await started.connect()
    await system.leader.query('reset binary logs and gtids')
    await expect(read(source)).rejects.toThrow(
      'its gtid_executed is empty: nothing was written yet',
    )
    await system.write(2)
    expect(seen(await read(source), 'replica-1')).toMatchObject({
      lag: undefined,
      problem: 'it has transactions that its leader has lost: clone it again',
    })
  })

  it('says so when the leader does not use GTIDs', async () => {
    const started = await startForTest(mysql)
    const source = await started.connect()
    await started.system.leader.run([
      'set global gtid_mode = ON_PERMISSIVE',
      'set global gtid_mode = OFF_PERMISSIVE',
    ])
    await expect(read(source)).rejects.toThrow(
      'its gtid_mode is OFF_PERMISSIVE: the source needs GTIDs',
    )
  })
})
