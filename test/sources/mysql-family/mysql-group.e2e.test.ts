import { expect, it } from 'vitest'
import { mysql, startGroup } from '../../servers/mysql.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled, useStarted } from '../contract.js'
import { read, seen, sourceFor, untilSeen } from './scenarios.js'

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
    expect(seen(await read(source), 'member-1')).toMatchObject({ connected: false })
    expect((await read(source)).shards).toMatchObject([
      { leaderSeqno: await system.position(), epoch: '0' },
    ])
  })
})
