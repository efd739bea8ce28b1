import { diag, metrics } from '@opentelemetry/api'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { provide } from '../support/attachments.js'
import { eventually } from '../support/eventually.js'
import { startCluster } from '../support/postgres.js'
import { setUpRegister } from '../support/register.js'
import { TestReader } from '../support/test-reader.js'

const { cluster, primary } = await startCluster()

const { logged, register } = setUpRegister()

/** Sets the global meter provider, as an SDK does when it starts. */
function startSdk(): TestReader {
  const reader = new TestReader()
  metrics.setGlobalMeterProvider(provide(reader))
  return reader
}

async function writeConfig(config: unknown): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'replication-lag-config-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'replication-lag.json')
  await writeFile(path, typeof config === 'string' ? config : JSON.stringify(config))
  return path
}

/** Listens on a free port until the end of the test. */
async function listen(onConnection: (socket: Socket) => void): Promise<number> {
  const server = createServer(onConnection).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Answers each command like a Redis that says little of itself. */
function answer(socket: Socket, commands: Buffer): void {
  const count = commands.toString().split(/^\*\d/m).length - 1
  socket.write('$10\r\nrole:slave\r\n'.repeat(count))
}

describe('register', () => {
  test('does nothing and says so at debug level while neither variable is set', async () => {
    const { instrumentation } = await register({})
    expect(instrumentation).toBeUndefined()
    expect(logged.messages).toEqual([
      expect.stringMatching(/^debug: .*neither REPLICATION_LAG_SOURCES nor/),
    ])
  })

  test('reports the sources through the global meter provider that is set later', async () => {
    await cluster.startStandby({ name: 'standby_1', of: primary })
    const url = primary.url()
    await register({ REPLICATION_LAG_SOURCES: ` orders=${url}\n copy=${url}?sslmode=disable` })
    const reader = startSdk()
    await eventually(async () => {
      expect(await reader.values()).toMatchObject({
        'replication_lag_seqno{orders,standby_1}': 0,
        'replication_lag_seqno{copy,standby_1}': 0,
        'replication_source_up{postgres:orders}': 1,
        'replication_source_up{postgres:copy}': 1,
      })
    })
    expect(logged.matching('warn:')).toEqual([])
    expect(logged.matching('error:')).toEqual([])
  })

  test('takes sources, options and the file of a password from a configuration file', async () => {
    await primary.query("create role watcher login password 'p@ss/w:rd' in role pg_monitor")
    const passwordFile = await writeConfig('p@ss/w:rd\n')
    const sources = [{ name: 'orders', url: primary.url('watcher'), passwordFile }]
    const path = await writeConfig({ sources, positions: true, pollIntervalMillis: 50 })
    await register({ REPLICATION_LAG_CONFIG: path })
    const reader = startSdk()
    await cluster.startStandby({ name: 'standby_2', of: primary })
    await eventually(async () => {
      const values = await reader.values()
      expect(values).toHaveProperty(['replication_leader_seqno{orders}'])
      expect(values).toHaveProperty(['replication_lag_seqno{orders,standby_2}'])
    })
  })

  test('warns after a while if there is no SDK', async () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    await register({ REPLICATION_LAG_SOURCES: 'orders=postgres://monitor@db.example' })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(logged.matching('warn:')).toEqual([expect.stringContaining('nothing is reported')])
  })

  test('prints what is wrong if the application has set no logger, and sets none', async () => {
    diag.disable()
    const setLogger = vi.spyOn(diag, 'setLogger')
    const print = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    onTestFinished(() => {
      setLogger.mockRestore()
      print.mockRestore()
    })
    await register({ REPLICATION_LAG_SOURCES: 'orders' })
    expect(print.mock.calls).toEqual([
      [expect.stringMatching(/-lag: entry 1 of REPLICATION_LAG_S/)],
    ])
    await register({})
    expect(print.mock.calls).toHaveLength(1)
    expect(setLogger.mock.calls).toEqual([])
  })

  test('polls nothing and says so once at info level with OTEL_SDK_DISABLED', async () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const { instrumentation } = await register({
      OTEL_SDK_DISABLED: 'true',
      REPLICATION_LAG_SOURCES: 'orders=postgres://monitor@db.example',
    })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(instrumentation?.getConfig().enabled).toBe(false)
    expect(logged.messages).toEqual([expect.stringMatching(/^info: .*OTEL_SDK_DISABLED is set/)])
  })

  test.each(['/usr/bin/npm', '/lib/node_modules/npm/bin/npm-cli.js', '/lib/npx-cli.js', 'yarn.js'])(
    'does nothing in a package manager, and shuts down its SDK: %s',
    async (path) => {
      vi.useFakeTimers()
      onTestFinished(() => void vi.useRealTimers())
      const { argv } = process
      process.argv = [process.execPath, path, 'start']
      onTestFinished(() => void (process.argv = argv))
      const { instrumentation } = await register({ REPLICATION_LAG_SOURCES: 'a=etcd+http://a' })
      expect(instrumentation).toBeUndefined()
      expect(logged.messages).toEqual([expect.stringMatching(/^debug: .* has nothing to report/)])
      // It may be imported after this module.
      const reader = startSdk()
      await vi.advanceTimersByTimeAsync(1000)
      await expect(reader.collect()).rejects.toThrow('MetricReader is shutdown')
    },
  )
})

