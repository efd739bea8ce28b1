import { Redis } from 'ioredis'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest'
import { findBlocks } from '../../docs/markdown.js'
import { freePort } from '../../servers/postgres/processes.mjs'
import { redis } from '../../servers/redis.mjs'
import { Servers, type Server } from '../../servers/servers.mjs'
import { useBuiltPackage } from '../../support/built-package.js'
import { eventually } from '../../support/eventually.js'
import { Program } from '../../support/program.js'
import { readText } from '../../support/repository.js'
import { describeInstalled } from '../contract.js'

// Runs the programs of docs/sources/redis.md as they are printed there. Only the names of the hosts are replaced, by
// addresses of this machine, where servers listen on the usual port.

const PAGE = 'docs/sources/redis.md'
const programs = findBlocks({ path: PAGE, text: readText(PAGE) }).filter(
  ({ language }) => language === 'js',
)
const built = await useBuiltPackage()
const addressOf = (number: number) => `127.0.7.${number}`

let servers: Servers
beforeEach(async () => {
  servers = await Servers.create()
})
afterEach(() => servers.stop())

async function start(number: number, more: readonly (string | number)[]) {
  const { program, parameters } = await redis.command()
  const host = addressOf(number)
  const run = () =>
    servers.start(`redis-${number}`, program, [
      ...[...parameters, '--bind', host, '--save', '', '--appendonly', 'no'],
      ...['--repl-diskless-sync-delay', 0, ...more],
    ])
  const node = { server: await run(), admin: new Redis({ host, retryStrategy: () => 50 }) }
  node.admin.on('error', () => undefined)
  onTestFinished(() => node.admin.disconnect())
  await eventually(() => node.admin.ping())
  return {
    ...node,
    host,
    async restart(): Promise<Server> {
      const server = await run()
      await eventually(() => node.admin.ping())
      return server
    },
  }
}

/** Runs a program of the page, and returns a function that waits until the lines of its metrics are as expected. */
async function runProgram(index: number, env: Record<string, string> = {}) {
  const port = await freePort()
  const text = (programs[index]?.text ?? '').replace(/redis-(\d)\.example/g, '127.0.7.$1')
  const file = join(built.folder, `page-${port}.mjs`)
  await writeFile(file, text)
  const program = new Program([file], {
    cwd: built.folder,
    env: { ...env, OTEL_EXPORTER_PROMETHEUS_PORT: `${port}` },
  })
  onTestFinished(() => program.stop())
  const untilScraped = (metric: string, expected: Record<string, number>) =>
    eventually(async () => {
      const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
      const lines = [
        ...page.matchAll(new RegExp(`^${metric}\\{shard="(.*?)",replica="(.*?)".*\\} (.*)$`, 'gm')),
      ]
      const found = lines.map(([, shard, replica, value]) => [`${shard} ${replica}`, Number(value)])
      expect(Object.fromEntries(found)).toEqual(expected)
    })
  return { program, untilScraped }
}

await describeInstalled(redis, () => {
  it('has a program that follows a failover', async () => {
    const users = ['--user', 'monitor', 'on', '>secret', '+info']
    const first = await start(1, users)
    const follow = ['--replicaof', `${first.host} 6379`]
    const [second, third] = [
      await start(2, [...users, ...follow]),
      await start(3, [...users, ...follow]),
    ]
    const { program, untilScraped } = await runProgram(0, { REDIS_PASSWORD: 'secret' })
    const lag = (...hosts: string[]) =>
      untilScraped(
        'replication_lag_seqno',
        Object.fromEntries(hosts.map((host) => [`cache ${host}`, 0])),
      )
    await lag(second.host, third.host)

    await first.server.kill()
    await second.admin.replicaof('NO', 'ONE')
    await third.admin.replicaof(second.host, 6379)
    await untilScraped('replication_follower_connected', {
      [`cache ${first.host}`]: 0,
      [`cache ${third.host}`]: 1,
    })
    await first.restart()
    await first.admin.replicaof(second.host, 6379)
    await lag(first.host, third.host)
    const logged = program.stderr.split('\n').filter((line) => line !== '')
    expect(logged.join('\n')).toMatch(/^\S+ source "redis:cache": follower "127\.0\.7\.1" .*$/)
  })

  it('has a program for a cluster, which follows a failover of one shard', async () => {
    const nodes = await Promise.all(
      [1, 2, 3, 4, 5, 6].map((number) =>
        start(number, [
          '--cluster-enabled',
          'yes',
          '--cluster-node-timeout',
          1000,
          '--cluster-announce-ip',
          addressOf(number),
        ]),
      ),
    )
    const [first, ...others] = nodes as [(typeof nodes)[0], ...typeof nodes]
    for (const { host } of others) await first.admin.cluster('MEET', host, 6379)
    await eventually(async () => {
      for (const { admin } of nodes) {
        expect(await admin.cluster('INFO')).toContain('cluster_known_nodes:6')
      }
    })
    const bounds = [0, 5461, 10923, 16384]
    for (const [i, { admin }] of nodes.slice(0, 3).entries()) {
      await admin.call('CLUSTER', 'ADDSLOTSRANGE', bounds[i] ?? 0, (bounds[i + 1] ?? 0) - 1)
      const id = await admin.call('CLUSTER', 'MYID')
      await eventually(() => nodes[i + 3]?.admin.call('CLUSTER', 'REPLICATE', String(id)))
    }
    await eventually(async () => {
      for (const { admin } of nodes)
        expect(await admin.cluster('INFO')).toContain('cluster_state:ok')
    })
    const { untilScraped } = await runProgram(1)
    const followers = (firstShard: string, value: number) => ({
      [`cache-1 ${firstShard}`]: value,
      'cache-2 127.0.7.5': value,
      'cache-3 127.0.7.6': value,
    })
    await untilScraped('replication_lag_seqno', followers('127.0.7.4', 0))

    await first.server.kill()
    await untilScraped('replication_follower_connected', {
      ...followers('127.0.7.1', 1),
      'cache-1 127.0.7.1': 0,
    })
    await first.restart()
    await untilScraped('replication_follower_connected', followers('127.0.7.1', 1))
    await untilScraped('replication_lag_seqno', followers('127.0.7.1', 0))
  })
})
