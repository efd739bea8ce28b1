import { Redis, type SentinelAddress } from 'ioredis'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { redisSource } from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { freePort } from '../../servers/postgres/processes.mjs'
import { currentRedis, redis, valkey } from '../../servers/redis.mjs'
import { run, Servers } from '../../servers/servers.mjs'
import { eventually } from '../../support/eventually.js'
import { describeContract, describeInstalled } from '../contract.js'

let servers: Servers
beforeEach(async () => {
  servers = await Servers.create()
})
afterEach(() => servers.stop())

type Kind = typeof redis

type Address =
  | { readonly port: number; readonly tls?: { readonly ca?: Buffer } }
  | { readonly sentinels: SentinelAddress[]; readonly name: string }

function connect(address: Address): Redis {
  const client = new Redis({
    ...{ host: '127.0.0.1', maxRetriesPerRequest: 0, connectTimeout: 1000, ...address },
    retryStrategy: () => 50,
  })
  client.on('error', () => undefined)
  onTestFinished(() => client.disconnect())
  return client
}

/** Starts a server without a disk, which forgets everything when it ends. */
async function start(kind: Kind, name: string, options: readonly (string | number)[] = []) {
  const { program, parameters } = await kind.command()
  const port = await freePort()
  const server = await servers.start(name, program, [
    ...[...parameters, '--port', port, '--bind', '127.0.0.1', '--save', ''],
    ...['--appendonly', 'no', '--repl-diskless-sync-delay', 0],
    ...['--replica-announce-port', port, ...options],
  ])
  const admin = connect({ port })
  await eventually(() => admin.ping())
  return { port, server, admin, follow: ['--replicaof', `127.0.0.1 ${port}`] }
}

/** Starts a Sentinel, which watches the leader at a port. */
async function startSentinel(kind: Kind, ...config: readonly string[]): Promise<Redis> {
  const { program, parameters } = await kind.command()
  const port = await freePort()
  const file = join(await servers.folderOf('sentinel'), 'sentinel.conf')
  await writeFile(file, [`port ${port}`, 'bind 127.0.0.1', ...config, ''].join('\n'))
  await servers.start('sentinel', program, [...parameters, file, '--sentinel'])
  const client = connect({ port })
  await eventually(() => client.ping())
  return client
}

