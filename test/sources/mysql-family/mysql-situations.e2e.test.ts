import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { mysql } from '../../servers/mysql.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'
import { read, startForTest, untilSeen, useFamily } from './scenarios.js'

await describeInstalled(mysql, () => {
  const started = useFamily(mysql)

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
})

await describeInstalled(mysql, () => {
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
