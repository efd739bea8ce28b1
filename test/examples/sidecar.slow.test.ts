import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { freePort } from '../servers/postgres/processes.mjs'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { listen } from '../support/http.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'
import { openLink, startCluster, write, type PostgresNode } from '../support/postgres.js'
import { isRunning, Program } from '../support/program.js'
import { parsePrometheusText } from '../support/prometheus.js'
import { readText } from '../support/repository.js'

const EXAMPLE = 'docs/examples/sidecar'
const PASSWORD = 'hunter2'
const { cluster, primary } = await startCluster()

const built = await useBuiltPackage()
let folder: string
beforeAll(async () => {
  // As `npm install` in the folder of the sidecar does.
  folder = join(built.folder, EXAMPLE)
  await mkdir(join(folder, 'node_modules'))
  await symlink(
    built.folder,
    join(folder, 'node_modules/opentelemetry-instrumentation-replication-lag'),
  )
  await primary.query(`create role monitor login password '${PASSWORD}' in role pg_monitor`)
  await primary.query(`create role plain login password '${PASSWORD}'`)
  const rules = join(cluster.folder, 'primary/pg_hba.conf')
  const others = await readFile(rules, 'utf8')
  await writeFile(rules, `host all monitor,plain 127.0.0.1/32 scram-sha-256\n${others}`)
  await primary.query('select pg_reload_conf()')
})

const LOGIN = `monitor:${PASSWORD}`

/** Starts the sidecar on free ports. It ends with the test. */
async function start(variables: Record<string, string>, cwd = folder) {
  const [port, healthPort] = await Promise.all([freePort(), freePort()])
  const program = new Program([join(folder, 'sidecar.mjs')], {
    cwd,
    env: {
      OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
      OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
      HEALTH_PORT: String(healthPort),
      ...variables,
    },
  })
  onTestFinished(() => program.stop())
  const request = (path: string) => fetch(`http://127.0.0.1:${healthPort}${path}`)
  return {
    program,
    scrape: async () => {
      const response = await fetch(`http://127.0.0.1:${port}/metrics`)
      return parsePrometheusText(await response.text())
    },
    /** Asks the server of /health. */
    request,
    health: async () => {
      const response = await request('/health')
      return { status: response.status, body: await response.json() }
    },
  }
}

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'replication-lag-sidecar-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

/** Writes a configuration file with a source `orders`, whose password is in a file of its own. */
async function configure(node: PostgresNode, options: object = {}) {
  const path = await temporaryFolder()
  const passwordFile = join(path, 'password')
  await writeFile(passwordFile, `${PASSWORD}\n`)
  const sources = [{ name: 'orders', url: node.url('monitor'), passwordFile }]
  const config = { sources, pollIntervalMillis: 100, ...options }
  await writeFile(join(path, 'config.json'), JSON.stringify(config))
  return { REPLICATION_LAG_CONFIG: join(path, 'config.json') }
}

async function bytesBehind(standby: PostgresNode): Promise<number> {
  return Number((await primary.position()) - (await standby.position()))
}

async function connectionsOf(role: string) {
  return primary.query('select from pg_stat_activity where usename = $1', [role])
}

