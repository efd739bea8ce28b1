import type {
  ReplicationReading,
  ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { jetstream as clientOf, jetstreamManager } from '@nats-io/jetstream'
import { connect as connectTo } from '@nats-io/transport-node'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { jetstream, JetStreamCluster } from '../../servers/jetstream.mjs'
import { freePort } from '../../servers/postgres/processes.mjs'
import { findProgram, Servers } from '../../servers/servers.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled, useStarted } from '../contract.js'
import { readShard, untilSeen } from '../shared/http-systems.js'

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

  it('reports what a consumer has not received, and what it has not acknowledged', async () => {
    const source = await connect({ consumers: true })
    const stream = await addStream('JOBS', 3)
    await cluster().publish('JOBS.a', 100)
    await cluster().use(async (connection) => {
      const manager = await jetstreamManager(connection)
      await manager.consumers.add(stream, { durable_name: 'worker', ack_policy: 'explicit' })
      const worker = await clientOf(connection).consumers.get(stream, 'worker')
      const messages = await worker.fetch({ max_messages: 10, expires: 2000 })
      let count = 0
      for await (const message of messages) if (++count <= 5) await message.ackAck()
    })
    await untilSeen(source, stream, 'consumer/worker', { lag: 95, receiveLag: 90 })
    await cluster().manage(({ streams }) => streams.purge(stream, { seq: 61 }))
    await untilSeen(source, stream, 'consumer/worker', { receiveLag: 40 })
    // What was purged can stay unacknowledged. It is no more than the 5 that were sent.
    const { seen } = await readShard(source, stream)
    expect(seen['consumer/worker']?.lag).toSatisfy((lag: number) => lag >= 40 && lag <= 45)
  })

  it('counts only the messages that a filtered consumer wants', async () => {
    const source = await connect({ consumers: true })
    const stream = await addStream('MIXED', 3)
    await cluster().manage(({ consumers }) =>
      consumers.add(stream, {
        durable_name: 'rare',
        ack_policy: 'explicit',
        filter_subject: 'MIXED.rare',
      }),
    )
    await cluster().publish('MIXED.often', 50)
    await cluster().publish('MIXED.rare', 3)
    await cluster().publish('MIXED.often', 50)
    await untilSeen(source, stream, 'consumer/rare', { lag: 3, receiveLag: 3 })
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
    await eventually(async () => {
      const { shards, complete } = await source.read(AbortSignal.timeout(5_000))
      expect(shards.find(({ shard }) => shard === stream)?.followers).toEqual([])
      expect(complete).toBe(true)
    })
    await cluster().manage(({ streams }) => streams.delete(stream))
    await eventually(async () => {
      const { shards, complete } = await source.read(AbortSignal.timeout(5_000))
      expect(shards.map(({ shard }) => shard)).not.toContain(stream)
      expect(complete).toBe(true)
    })
  })

  it('reports 0 for followers of a stream that was purged', async () => {
    const source = await connect()
    const stream = await addStream('PURGED', 3)
    await cluster().publish('PURGED.a', 20)
    await cluster().manage(({ streams }) => streams.purge(stream))
    await eventually(async () => {
      const { leaderSeqno, seen } = await readShard(source, stream)
      expect(leaderSeqno).toBe(20n)
      expect(Object.values(seen).map(({ lag }) => lag)).toEqual([0, 0])
    })
  })

  it('finds another epoch in a stream that was recreated', async () => {
    const source = await connect()
    const stream = await addStream('AGAIN', 3)
    await cluster().publish('AGAIN.a', 20)
    const before = await readShard(source, stream)
    await cluster().manage(({ streams }) => streams.delete(stream))
    await cluster().manage(({ streams }) =>
      streams.add({ name: stream, subjects: ['AGAIN.>'], num_replicas: 3 }),
    )
    await cluster().publish('AGAIN.a', 5)
    await eventually(async () => {
      const after = await readShard(source, stream)
      expect(after.leaderSeqno).toBe(5n)
      expect(after.epoch).not.toBe(before.epoch)
      expect(Object.values(after.seen).map(({ lag }) => lag)).toEqual([0, 0])
    })
  })

  it('reports a stream of one replica, which has no followers', async () => {
    const stream = await addStream('SINGLE', 1)
    await cluster().publish('SINGLE.a', 3)
    const source = await connect({ streams: [stream] })
    const read = () => source.read(AbortSignal.timeout(5_000))
    await eventually(async () => expect((await read()).complete).toBe(true))
    expect(await read()).toEqual({
      shards: [
        {
          shard: 'SINGLE',
          leaderSeqno: 3n,
          epoch: expect.any(String) as string,
          followers: [],
          removed: [expect.stringMatching(/^nats_\d$/)],
        },
      ],
      complete: true,
    })
  })

  it('reports a server that hangs as disconnected, without a position', async () => {
    const source = await connect()
    const [first] = cluster().followers
    const problem = expect.stringMatching(/cannot be read: http:.*no answer in time/) as string
    cluster().freezeServer(first)
    try {
      await untilSeen(source, 'ORDERS', first, { connected: false, lag: undefined, problem })
    } finally {
      await cluster().thawServer(first)
    }
    await untilSeen(source, 'ORDERS', first, { connected: true, lag: 0 })
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
})

await describeInstalled(jetstream, () => {
  const cluster = useStarted((servers) => JetStreamCluster.start(servers))

  it('reports no lag for a stream without a leader', async () => {
    const { source } = await cluster().connect()
    const [first, second] = cluster().followers
    await cluster().kill(first)
    await cluster().kill(second)
    // The leader leads until it has missed the others for ten seconds.
    const { seen } = await readShard(source, 'ORDERS')
    const lost = { connected: false, lag: undefined }
    expect(seen).toMatchObject({ [first]: lost, [second]: lost })
    const isRefused = () =>
      expect(source.read(AbortSignal.timeout(5_000))).rejects.toThrow(
        /no stream can be read: ORDERS: it has no leader: .*; http:\/\/127\.0\.0\.1/,
      )
    await vi.waitFor(isRefused, { timeout: 60_000, interval: 500 })
  })
})

await describeInstalled(jetstream, () => {
  const cluster = useStarted((servers) => JetStreamCluster.start(servers))
  const read = (source: ReplicationSource) => source.read(AbortSignal.timeout(5_000))

  it('is never complete without the streams of a server that starts, and is afterwards', async () => {
    const { source } = await cluster().connect()
    const [first] = cluster().followers
    const names = Array.from({ length: 40 }, (_, index) => `SINGLE-${index}`)
    const placement = { cluster: 'demo', tags: [first] }
    await cluster().manage(async ({ streams }) => {
      for (const name of names) await streams.add({ name, subjects: [name], placement })
    })
    const missingIn = ({ shards }: ReplicationReading) =>
      names.filter((name) => !shards.some(({ shard }) => shard === name))
    await eventually(async () => expect(missingIn(await read(source))).toEqual([]))
    await cluster().kill(first)
    const { complete, ...reading } = await read(source)
    expect(complete).toBe(false)
    expect(missingIn(reading)).toEqual(names)
    const ended = new AbortController()
    const restarting = cluster()
      .restart(first)
      .finally(() => ended.abort())
    while (!ended.signal.aborted) {
      const each = await read(source)
      if (each.complete) expect(missingIn(each)).toEqual([])
    }
    await restarting
    await eventually(async () => {
      const each = await read(source)
      expect(each.complete).toBe(true)
      expect(missingIn(each)).toEqual([])
    })
  })

  it('begins a new history when a stream that is kept in memory has started again at 0', async () => {
    const { source } = await cluster().connect()
    const [first] = cluster().followers
    await cluster().manage(({ streams }) =>
      streams.add({
        name: 'MEMORY',
        subjects: ['memory'],
        storage: 'memory',
        placement: { cluster: 'demo', tags: [first] },
      }),
    )
    await cluster().publish('memory', 30)
    const before = await readShard(source, 'MEMORY')
    await cluster().kill(first)
    await cluster().restart(first)
    await cluster().publish('memory', 2)
    await eventually(async () => {
      const { leaderSeqno, epoch } = await readShard(source, 'MEMORY')
      expect(leaderSeqno).toBe(2n)
      expect(epoch).toBe(`${before.epoch}/1`)
    })
  })

  it('is complete without a server that was killed and removed from the cluster', async () => {
    const { source } = await cluster().connect()
    const [, second] = cluster().followers
    await eventually(async () => expect((await read(source)).complete).toBe(true))
    await cluster().kill(second)
    await eventually(async () => {
      const { seen } = await readShard(source, 'ORDERS')
      expect(seen[second]?.connected).toBe(false)
    })
    await cluster().removeServer(second)
    await eventually(async () => {
      const { complete, shards } = await read(source)
      expect(complete).toBe(true)
      const orders = shards.find(({ shard }) => shard === 'ORDERS')
      expect(orders?.followers.map(({ replica }) => replica)).not.toContain(second)
    })
  })
})

await describeInstalled(jetstream, () => {
  it('distinguishes streams of the same name in different accounts', async () => {
    const { urls, publish } = await startAccounts()
    await publish('a', 3)
    await publish('b', 7)
    const source = jetstreamSource({ servers: urls, consumers: true })
    const { shards } = await source.read(AbortSignal.timeout(5_000))
    const positions = shards.map(({ shard, leaderSeqno }) => [shard, leaderSeqno])
    expect(Object.fromEntries(positions)).toEqual({ 'A/EVENTS': 3n, 'B/EVENTS': 7n })
  })
})

/** Starts one server with two accounts, each with a stream. */
async function startAccounts() {
  const servers = await Servers.create()
  onTestFinished(() => servers.stop())
  const [port, monitoringPort] = [await freePort(), await freePort()]
  const config = `
    listen: "127.0.0.1:${port}"
    http: "127.0.0.1:${monitoringPort}"
    jetstream { store_dir: "data" }
    accounts {
      A { jetstream: enabled, users: [{ user: a, password: a }] }
      B { jetstream: enabled, users: [{ user: b, password: b }] }
    }`
  await writeFile(join(await servers.folderOf('single'), 'nats.conf'), config)
  await servers.start('single', (await findProgram('nats-server')) ?? '', ['-c', 'nats.conf'])
  const publish = async (user: string, count: number) => {
    const connection = await servers.until('the server answers', () =>
      connectTo({ servers: `127.0.0.1:${port}`, user, pass: user, reconnect: false }),
    )
    const { streams } = await jetstreamManager(connection)
    await streams.add({ name: 'EVENTS', subjects: ['events'] })
    for (let i = 0; i < count; i++) await clientOf(connection).publish('events', 'x')
    await connection.close()
  }
  return { urls: [`http://127.0.0.1:${monitoringPort}`], publish }
}
