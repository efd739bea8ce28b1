import { spawn } from 'node:child_process'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { redis } from '../../../docs/examples/systems/redis.mjs'
import { Servers } from '../../../docs/examples/systems/servers.mjs'
import type { System } from '../../../docs/examples/systems/system.js'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'

await describeInstalled(redis, () => {
  let servers: Servers
  let system: System

  beforeAll(async () => {
    servers = await Servers.create()
    system = await redis.start(servers)
  })
  afterAll(() => servers.stop())

  async function connect(source: Record<string, unknown> = {}) {
    const connected = await system.connect({ source })
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
    await system.write(20)
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
      for (; progress.writes < 50; progress.writes++) await system.write(50)
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
})
