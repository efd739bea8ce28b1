import type {
  ReplicationReading,
  ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { jetstream as clientOf, jetstreamManager, type StreamConfig } from '@nats-io/jetstream'
import { connect as connectTo } from '@nats-io/transport-node'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest'
import { jetstream, JetStreamCluster, newestJetStream } from '../../servers/jetstream.mjs'
import { freePort } from '../../servers/postgres/processes.mjs'
import { findProgram, Servers } from '../../servers/servers.mjs'
import { eventually } from '../../support/eventually.js'
import { describeContract, describeInstalled, useStarted } from '../contract.js'
import { read, readShard, untilSeen } from '../shared/systems.js'

for (const kind of [jetstream, newestJetStream])
  await describeInstalled(kind, () =>
    describeContract(kind, {
      findsLeader: true,
      cannot: { claim: 'a server that was replaced steps down by itself' },
    }),
  )

await describeInstalled(jetstream, () => {
  const cluster = useStarted((servers) => JetStreamCluster.start(servers))
  const connect = async (source = {}): Promise<ReplicationSource> =>
    (await cluster().connect({ source })).source

  /** Creates a stream, which is removed after the test. Returns its name. */
  const addStream = async (name: string, replicas: number, more = {}): Promise<string> => {
    const subjects = 'mirror' in more ? {} : { subjects: [`${name}.>`] }
    await cluster().manage(({ streams }) =>
      streams.add({ name, ...subjects, num_replicas: replicas, ...more }),
    )
    onTestFinished(async () => {
      await cluster().manage(({ streams }) => streams.delete(name))
    })
    return name
  }

  it('reports what a consumer wants and has not received, and what it has not acknowledged', async () => {
    const source = await connect({ consumers: true })
    const stream = await addStream('JOBS', 3)
    await cluster().publish('JOBS.a', 97)
    await cluster().publish('JOBS.rare', 3)
    await cluster().use(async (connection) => {
      const manager = await jetstreamManager(connection)
      const ack_policy = 'explicit'
      await manager.consumers.add(stream, { durable_name: 'worker', ack_policy })
      const filter_subject = 'JOBS.rare'
      await manager.consumers.add(stream, { durable_name: 'rare', ack_policy, filter_subject })
      const worker = await clientOf(connection).consumers.get(stream, 'worker')
      const messages = await worker.fetch({ max_messages: 10, expires: 2000 })
      let count = 0
      for await (const message of messages) if (++count <= 5) await message.ackAck()
    })
    await untilSeen(source, stream, 'consumer/worker', { lag: 95, receiveLag: 90 })
    await untilSeen(source, stream, 'consumer/rare', { lag: 3, receiveLag: 3 })
    await cluster().manage(({ streams }) => streams.purge(stream, { seq: 61 }))
    await untilSeen(source, stream, 'consumer/worker', { receiveLag: 40 })
    // What was purged can stay unacknowledged. It is no more than the 5 that were sent.
    const { seen } = await readShard(source, stream)
    expect(seen['consumer/worker']?.lag).toSatisfy((lag: number) => lag >= 40 && lag <= 45)
  })

  it('is complete without a consumer and a stream that were removed', async () => {
    const source = await connect({ consumers: true })
    const stream = 'BRIEF'
    await cluster().manage(async ({ streams, consumers }) => {
      await streams.add({ name: stream, subjects: ['BRIEF.>'] })
      await consumers.add(stream, { name: 'once' })
    })
    await untilSeen(source, stream, 'consumer/once', { lag: 0 })
    await cluster().manage(({ consumers }) => consumers.delete(stream, 'once'))
    await untilComplete(source, (shards) => {
      expect(shards.find(({ shard }) => shard === stream)?.followers).toEqual([])
    })
    await cluster().manage(({ streams }) => streams.delete(stream))
    await untilComplete(source, (shards) => {
      expect(shards.map(({ shard }) => shard)).not.toContain(stream)
    })
  })

  it('compares a mirror with its upstream, and not with one that was recreated', async () => {
    const source = await connect()
    const upstream = await addStream('UP', 1)
    await addStream('COPY', 1, { mirror: { name: upstream } })
    await addStream('PART', 1, { mirror: { name: upstream, filter_subject: 'UP.rare' } })
    await cluster().publish('UP.a', 50)
    await untilSeen(source, upstream, 'mirror/COPY', { connected: true, lag: 0 })
    expect(Object.keys((await readShard(source, upstream)).seen)).toEqual(['mirror/COPY'])
    await cluster().manage(({ streams }) => streams.delete(upstream))
    await cluster().manage(({ streams }) =>
      streams.add({ name: upstream, subjects: ['UP.>'], num_replicas: 1 }),
    )
    await cluster().publish('UP.a', 70)
    const { seen } = await readShard(source, upstream)
    expect(seen['mirror/COPY']).toMatchObject({
      lag: undefined,
      problem: 'its upstream was recreated, and it still has messages of the old one',
    })
  })

  it('is never complete without the streams of a server that starts, and is afterwards', async () => {
    const source = await connect()
    const [first] = cluster().followers
    const names = Array.from({ length: 40 }, (_, index) => `SINGLE-${index}`)
    const placement = { cluster: 'demo', tags: [first] }
    await cluster().manage(async ({ streams }) => {
      for (const name of names) await streams.add({ name, subjects: [name], placement })
    })
    const missingIn = (shards: Shards) =>
      names.filter((name) => !shards.some(({ shard }) => shard === name))
    await untilComplete(source, (shards) => expect(missingIn(shards)).toEqual([]))
    await cluster().kill(first)
    const { complete, shards } = await read(source)
    expect(complete).toBe(false)
    expect(missingIn(shards)).toEqual(names)
    const ended = new AbortController()
    const restarting = cluster()
      .restart(first)
      .finally(() => ended.abort())
    while (!ended.signal.aborted) {
      const each = await read(source)
      if (each.complete) expect(missingIn(each.shards)).toEqual([])
    }
    await restarting
    await untilComplete(source, (all) => expect(missingIn(all)).toEqual([]))
  })

  it('is complete without a server that was killed and removed from the cluster', async () => {
    const source = await connect()
    const [, second] = cluster().followers
    await untilComplete(source)
    await cluster().kill(second)
    await eventually(async () => {
      const { seen } = await readShard(source, 'ORDERS')
      expect(seen[second]?.connected).toBe(false)
    })
    await cluster().removeServer(second)
    await untilComplete(source, (shards) => {
      const orders = shards.find(({ shard }) => shard === 'ORDERS')
      expect(orders?.followers.map(({ replica }) => replica)).not.toContain(second)
    })
  })
})

await describeInstalled(jetstream, () => {
  let servers: Servers
  beforeEach(async () => {
    servers = await Servers.create()
  })
  afterEach(() => servers.stop())

  /** Adds a stream with one message, as soon as the server can. */
  const addStream = (
    server: { readonly servers: string; readonly user?: string; readonly pass?: string },
    config: { readonly name: string } & Partial<StreamConfig>,
  ) =>
    servers.until('there is a stream', async () => {
      const connection = await connectTo({ ...server, reconnect: false })
      try {
        const { streams } = await jetstreamManager(connection)
        await streams.add({ subjects: [config.name], ...config })
        await clientOf(connection).publish(config.name, 'x')
      } finally {
        await connection.close()
      }
      return true
    })

  it('reads streams of the same name in more than a thousand accounts, at each read', async () => {
    const [port, http] = [await freePort(), await freePort()]
    const accounts = Array.from({ length: 1200 }, (_, i) => `X${i} { jetstream: enabled }`)
    const withUser = (name: string) =>
      `${name} { jetstream: enabled, users: [{ user: ${name}, password: secret }] }`
    const config = `
      listen: "127.0.0.1:${port}", http: "127.0.0.1:${http}", jetstream { store_dir: "data" }
      accounts { ${[...accounts, withUser('A'), withUser('B')].join('\n')} }`
    await startServer(servers, 'single', config)
    for (const user of ['A', 'B'])
      await addStream({ servers: `127.0.0.1:${port}`, user, pass: 'secret' }, { name: 'EVENTS' })
    const source = jetstreamSource({ servers: [`http://127.0.0.1:${http}`] })
    for (let i = 0; i < 20; i++) {
      const { shards } = await read(source)
      expect(shards.map(({ shard }) => shard).sort()).toEqual(['A/EVENTS', 'B/EVENTS'])
    }
  })

  it('finds the other servers from the URL of one, and one that joins', async () => {
    // Each has an address of its own and the same ports, as on machines of their own.
    const [first, second, third, joining] = [2, 3, 4, 5].map((i) => `127.0.0.${i}`) as Four
    const [port, http, route] = [await freePort(), await freePort(), await freePort()]
    const routes = [first, second, third].map((each) => `"nats://${each}:${route}"`).join()
    const start = async (host: string) => {
      const config = `
        server_name: "${host}", server_tags: ["${host}"], listen: "${host}:${port}", http: "${host}:${http}"
        jetstream { store_dir: "data" }
        cluster { name: hosts, listen: "${host}:${route}", routes: [${routes}] }`
      await startServer(servers, host, config)
      const isHealthy = async () => (await fetch(`http://${host}:${http}/healthz`)).ok
      await servers.until(`${host} has joined the cluster`, isHealthy)
    }
    await Promise.all([first, second, third].map(start))
    await addStream({ servers: `${first}:${port}` }, { name: 'ORDERS', num_replicas: 3 })
    const source = jetstreamSource({ servers: [`http://${first}:${http}`] })
    await untilComplete(source, ([orders]) => {
      const { followers = [], removed = [], leaderSeqno } = orders ?? {}
      const current = followers.filter(({ appliedSeqno }) => appliedSeqno === leaderSeqno)
      const names = [...current.map(({ replica }) => replica), ...removed]
      expect(names.sort()).toEqual([first, second, third])
    })
    await start(joining)
    // It holds nothing of the old stream.
    const placement = { cluster: 'hosts', tags: [joining] }
    await addStream({ servers: `${first}:${port}` }, { name: 'MORE', placement })
    await untilComplete(source, (shards) => {
      expect(shards.map(({ shard }) => shard).sort()).toEqual(['MORE', 'ORDERS'])
    })
  })
})

type Four = [string, string, string, string]

async function startServer(servers: Servers, name: string, config: string): Promise<void> {
  await writeFile(join(await servers.folderOf(name), 'nats.conf'), config)
  await servers.start(name, (await findProgram('nats-server')) ?? '', ['-c', 'nats.conf'])
}

type Shards = ReplicationReading['shards']

/** Waits until a reading is complete, and its shards are as expected. */
async function untilComplete(
  source: ReplicationSource,
  check: (shards: Shards) => void = () => undefined,
): Promise<void> {
  await eventually(async () => {
    const { complete, shards } = await read(source)
    expect(complete).toBe(true)
    check(shards)
  })
}