describe('the sidecar', { timeout: 120_000 }, () => {
  test('reports the true lag to Prometheus and by OTLP, until SIGTERM', async () => {
    const standby = await cluster.startStandby({ name: 'standby_1', of: primary })
    const receiver = await startOtlpReceiver()
    onTestFinished(() => receiver.close())
    const { program, scrape, health, request } = await start({
      ...(await configure(primary)),
      OTEL_SERVICE_NAME: 'lag',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url.replace('/v1/metrics', ''),
      OTEL_METRIC_EXPORT_INTERVAL: '1000',
    })
    await program.untilPrinted(/^Polling postgres:orders\n/m)
    const labels = { shard: 'orders', replica: 'standby_1' }
    const lag = async () => (await scrape()).value('replication_lag_seqno', labels)
    const sent = () => receiver.points('replication_lag_seqno').at(-1)

    await standby.pauseReplay()
    await write(primary)
    expect(await bytesBehind(standby)).toBeGreaterThan(100_000)
    await eventually(async () => {
      const behind = await bytesBehind(standby)
      expect(await lag()).toBe(behind)
      expect(sent()).toMatchObject({
        value: behind,
        attributes: labels,
        resource: { 'service.name': 'lag' },
      })
    })
    await standby.resumeReplay()
    await eventually(async () => {
      expect(await lag()).toBe(0)
      expect(sent()?.value).toBe(0)
    })
    expect(await health()).toEqual({ status: 200, body: { sources: { 'postgres:orders': 'up' } } })
    expect((await request('/other')).status).toBe(404)

    const family = await program.family()
    program.kill('SIGTERM')
    expect(await program.ended).toEqual({ code: 0, signal: null })
    expect(family.filter(isRunning)).toEqual([])
    expect(receiver.refusals).toEqual([])
    await eventually(async () => expect(await connectionsOf('monitor')).toEqual([]))
  })

  test.each(['SIGTERM', 'SIGINT'] as const)('exports once more at %s', async (signal) => {
    await cluster.startStandby({ name: `standby_${signal.toLowerCase()}`, of: primary })
    const receiver = await startOtlpReceiver()
    onTestFinished(() => receiver.close())
    const { program } = await start({
      ...(await configure(primary)),
      OTEL_METRICS_EXPORTER: 'otlp',
      // An empty variable, as templates of manifests have, is not set.
      OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: '',
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    })
    await program.untilPrinted(/^Polling/)
    expect(receiver.requests).toEqual([])
    program.kill(signal)

    expect(await program.ended).toEqual({ code: 0, signal: null })
    expect(receiver.requests).toMatchObject([{ contentType: 'application/json' }])
    expect(receiver.points('replication_source_up')).toMatchObject([{ value: 1 }])
    expect(receiver.points('replication_lag_seqno')).toHaveLength(1)
    expect(program.stderr).toBe('')
  })

  test('sends by gRPC if it is told to', async () => {
    const paths: unknown[] = []
    const collector = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void collector.close())
    collector.on('stream', (stream, headers) => {
      paths.push(headers[':path'])
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc' },
        { waitForTrailers: true },
      )
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      // A message without fields: everything was accepted.
      stream.resume().end(Buffer.alloc(5))
    })
    await once(collector, 'listening')
    const { port } = collector.address() as AddressInfo
    const { program } = await start({
      ...(await configure(primary)),
      OTEL_METRICS_EXPORTER: 'otlp',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    })
    await program.untilPrinted(/^Polling/)
    program.kill('SIGTERM')
    expect(await program.ended).toEqual({ code: 0, signal: null })
    expect(program.stderr).toBe('')
    expect(paths).toEqual(['/opentelemetry.proto.collector.metrics.v1.MetricsService/Export'])
  })

  test('ends in time when the Collector does not answer', async () => {
    const collector = await listen(() => undefined)
    onTestFinished(() => collector.close())
    const { program } = await start({
      ...(await configure(primary)),
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
    })
    await program.untilPrinted(/^Polling/)
    program.kill('SIGTERM')
    expect(await program.ended).toEqual({ code: 0, signal: null })
  })

  test('no longer has the series of a follower that became the leader', async () => {
    const old = await cluster.startPrimary({ name: 'old' })
    const next = await cluster.startStandby({ name: 'next', of: old })
    const link = await openLink(old)
    const url = `postgres://postgres@127.0.0.1:${link.port}/postgres`
    const config = await configure(old, { sources: [{ name: 'orders', url }] })
    const { program, scrape } = await start(config)
    await program.untilPrinted(/^Polling/)
    const series = async () => (await scrape()).find('replication_lag_seqno', { replica: 'next' })
    await eventually(async () => expect(await series()).toHaveLength(1))
    await old.stop()
    await next.promote()
    link.moveTo(next.port)
    await eventually(async () => expect(await series()).toEqual([]))
    await eventually(async () => expect((await scrape()).value('replication_source_up')).toBe(1))
  })

  test('takes the options of its configuration file', async () => {
    const config = await configure(primary, { positions: true, lagSeconds: false })
    await cluster.startStandby({ name: 'standby_2', of: primary })
    const { scrape } = await start(config)
    await eventually(async () => {
      const { find } = await scrape()
      expect(find('replication_leader_seqno')).toHaveLength(1)
      expect(find('replication_lag_seqno')).toHaveLength(1)
      expect(find('replication_lag_seconds')).toEqual([])
    })
  })

  test('reads the files of kubernetes.yaml', async () => {
    const [configMap, secret] = parseAllDocuments(readText(`${EXAMPLE}/kubernetes.yaml`))
    const mounted = await temporaryFolder()
    const text = String(configMap?.getIn(['data', 'replication-lag.json']))
      .replaceAll('/etc/replication-lag/passwords', mounted)
      .replaceAll('orders-db:5432', `127.0.0.1:${primary.port}`)
    await writeFile(join(mounted, 'replication-lag.json'), text)
    expect(secret?.getIn(['stringData', 'orders'])).toBeTypeOf('string')
    await writeFile(join(mounted, 'orders'), PASSWORD)
    const { program } = await start({
      REPLICATION_LAG_CONFIG: join(mounted, 'replication-lag.json'),
    })
    await program.untilPrinted(/^Polling postgres:orders\n/)
  })

  test('stays up whatever happens to the databases, once one was read', async () => {
    const node = await cluster.startPrimary({ name: 'lonely' })
    const port = await freePort()
    const gone = { name: 'gone', url: `postgres://monitor:${PASSWORD}@127.0.0.1:${port}` }
    const orders = { name: 'orders', url: node.url('postgres') }
    const { program, scrape, health } = await start(
      await configure(node, { sources: [gone, orders] }),
    )
    await program.untilPrinted(/^Polling postgres:gone, postgres:orders\n/)
    const states = async () => {
      const { find } = await scrape()
      const samples = find('replication_source_up')
      return Object.fromEntries(
        samples.map(({ labels, value }) => [String(labels['source']), value]),
      )
    }
    await eventually(async () =>
      expect(await states()).toEqual({ 'postgres:gone': 0, 'postgres:orders': 1 }),
    )
    await node.kill()
    await eventually(async () =>
      expect(await states()).toEqual({ 'postgres:gone': 0, 'postgres:orders': 0 }),
    )
    expect(await health()).toEqual({
      status: 200,
      body: { sources: { 'postgres:gone': 'down', 'postgres:orders': 'down' } },
    })
    await node.start()
    await eventually(async () => expect(await states()).toMatchObject({ 'postgres:orders': 1 }))
    expect(program.stderr).toContain(
      `"postgres:gone" cannot be read: PostgreSQL at 127.0.0.1:${port}`,
    )
    expect(program.stderr).not.toContain(PASSWORD)
  })
})