/** Returns a function that reads the only shard of a source. */
function readerOf(client: Redis) {
  const source = redisSource({ client, shard: 'cache' })
  return async () => {
    const [shard] = (await source.read(AbortSignal.timeout(10_000), 3000)).shards
    if (!shard) throw new Error('the source has read no shard')
    return { ...shard, leaderSeqno: BigInt(shard.leaderSeqno ?? 0) }
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

async function fill(client: Redis): Promise<void> {
  const pipeline = client.pipeline()
  for (let i = 0; i < 100; i++) pipeline.set(`${Math.random()}`, 'x'.repeat(1000))
  await pipeline.exec()
}

/** How each server is configured to copy with two connections. */
const TWO_CONNECTIONS = new Map([
  [currentRedis, 'repl-rdb-channel'],
  [valkey, 'dual-channel-replication-enabled'],
])

// Each server, and each client on an old one and a new one.
const combinations = [
  { kind: redis, clients: ['ioredis', 'redis'] },
  { kind: currentRedis, clients: ['ioredis'] },
  { kind: valkey, clients: ['redis'] },
]

for (const { kind, clients } of combinations) {
  await describeInstalled(kind, () => {
    for (const client of clients) {
      describeContract(kind, {
        client,
        countsWrites: false,
        findsLeader: true,
        claims: /claim to lead/,
        cannot: { join: 'the source asks the nodes that it was given' },
        faults: {
          'wrong password': /WRONGPASS.*check the user/,
          'missing right': /NOPERM.*\+info/,
        },
      })
    }

    it('names a Sentinel', async () => {
      await expect(readerOf(await startSentinel(kind))()).rejects.toThrow(
        'Redis: this is a Sentinel: give the ports of the servers that it watches',
      )
    })

    it('says what to do where only one side uses TLS, or a certificate is not valid', async () => {
      const folder = await servers.folderOf('tls')
      const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
      await run('openssl', [
        ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2'],
        ...['-keyout', key, '-out', certificate, '-subj', '/CN=other.example'],
      ])
      const port = await freePort()
      const plain = await start(kind, 'leader', [
        ...['--tls-port', port, '--tls-auth-clients', 'no', '--tls-ca-cert-file', certificate],
        ...['--tls-cert-file', certificate, '--tls-key-file', key],
      ])
      const ca = await readFile(certificate)
      for (const [options, advice] of [
        [{ port }, /ECONNRESET.*: check the server, and whether it expects TLS/],
        [{ port: plain.port, tls: {} }, /ETIMEDOUT.*: check host, port/],
        [{ port, tls: {} }, /SELF_SIGNED.*: the certificate is not trusted/],
        [{ port, tls: { ca } }, /ALTNAME.*: the certificate is for another host/],
      ] as const) {
        const read = readerOf(connect(options))
        // The first error can be that of a client that is not connected yet.
        await eventually(() => expect(read()).rejects.toThrow(advice))
      }
    })

    describe.each([false, true])(
      'a replica that copies all data, with two connections: %s',
      (two) => {
        const option = TWO_CONNECTIONS.get(kind)
        it.skipIf(two && option === undefined)(
          'has no position until it has loaded them, is one follower, and never has the whole history as lag',
          async () => {
            const more = two ? [`--${option}`, 'yes'] : []
            const leader = await start(kind, 'leader', [...more, '--repl-diskless-sync', 'yes'])
            const replica = await start(kind, 'replica', [...more, ...leader.follow])
            const nodes = { leader: leader.admin, replica: replica.admin }
            const ofNodes = redisSource({ nodes, shard: 'cache' })
            const follower = async () =>
              (await ofNodes.read(AbortSignal.timeout(10_000))).shards[0]?.followers[0]
            await eventually(async () => expect((await follower())?.connected).toBe(true))
            const read = readerOf(leader.admin)
            const { epoch } = await read()
            for (let i = 0; i < 20; i++) await fill(leader.admin)
            // It needs all data again. The leader saves and the replica loads slowly.
            await leader.admin.config('SET', 'repl-backlog-size', '16384')
            await replica.admin.replicaof('NO', 'ONE')
            await leader.admin.set('more', 'x'.repeat(100_000))
            await leader.admin.config('SET', 'rdb-key-save-delay', '300')
            await replica.admin.config('SET', 'key-load-delay', '300')
            await replica.admin.replicaof('127.0.0.1', leader.port)
            const name = `127.0.0.1:${replica.port}`
            let synchronizing = 0
            const rows = new Set<string>()
            await eventually(async () => {
              const { leaderSeqno, followers, ...shard } = await read()
              const info = await leader.admin.info('replication')
              for (const [type] of info.matchAll(/type=[\w-]+/g)) rows.add(type)
              const [seen, ...others] = followers
              expect.soft(others).toEqual([])
              expect.soft(shard).toMatchObject({ epoch })
              expect.soft(shard.problem).toBeUndefined()
              if (seen) {
                expect.soft(seen).toMatchObject({ replica: name, connected: true })
                const lag = Number(leaderSeqno - BigInt(seen.appliedSeqno ?? leaderSeqno))
                expect.soft(lag).toBeGreaterThanOrEqual(0)
                expect.soft(lag).toBeLessThan(100_000)
                if (seen.appliedSeqno === undefined) synchronizing++
              }
              const itself = await follower()
              expect(seen?.appliedSeqno).toBe(leaderSeqno)
              expect(itself).toMatchObject({ connected: true, appliedSeqno: leaderSeqno })
            })
            expect(synchronizing).toBeGreaterThan(0)
            // Redis 8.0 does not list the second one.
            expect(rows.has('type=rdb-channel')).toBe(two && kind === valkey)
          },
        )
      },
    )
  })
}

await describeInstalled(redis, () => {
  it('follows the leader through a client with Sentinels', async () => {
    const leader = await start(redis, 'leader')
    await start(redis, 'replica_1', leader.follow)
    await start(redis, 'replica_2', leader.follow)
    const admin = await startSentinel(
      redis,
      `sentinel monitor cache 127.0.0.1 ${leader.port} 1`,
      'sentinel down-after-milliseconds cache 500',
      'sentinel failover-timeout cache 2000',
    )
    await eventually(async () => {
      expect(await admin.call('SENTINEL', 'REPLICAS', 'cache')).toHaveLength(2)
    })
    const sentinels = [{ host: '127.0.0.1', port: admin.options.port ?? 0 }]
    const client = connect({ sentinels, name: 'cache' })
    const read = readerOf(client)
    const old = await untilCaughtUp(read, 2)
    await leader.server.kill()
    const { epoch } = await untilCaughtUp(read, 1)
    expect(epoch).not.toBe(old.epoch)
    await client.set('key', 'value')
    await untilCaughtUp(read, 1)
  })
})
