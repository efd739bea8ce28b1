import { spawn } from 'node:child_process'
import { Redis } from 'ioredis'
import { redisSource } from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { expect, it, onTestFinished } from 'vitest'
import { redis } from '../../servers/redis.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled, useStarted } from '../contract.js'

await describeInstalled(redis, () => {
  const system = useStarted((servers) => redis.start(servers))

  async function connect(source: Record<string, unknown> = {}) {
    const connected = await system().connect({ source })
    onTestFinished(() => connected.close())
    const read = async () => {
      const { shards } = await connected.source.read(AbortSignal.timeout(10_000))
      const [shard] = shards
      return { leaderSeqno: BigInt(shard?.leaderSeqno ?? 0), followers: shard?.followers ?? [] }
    }
    return { read, gate: connected.gate }
  }

  it('reports what the leader sees by address where no replica is given', async () => {
    const { read } = await connect({ replicas: undefined })
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
    const { read, gate } = await connect({ replicas: undefined })
    const tool = spawn(
      'redis-cli',
      ['-p', String(gate.port), '--user', 'copy', '--pass', 'secret', '--replica'],
      { stdio: 'ignore' },
    )
    onTestFinished(() => void tool.kill('SIGKILL'))
    const client = new Redis({ port: gate.port, username: 'monitor', password: 'secret' })
    onTestFinished(() => client.disconnect())
    await eventually(async () => expect(await client.info('replication')).toMatch(/,port=0,/))
    const { followers } = await read()
    expect(followers.map(({ replica }) => replica)).not.toContain('127.0.0.1:0')
    expect(followers).toHaveLength(2)
  })

  it('shows what a replica has received, and no lag that is negative while the leader is busy', async () => {
    const { read } = await connect()
    const progress = { writes: 0 }
    const writing = (async () => {
      for (; progress.writes < 50; progress.writes++) await system().write(50)
    })()
    while (progress.writes < 50) {
      const { leaderSeqno, followers } = await read()
      for (const { appliedSeqno = 0n, receivedSeqno = 0n } of followers) {
        expect(leaderSeqno - BigInt(appliedSeqno)).toBeGreaterThanOrEqual(0n)
        expect(BigInt(receivedSeqno)).toBeGreaterThanOrEqual(BigInt(appliedSeqno))
      }
    }
    await writing
  })

  /** Connects to one of the replicas as its administrator. */
  async function administrate() {
    const { read } = await connect({ replicas: undefined })
    const port = await eventually(async () => {
      const { followers } = await read()
      expect(followers).toHaveLength(2)
      return Number(String(followers[0]?.replica).split(':')[1])
    })
    const admin = new Redis(port)
    onTestFinished(() => admin.disconnect())
    const field = async (section: string, name: string) =>
      new RegExp(`${name}:([^\\r]*)`).exec(await admin.info(section))?.[1] ?? ''
    return { admin, port, field }
  }

  it('reports a replica that was promoted while its leader lives as disconnected, without a position', async () => {
    const { read } = await connect()
    const { admin, field } = await administrate()
    const leader = [
      await field('replication', 'master_host'),
      await field('replication', 'master_port'),
    ] as const
    await admin.replicaof('NO', 'ONE')
    const problem = 'it is a leader itself, and follows nobody'
    const promoted = { connected: false, problem }
    await eventually(async () => {
      const { followers } = await read()
      const others = followers.filter(({ connected }) => connected === false)
      expect(others).toEqual([{ replica: expect.any(String) as string, ...promoted }])
    })
    await admin.replicaof(...leader)
    await eventually(async () => {
      const { leaderSeqno, followers } = await read()
      const current = { connected: true, appliedSeqno: leaderSeqno }
      expect(followers).toMatchObject([current, current])
    })
  })

  it('is not read through a client that reaches a replica', async () => {
    const { port } = await administrate()
    const client = new Redis({ port, username: 'monitor', password: 'secret' })
    onTestFinished(() => client.disconnect())
    const source = redisSource({ client, shard: system().shard })
    await expect(source.read(AbortSignal.timeout(10_000))).rejects.toThrow('reaches a replica')
  })

  it('reports a replica that hangs as disconnected, and the other one as before', async () => {
    const { read } = await connect()
    const pid = Number(await (await administrate()).field('server', 'process_id'))
    process.kill(pid, 'SIGSTOP')
    try {
      const { leaderSeqno, followers } = await read()
      const hangs = {
        connected: false,
        problem: 'cannot be read: no answer within 2 seconds',
      }
      expect(followers).toContainEqual({ replica: expect.any(String) as string, ...hangs })
      expect(followers).toContainEqual(
        expect.objectContaining({ connected: true, appliedSeqno: leaderSeqno }),
      )
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await eventually(async () => {
      const { leaderSeqno, followers } = await read()
      const current = { connected: true, appliedSeqno: leaderSeqno }
      expect(followers).toMatchObject([current, current])
    })
  })
})