describe('the sidecar ends with one line when', { timeout: 60_000 }, () => {
  /** Runs the sidecar until it ends, and returns the line. */
  async function lineOf(variables: Record<string, string>, cwd?: string) {
    const { program } = await start(variables, cwd)
    expect(await program.ended).toEqual({ code: 1, signal: null })
    expect(program.stdout).toBe('')
    expect(program.stderr).toMatch(/^[^\n]+\n$/)
    expect(program.stderr).not.toContain(PASSWORD)
    return program.stderr
  }
  const poll = (url: string) => ({ REPLICATION_LAG_SOURCES: `orders=${url}` })

  test('nothing is configured', async () => {
    expect(await lineOf({})).toMatch(/^nothing to poll: set REPLICATION_LAG_SOURCES, as in orders=/)
  })

  test('the password is wrong', async () => {
    const line = await lineOf(poll(primary.url(`monitor:not-${PASSWORD}`)))
    expect(line).toMatch(/role monitor: 28P01: .*: check the password/)
  })

  test('the password is missing', async () => {
    const line = await lineOf(poll(primary.url('monitor')))
    expect(line).toMatch(/role monitor: .*password/)
  })

  test('the role lacks rights', async () => {
    await cluster.startStandby({ name: 'hidden', of: primary })
    const line = await lineOf(poll(primary.url(`plain:${PASSWORD}`)))
    expect(line).toMatch(/GRANT pg_monitor TO plain$/m)
  })

  test('no server listens', async () => {
    const line = await lineOf(poll(`postgres://monitor:${PASSWORD}@127.0.0.1:${await freePort()}`))
    expect(line).toMatch(/ECONNREFUSED.*: check host and port, and whether the server runs/)
  })

  test('the host does not exist', async () => {
    const line = await lineOf(poll(`postgres://monitor:${PASSWORD}@nowhere.invalid`))
    expect(line).toMatch(/: check the name of the host$/m)
  })

  test('the scheme is unknown', async () => {
    const line = await lineOf(poll(`mongodb://monitor:${PASSWORD}@db`))
    expect(line).toMatch(/orders: unknown scheme mongodb, expected one of postgres/)
  })

  test('the configuration file does not exist', async () => {
    const line = await lineOf({ REPLICATION_LAG_CONFIG: '/none/lag.json' })
    expect(line).toMatch(/REPLICATION_LAG_CONFIG, \/none\/lag.json: ENOENT/)
  })

  test('the configuration file is not valid JSON', async () => {
    const path = join(await temporaryFolder(), 'config.json')
    await writeFile(path, `{ "sources": [{ "url": "postgres://monitor:${PASSWORD}@db" }`)
    const line = await lineOf({ REPLICATION_LAG_CONFIG: path })
    expect(line).toMatch(/config.json: it is not valid JSON/)
  })

  test.each([['OTEL_EXPORTER_PROMETHEUS_PORT'], ['HEALTH_PORT']])(
    'the port of %s is taken, and cannot be one',
    async (variable) => {
      const server = await listen(() => undefined)
      onTestFinished(() => server.close())
      const { port } = new URL(server.url)
      const taken = await lineOf({ ...poll(primary.url(LOGIN)), [variable]: port })
      expect(taken).toBe(
        `set ${variable} to another port: listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`,
      )
      const invalid = await lineOf({ ...poll(primary.url(LOGIN)), [variable]: '65536' })
      expect(invalid).toMatch(`set ${variable} to another port: options.port should be`)
    },
  )

  test('the client package is missing', async () => {
    // Node looks for packages in all folders above, so a temporary one may have them.
    const line = await lineOf(poll(primary.url(LOGIN)), '/')
    expect(line).toMatch(/orders: the package pg is missing. Install it: npm install pg$/m)
  })

  test('the exporter is unknown', async () => {
    const line = await lineOf({
      ...poll(primary.url(LOGIN)),
      OTEL_METRICS_EXPORTER: 'prometheus,none',
    })
    expect(line).toMatch(/^OTEL_METRICS_EXPORTER: expected prometheus, otlp or both, got none$/m)
  })

  test('the protocol of OTLP is unknown', async () => {
    const variables = { OTEL_METRICS_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'http' }
    const line = await lineOf({ ...poll(primary.url(LOGIN)), ...variables })
    expect(line).toMatch(/^OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc, http\/json or http/m)
  })
})

test('the sidecar logs each source when none can be read', async () => {
  const gone = `postgres://monitor:${PASSWORD}@127.0.0.1:${await freePort()}`
  const { program } = await start({
    REPLICATION_LAG_SOURCES: `a=${gone} b=${primary.url('monitor:wrong')}`,
  })
  expect(await program.ended).toEqual({ code: 1, signal: null })
  expect(program.stderr).toMatch(/"postgres:a" cannot be read.*ECONNREFUSED.*\n/)
  expect(program.stderr).toMatch(/"postgres:b" cannot be read.*check the password.*\n/)
  expect(program.stdout).toBe('')
})
