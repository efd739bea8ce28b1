import { Redis } from 'ioredis'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { redisSource } from 'opentelemetry-instrumentation-replication-lag/sources/redis'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { freePort } from '../../servers/postgres/processes.mjs'
import { currentRedis, redis, valkey } from '../../servers/redis.mjs'
import { run, Servers } from '../../servers/servers.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'

// What servers answer in situations of their own, in each version.

let servers: Servers
beforeEach(async () => {
  servers = await Servers.create()
})
afterEach(() => servers.stop())

function connect(options: { port: number; tls?: { ca?: Buffer } }): Redis {
  const client = new Redis({
    ...{ host: '127.0.0.1', maxRetriesPerRequest: 0, connectTimeout: 1000, ...options },
    retryStrategy: () => 50,
  })
  client.on('error', () => undefined)
  onTestFinished(() => client.disconnect())
  return client
}

const read = async (client: Redis) => {
  const source = redisSource({ client, shard: 'cache' })
  const { shards } = await source.read(AbortSignal.timeout(10_000), 3000)
  return shards[0]
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

for (const kind of [redis, currentRedis, valkey]) {
  await describeInstalled(kind, () => {
    async function start(name: string, more: readonly (string | number)[] = []) {
      const { program, parameters } = await kind.command()
      const port = await freePort()
      await servers.start(name, program, [
        ...[...parameters, '--port', port, '--bind', '127.0.0.1', '--save', ''],
        ...['--repl-diskless-sync-delay', 0, '--replica-announce-port', port, ...more],
      ])
      const admin = connect({ port })
      await eventually(() => admin.ping())
      return { port, admin }
    }

    it('names a Sentinel', async () => {
      const { program, parameters } = await kind.command()
      const port = await freePort()
      const file = join(await servers.folderOf('sentinel'), 'sentinel.conf')
      await writeFile(file, `port ${port}\nbind 127.0.0.1\n`)
      await servers.start('sentinel', program, [...parameters, file, '--sentinel'])
      const client = connect({ port })
      await eventually(() => client.ping())
      await expect(read(client)).rejects.toThrow(
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
      const files = ['--tls-cert-file', certificate, '--tls-key-file', key]
      const plain = await start('leader', [
        ...['--tls-port', port, '--tls-auth-clients', 'no', '--tls-ca-cert-file', certificate],
        ...files,
      ])
      const errorOf = (client: Redis) =>
        eventually(async () => {
          const error = await read(client).then(
            () => undefined,
            (error: unknown) => String(error),
          )
          // The first one can be that of a client that is not connected yet.
          expect(error).toMatch(/ECONNRESET|ETIMEDOUT|SELF_SIGNED|ALTNAME/)
          return error
        })
      expect(await errorOf(connect({ port }))).toMatch(
        /check the server, and whether it expects TLS/,
      )
      expect(await errorOf(connect({ port: plain.port, tls: {} }))).toMatch(/check host, port/)
      expect(await errorOf(connect({ port, tls: {} }))).toMatch(/the certificate is not trusted/)
      const ca = await readFile(certificate)
      expect(await errorOf(connect({ port, tls: { ca } }))).toMatch(/is for another host/)
    })

    describe.each([false, true])(
      'a replica that copies all data, with two connections: %s',
      (two) => {
        const option = TWO_CONNECTIONS.get(kind)
        it.skipIf(two && option === undefined)(
          'has no position until it has loaded them, is one follower, and never has the whole history as lag',
          async () => {
            const more = two ? [`--${option}`, 'yes'] : []
            const leader = await start('leader', [...more, '--repl-diskless-sync', 'yes'])
            const replica = await start('replica', [
              ...more,
              ...['--replicaof', `127.0.0.1 ${leader.port}`],
            ])
            const nodes = { leader: leader.admin, replica: replica.admin }
            const ofNodes = redisSource({ nodes, shard: 'cache' })
            const follower = async () =>
              (await ofNodes.read(AbortSignal.timeout(10_000))).shards[0]?.followers[0]
            await eventually(async () =>
              expect(await follower()).toMatchObject({ connected: true }),
            )
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
              const shard = await read(leader.admin)
              for (const [type] of (await leader.admin.info('replication')).matchAll(
                /type=[\w-]+/g,
              )) {
                rows.add(type)
              }
              const [seen, ...others] = shard?.followers ?? []
              expect.soft(others).toEqual([])
              expect.soft(shard?.problem).toBeUndefined()
              if (seen) {
                expect.soft(seen).toMatchObject({ replica: name, connected: true })
                const lag = Number(
                  BigInt(shard?.leaderSeqno ?? 0) -
                    BigInt(seen.appliedSeqno ?? shard?.leaderSeqno ?? 0),
                )
                expect.soft(lag).toBeLessThan(100_000)
                if (seen.appliedSeqno === undefined) synchronizing++
              }
              const itself = await follower()
              expect(seen?.appliedSeqno).toBe(shard?.leaderSeqno)
              expect(itself).toMatchObject({ connected: true, appliedSeqno: shard?.leaderSeqno })
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