describe('a source whose server cannot be reached', () => {
  test.each([
    ['postgres', '', 'postgres:a', /check host and port/],
    ['postgresql', '/orders', 'postgres:a', /check host and port/],
    ['redis', '', 'redis:a', /ECONNREFUSED/],
    ['rediss', '', 'redis:a', /ECONNREFUSED/],
    ['mariadb', '', 'mariadb:a', /check host and port/],
    ['mysql', '?ssl=true', 'mysql:a', /check host and port/],
    ['nats+http', '?streams=ORDERS&consumers=true', 'jetstream:a', /ECONNREFUSED/],
    ['nats+https', '', 'jetstream:a', /ECONNREFUSED/],
    ['etcd+http', '', 'etcd:a', /ECONNREFUSED/],
    ['etcd+https', '', 'etcd:a', /ECONNREFUSED/],
    ['kafka', '?groups=billing', 'kafka:a', /ECONNREFUSED/],
    ['kafka', '?groups=b&topics=t&ssl=true&mechanism=scram-sha-256', 'kafka:a', /ECONNREFUSED/],
  ])('is down, and the log says why: %s://…%s', async (scheme, query, source, reason) => {
    const port = await freePort()
    const url = `${scheme}://monitor:hunter2@127.0.0.1:${port}${query}`
    await register({ REPLICATION_LAG_SOURCES: `a=${url}` })
    const reader = startSdk()
    await eventually(async () => {
      expect(await reader.values()).toMatchObject({ [`replication_source_up{${source}}`]: 0 })
    })
    expect(logged.matching('error:').join()).toMatch(reason)
    expect(logged.messages.join()).not.toContain('hunter2')
  })

  test('is connected to again at the next read', async () => {
    const connections: Socket[] = []
    const port = await listen((socket) => {
      connections.push(socket)
      // It ends the first connection without an answer, and answers on the others.
      if (connections.length === 1) socket.once('data', () => socket.end())
      else socket.on('data', (data) => answer(socket, data)).on('end', () => socket.end())
    })
    const sources = [{ name: 'a', url: `redis://127.0.0.1:${port}` }]
    await register({
      REPLICATION_LAG_CONFIG: await writeConfig({ sources, pollIntervalMillis: 20 }),
    })
    startSdk()
    await eventually(() => expect(logged.matching('master_replid is missing')).not.toEqual([]))
    connections.at(-1)?.destroy()
    await eventually(() => expect(connections.length).toBeGreaterThan(2))
  })
})

test('an invalid configuration is one error in the log', async () => {
  const { instrumentation } = await register({ REPLICATION_LAG_SOURCES: 'a=mongodb://u:secret@db' })
  expect(instrumentation).toBeUndefined()
  expect(logged.messages).toEqual([
    expect.stringMatching(/^error: .*a: unknown scheme mongodb, expected one of postgres/),
  ])
})
