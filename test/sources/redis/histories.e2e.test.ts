import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis, type SentinelAddress } from 'ioredis'
import {
  redisSource,
  type RedisClient,
} from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest'
import { freePort } from '../../servers/postgres/processes.mjs'
import { redis } from '../../servers/redis.mjs'
import { findProgram, Servers, type Server } from '../../servers/servers.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'

// What happens to positions when a history ends: servers that are started again for each test.

let servers: Servers
beforeEach(async () => {
  servers = await Servers.create()
})
afterEach(() => servers.stop())

interface Node {
  readonly port: number
  readonly server: Server
  readonly admin: Redis
}

/** Starts a server without a disk, which forgets everything when it ends. */
async function start(
  name: string,
  options: { port?: number; leader?: number } = {},
): Promise<Node> {
  const { port = await freePort(), leader } = options
  const server = await servers.start(name, (await findProgram('redis-server')) ?? '', [
    ...['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    ...['--repl-diskless-sync-delay', 0, '--repl-backlog-size', 16_384],
    ...['--repl-ping-replica-period', 3600],
    ...(leader === undefined ? [] : ['--replicaof', `127.0.0.1 ${leader}`]),
  ])
  const admin = connect({ host: '127.0.0.1', port })
  await eventually(() => admin.ping())
  return { port, server, admin }
}

type Address =
  | { readonly host: string; readonly port: number }
  | { readonly sentinels: SentinelAddress[]; readonly name: string }

function connect(address: Address): Redis {
  const client = new Redis({ maxRetriesPerRequest: 0, retryStrategy: () => 50, ...address })
  client.on('error', () => undefined)
  onTestFinished(() => client.disconnect())
  return client
}

/** Reads the one shard of a source. */
function readerOf(client: RedisClient) {
  const source = redisSource({ client, shard: 'cache' })
  return async () => {
    const [shard] = (await source.read(AbortSignal.timeout(10_000))).shards
    if (!shard) throw new Error('the source has read no shard')
    return shard
  }
}

async function untilCaughtUp(read: ReturnType<typeof readerOf>, followers: number) {
  return eventually(async () => {
    const shard = await read()
    const caughtUp = { connected: true, appliedSeqno: shard.leaderSeqno }
    expect(shard.followers).toEqual(
      Array.from({ length: followers }, () => expect.objectContaining(caughtUp) as unknown),
    )
    return shard
  })
}

await describeInstalled(redis, () => {
  it('reports a replica that needs all data again in the same history, and never ahead', async () => {
    const leader = await start('leader')
    const link = await servers.gate(leader.port)
    await start('replica', { leader: link.port })
    const read = readerOf(leader.admin)
    const { epoch } = await untilCaughtUp(read, 1)

    // It loses its connection, and comes back when the leader no longer has what it needs.
    link.close()
    await leader.admin.call('CLIENT', 'KILL', 'TYPE', 'replica')
    await leader.admin.set('large', 'x'.repeat(100_000))
    const before = Number(/sync_full:(\d+)/.exec(await leader.admin.info('stats'))?.[1])
    link.reopen()
    await eventually(async () => {
      const { leaderSeqno, followers } = await read()
      for (const { appliedSeqno = 0n } of followers) {
        expect(BigInt(leaderSeqno ?? 0)).toBeGreaterThanOrEqual(BigInt(appliedSeqno))
      }
      expect(await leader.admin.info('stats')).toContain(`sync_full:${before + 1}`)
    })
    expect((await untilCaughtUp(read, 1)).epoch).toBe(epoch)
  })

  it('starts another history when the leader restarts without its data', async () => {
    const leader = await start('leader')
    await start('replica', { leader: leader.port })
    const read = readerOf(leader.admin)
    await leader.admin.set('large', 'x'.repeat(100_000))
    const old = await untilCaughtUp(read, 1)

    await leader.server.kill()
    await expect(read()).rejects.toThrow(/^Redis: /)
    await start('leader', { port: leader.port })
    const restarted = await untilCaughtUp(read, 1)
    expect(restarted.epoch).not.toBe(old.epoch)
    expect(BigInt(restarted.leaderSeqno ?? 0)).toBeLessThan(BigInt(old.leaderSeqno ?? 0))
  })

  it('follows the leader through a client with Sentinels', async () => {
    const leader = await start('leader')
    await start('replica_1', { leader: leader.port })
    await start('replica_2', { leader: leader.port })
    const port = await startSentinel(leader.port)
    const client = connect({ sentinels: [{ host: '127.0.0.1', port }], name: 'cache' })
    const read = readerOf(client)
    const old = await untilCaughtUp(read, 2)

    await leader.server.kill()
    const { epoch } = await untilCaughtUp(read, 1)
    expect(epoch).not.toBe(old.epoch)
    await client.set('key', 'value')
    await untilCaughtUp(read, 1)
  })
})

/** Starts a Sentinel that makes another server the leader half a second after it has died. */
async function startSentinel(leader: number): Promise<number> {
  const port = await freePort()
  const file = join(await servers.folderOf('sentinel'), 'sentinel.conf')
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `sentinel monitor cache 127.0.0.1 ${leader} 1`,
    'sentinel down-after-milliseconds cache 500',
    'sentinel failover-timeout cache 2000',
  ]
  await writeFile(file, lines.join('\n'))
  await servers.start('sentinel', (await findProgram('redis-server')) ?? '', [file, '--sentinel'])
  const admin = connect({ host: '127.0.0.1', port })
  await eventually(async () => {
    expect(await admin.call('SENTINEL', 'REPLICAS', 'cache')).toHaveLength(2)
  })
  return port
}
