import { spawn } from 'node:child_process'
import { Redis } from 'ioredis'
import { redisSource } from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { expect, it, onTestFinished } from 'vitest'
import { redis } from '../../servers/redis.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled, useStarted } from '../contract.js'

await describeInstalled(redis, () => {
  const system = useStarted((servers) => redis.start(servers))

  const readerOf = (source: ReplicationSource) => async () => {
    const { shards } = await source.read(AbortSignal.timeout(10_000), 2000)
    const [shard] = shards
    return {
      ...shard,
      leaderSeqno: BigInt(shard?.leaderSeqno ?? 0),
      followers: shard?.followers ?? [],
    }
  }

  /** Reads through connections to all nodes. */
  async function connect() {
    const connected = await system().connect()
    onTestFinished(() => connected.close())
    return readerOf(connected.source)
  }

  function connectTo(port: number): Redis {
    const client = new Redis({ port, username: 'monitor', password: 'secret' })
    onTestFinished(() => client.disconnect())
    return client
  }

  /** Reads what the leader sees. */
  function connectToLeader() {
    const client = connectTo(system().leader.port)
    return readerOf(redisSource({ client, shard: system().shard }))
  }

  it('reports what the leader sees by address where only a client is given', async () => {
    const read = connectToLeader()
    await system().write(20)
    await eventually(async () => {
      const { leaderSeqno, followers } = await read()
      expect(followers).toHaveLength(2)
      for (const follower of followers) {
        expect(follower.replica).toMatch(/^127\.0\.0\.1:\d+$/)
        expect(follower).toMatchObject({ connected: true, appliedSeqno: leaderSeqno })
      }
    })
  })

  it('does not take a tool that copies the stream for a follower', async () => {
    const { port } = system().leader
    const login = ['--user', 'copy', '--pass', 'secret']
    const tool = spawn('redis-cli', ['-p', String(port), ...login, '--replica'], {
      stdio: 'ignore',
    })
    onTestFinished(() => void tool.kill('SIGKILL'))
    const client = connectTo(port)
    await eventually(async () => expect(await client.info('replication')).toMatch(/,port=0,/))
    const { followers } = await connectToLeader()()
    expect(followers.map(({ replica }) => replica)).not.toContain('127.0.0.1:0')
    expect(followers).toHaveLength(2)
  })

  it('reports two replicas behind one address as one, with the position of the one that is behind', async () => {
    const [first, second] = system().replicas
    const announce = async (port: number) => {
      await second.admin.config('SET', 'replica-announce-port', String(port))
      second.link?.breakConnections()
      await second.untilJoined()
    }
    await announce(first.port)
    onTestFinished(() => announce(second.port))
    const read = connectToLeader()
    const problem = expect.stringContaining('nodes') as string
    const replica = `127.0.0.1:${first.port}`
    await eventually(async () => {
      const { leaderSeqno: appliedSeqno, followers } = await read()
      expect(followers).toEqual([{ replica, connected: true, appliedSeqno, problem }])
    })
    await system().cut(second.name)
    onTestFinished(() => system().mend(second.name))
    const before = await system().position(second.name)
    await system().write(50)
    await eventually(async () => {
      expect(await system().position(first.name)).toBeGreaterThan(before)
    })
    expect((await read()).followers).toEqual([
      { replica, connected: true, appliedSeqno: before, problem },
    ])
  })

  it('shows what a replica has received, and no lag that is negative while the leader is busy', async () => {
    const read = await connect()
    const progress = { writes: 0 }
    const writing = (async () => {
      for (; progress.writes < 50; progress.writes++) await system().write(50)
    })()
    while (progress.writes < 50) {
      for (const each of (await read()).followers) {
        const { appliedSeqno = 0n, receivedSeqno = 0n, comparedWith, diverged } = each
        expect(diverged).toBeUndefined()
        expect(comparedWith?.leaderSeqno).toBeGreaterThanOrEqual(BigInt(appliedSeqno))
        expect(receivedSeqno).toBeGreaterThanOrEqual(BigInt(appliedSeqno))
      }
    }
    await writing
  })
})
