import { jetstream as clientOf, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { jetstream } from '../../servers/jetstream.mjs'
import { freePort } from '../../servers/postgres/processes.mjs'
import { findProgram, type Servers } from '../../servers/servers.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled, useStarted } from '../contract.js'
import { readShard } from '../shared/http-systems.js'

const HOSTS = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5'] as const
type Host = (typeof HOSTS)[number]

/** Servers that each have an address of their own and the same ports, as on machines of their own. */
async function startHosts(servers: Servers) {
  const [port, http, route] = [await freePort(), await freePort(), await freePort()]
  const routes = HOSTS.slice(0, 3)
    .map((each) => `"nats://${each}:${route}"`)
    .join(', ')
  const start = async (host: Host) => {
    const config = `
      server_name: "nats-${host}", server_tags: ["${host}"], listen: "${host}:${port}", http: "${host}:${http}"
      jetstream { store_dir: "data" }
      cluster { name: hosts, listen: "${host}:${route}", routes: [${routes}] }`
    await writeFile(join(await servers.folderOf(host), 'nats.conf'), config)
    const server = await servers.start(host, (await findProgram('nats-server')) ?? '', [
      '-c',
      'nats.conf',
    ])
    await servers.until(
      `${host} has joined the cluster`,
      async () => (await fetch(`http://${host}:${http}/healthz`)).ok,
    )
    return server
  }
  const started = new Map<Host, Awaited<ReturnType<typeof start>>>()
  await Promise.all(HOSTS.slice(0, 3).map(async (host) => started.set(host, await start(host))))
  const use = async <T>(run: (connection: Awaited<ReturnType<typeof connect>>) => Promise<T>) => {
    const connection = await connect({ servers: `${HOSTS[0]}:${port}`, reconnect: false })
    return run(connection).finally(() => connection.close())
  }
  await servers.until('there is a stream', () =>
    use(async (connection) => {
      const { streams } = await jetstreamManager(connection)
      await streams.add({ name: 'ORDERS', subjects: ['orders'], num_replicas: 3 })
      await clientOf(connection).publish('orders', 'x')
      return true
    }),
  )
  return { start, started, use, url: `http://${HOSTS[0]}:${http}` }
}

await describeInstalled(jetstream, () => {
  const hosts = useStarted(startHosts)
  const namesIn = async (source: ReplicationSource) => {
    const { seen, removed = [] } = await readShard(source, 'ORDERS')
    const known = Object.entries(seen).filter(([, { lag, connected }]) => lag === 0 && connected)
    return [...known.map(([name]) => name), ...removed].sort()
  }

  it('finds the other servers from the URL of one', async () => {
    const source = jetstreamSource({ servers: [hosts().url] })
    await eventually(async () => {
      expect(await namesIn(source)).toEqual(['nats-127.0.0.2', 'nats-127.0.0.3', 'nats-127.0.0.4'])
    })
    const { complete, note } = await source.read(AbortSignal.timeout(5_000))
    expect({ complete, note }).toEqual({ complete: true, note: undefined })
  })

  it('reads a server that joins', async () => {
    const source = jetstreamSource({ servers: [hosts().url] })
    await eventually(async () => expect(await namesIn(source)).toHaveLength(3))
    const [, , , joining] = HOSTS
    await hosts().start(joining)
    // It holds nothing of the old stream.
    await eventually(() =>
      hosts().use(async (connection) => {
        const { streams } = await jetstreamManager(connection)
        await streams.add({
          name: 'MORE',
          subjects: ['more'],
          placement: { cluster: 'hosts', tags: [joining] },
        })
      }),
    )
    await eventually(async () => {
      const { shards, complete } = await source.read(AbortSignal.timeout(5_000))
      expect(shards.map(({ shard }) => shard).sort()).toEqual(['MORE', 'ORDERS'])
      expect(complete).toBe(true)
    })
  })
})
