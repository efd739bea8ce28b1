import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { etcdSource } from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { expect, it, onTestFinished } from 'vitest'
import { etcd, etcd36 } from '../../servers/etcd.mjs'
import { Servers } from '../../servers/servers.mjs'
import { eventually } from '../../support/eventually.js'
import { describeContract, describeInstalled, useStarted } from '../contract.js'
import { readShard, untilSeen } from '../shared/systems.js'

for (const kind of [etcd, etcd36]) {
  await describeInstalled(kind, () => {
    const cannot = { claim: 'members that do not know of the newest term are not followed' }
    describeContract(kind, { findsLeader: true, cannot })
  })

  await describeInstalled(kind, () => {
    const cluster = useStarted((servers) => kind.start(servers))
    const shard = 'registry'

    const connect = async (): Promise<ReplicationSource> => (await cluster().connect()).source
    const connectToOne = (index: number) =>
      etcdSource({ endpoints: cluster().endpoints.slice(index).slice(0, 1), shard })

    it.each([0, 1, 2])('finds all members from one endpoint: %i', async (index) => {
      const source = connectToOne(index)
      const { followers, complete } = await readShard(source, shard)
      expect(followers).toHaveLength(2)
      expect(complete).toBe(true)
      for (const name of cluster().followers) {
        await untilSeen(source, shard, name, { connected: true, lag: 0 })
      }
    })

    it('reads a member that moves to another URL', async () => {
      const [first, second] = cluster().followers
      const index = cluster().endpoints.indexOf(cluster().endpointOf(first))
      const all = await connect()
      const one = connectToOne(index)
      await untilSeen(one, shard, second, { connected: true, lag: 0 })
      await cluster().moveMember(second)
      for (const source of [all, one]) {
        await untilSeen(source, shard, second, { connected: true, lag: 0 })
      }
    })

    it('finds a learner: by its id until it is started, then by its name, until it is removed', async () => {
      const id = await cluster().addLearner('learner')
      const hex = BigInt(id).toString(16)
      const source = await connect()
      const problem = 'cannot be read: it was never started'
      await untilSeen(source, shard, hex, { connected: false, lag: undefined, problem })
      await cluster().startLearner('learner')
      await untilSeen(source, shard, 'learner', { connected: true, lag: 0 })
      expect((await readShard(source, shard)).seen).not.toHaveProperty(hex)
      await cluster().cut('learner')
      await cluster().write(30)
      await untilSeen(source, shard, 'learner', { lag: 30 })
      await cluster().mend()
      await untilSeen(source, shard, 'learner', { lag: 0 })
      await expect(connectToOne(3).read(AbortSignal.timeout(5_000))).rejects.toThrow(
        'it is a learner. Give the URL of a member that votes',
      )
      await cluster().removeLearner('learner', id)
      const { seen, complete } = await readShard(source, shard)
      expect(Object.keys(seen).sort()).toEqual([...cluster().followers].sort())
      expect(complete).toBe(true)
    })

    it('finds another epoch in a cluster that was rebuilt with the same ids', async () => {
      const source = await connect()
      await cluster().write(50)
      const before = await readShard(source, shard)
      await cluster().rebuild()
      await eventually(async () => {
        const after = await readShard(source, shard)
        expect(BigInt(after.leaderSeqno ?? 0)).toBeLessThan(BigInt(before.leaderSeqno ?? 0))
        expect(after.epoch).not.toBe(before.epoch)
        // The ids are the same, only the count of histories is another one.
        expect(after.epoch?.split('/')[0]).toBe(before.epoch?.split('/')[0])
      })
      for (const follower of cluster().followers) {
        await untilSeen(source, shard, follower, { connected: true, lag: 0 })
      }
    })

    it('keeps the epoch when another leader is elected', async () => {
      const source = await connect()
      const before = await readShard(source, shard)
      await cluster().failOver()
      await eventually(async () => {
        const after = await readShard(source, shard)
        expect(after.epoch).toBe(before.epoch)
        expect(after.leaderSeqno).toBeGreaterThan(BigInt(before.leaderSeqno ?? 0))
      })
    })
  })

  await describeInstalled(kind, () => {
    it('is read with a token that the fetch adds, without a raft entry for each read', async () => {
      const servers = await Servers.create()
      onTestFinished(() => servers.stop())
      const cluster = await kind.start(servers)
      const { leaderName: leader, endpoints } = cluster
      const user = { name: 'root', password: 'secret' }
      await cluster.ask(leader, 'auth/user/add', user)
      await cluster.ask(leader, 'auth/role/add', { name: 'root' })
      await cluster.ask(leader, 'auth/user/grant', { user: 'root', role: 'root' })
      await cluster.ask(leader, 'auth/enable')
      const login = await cluster.ask(leader, 'auth/authenticate', user)
      const { token } = login as { token: string }
      const source = etcdSource({
        endpoints: endpoints.slice(0, 1),
        shard: 'registry',
        fetch: (url, { headers, ...request }) =>
          fetch(url, { ...request, headers: { ...headers, authorization: token } }),
      })
      const [first] = cluster.followers
      await untilSeen(source, 'registry', first, { connected: true, lag: 0 })
      const statusOf = async () => {
        const { followers, leaderSeqno } = await readShard(source, 'registry')
        return { followers: followers.length, leaderSeqno }
      }
      const before = await statusOf()
      for (let i = 0; i < 10; i++) await source.read(AbortSignal.timeout(5_000))
      expect(await statusOf()).toEqual(before)
      if (kind === etcd) return
      const withoutToken = etcdSource({ endpoints, shard: 'registry' })
      await expect(withoutToken.read(AbortSignal.timeout(5_000))).rejects.toThrow(
        /user name is empty.*: authentication is on. Pass a fetch that adds the token of a user/,
      )
    })
  })
}
