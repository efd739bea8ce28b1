import { diag } from '@opentelemetry/api'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { makeFolder } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { listen, parsePrometheusText } from '../support/http.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'
import { createLogin, startCluster, write } from '../support/postgres.js'

/** Runs the command in this process until the end of the test, so that its coverage counts. One at a time. */
function runCommand(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  let end: (code: number) => void = () => undefined
  /** Resolves with the exit code. */
  const ended = new Promise<number>((resolve) => (end = resolve))
  const command = { stdout: '', stderr: '', ended }
  vi.resetModules()
  for (const name of ['REPLICATION_LAG_SOURCES', 'REPLICATION_LAG_CONFIG'])
    vi.stubEnv(name, undefined)
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  const { argv } = process
  process.argv = ['node', 'replication-lag', ...args]
  for (const stream of ['stdout', 'stderr'] as const) {
    vi.spyOn(process[stream], 'write').mockImplementation((text, done?: unknown) => {
      command[stream] += String(text)
      if (typeof done === 'function') queueMicrotask(done as () => void)
      return true
    })
  }
  vi.spyOn(process, 'exit').mockImplementation((code) => {
    end(Number(code ?? 0))
    return undefined as never
  })
  const timers = vi.spyOn(globalThis, 'setInterval').mock.results
  onTestFinished(() => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(signal)
    for (const { value } of timers) clearInterval(value as NodeJS.Timeout)
    vi.restoreAllMocks()
    process.stdout.removeAllListeners('error')
    process.argv = argv
    vi.unstubAllEnvs()
    diag.disable()
  })
  void import('../../src/cli/index.js')
  return command
}

const PASSWORD = 'hunter2'
const { cluster, primary } = await startCluster()
await createLogin(cluster, primary, 'monitor', PASSWORD)

const ORDERS = `orders=${primary.url()}`

async function metricsOf(stdout: string) {
  const [, url = ''] = / Metrics: (\S+)/.exec(stdout) ?? []
  return parsePrometheusText(await (await fetch(url)).text())
}

const serving = ['--port', '0', '--host', '127.0.0.1']

describe('the command', () => {
  test('serves the lag to Prometheus and sends it by OTLP until a signal, and prints what changes', async () => {
    const standby = await cluster.startStandby({ name: 'standby_1', of: primary })
    const receiver = await startOtlpReceiver()
    onTestFinished(() => receiver.close())
    const folder = await makeFolder()
    const [path, passwordFile] = [join(folder, 'config.json'), join(folder, 'password')]
    await writeFile(passwordFile, `${PASSWORD}\n`)
    const sources = [{ name: 'orders', url: primary.url('monitor'), passwordFile }]
    await writeFile(path, JSON.stringify({ sources, pollIntervalMillis: 100, positions: true }))
    const command = runCommand(serving, {
      REPLICATION_LAG_CONFIG: path,
      OTEL_EXPORTER_OTLP_ENDPOINT: new URL(receiver.url).origin,
      OTEL_METRIC_EXPORT_INTERVAL: '500',
    })
    await eventually(() =>
      expect(command.stdout).toMatch(
        /^Polling postgres:orders\. Metrics: http:\/\/127\.0\.0\.1:\d+\/metrics\n/,
      ),
    )
    await eventually(async () => {
      const { find, value } = await metricsOf(command.stdout)
      expect(value('replication_lag_seqno', { shard: 'orders', replica: 'standby_1' })).toBe(0)
      expect(find('replication_leader_seqno')).toHaveLength(1)
      expect(receiver.points('replication_lag_seqno').at(-1)).toMatchObject({
        value: 0,
        resource: { 'service.name': 'replication-lag' },
      })
    })
    await eventually(() => expect(command.stdout).toMatch(/Z orders\/standby_1 is connected\n/))
    const [, origin = ''] = /Metrics: (.*)\/metrics/.exec(command.stdout) ?? []
    const health = await fetch(`${origin}/health?verbose`)
    expect(health.status).toBe(200)
    expect(await health.json()).toEqual({ sources: { 'postgres:orders': 'up' } })
    expect((await fetch(`${origin}/`)).status).toBe(404)

    await standby.kill()
    await eventually(() => expect(command.stdout).toMatch(/orders\/standby_1 is not connected\n$/))
    process.emit('SIGTERM')
    expect(await command.ended).toBe(0)
    expect(command.stderr).toBe('')
  })

  test('says what is wrong with a source at the start, and keeps trying', async () => {
    const node = await cluster.startPrimary({ name: 'late' })
    await node.stop()
    const command = runCommand([...serving, `late=${node.url()}`])
    await eventually(() => expect(command.stderr).toMatch(/ECONNREFUSED.*: check host and port/))
    expect(command.stdout).toMatch(/^Polling postgres:late\. Metrics/)
    const up = async () => (await metricsOf(command.stdout)).value('replication_source_up')
    expect(await up()).toBe(0)
    await node.start()
    await eventually(async () => expect(await up()).toBe(1))
    expect(command.stderr).toMatch(/"postgres:late" can be read again/)
  })
})

describe('the command with --once', () => {
  test('prints a table and exits with 0 if all is well', async () => {
    await cluster.startStandby({ name: 'standby_2', of: primary })
    const command = runCommand(['--once', '--max-seconds', '10', ORDERS])
    expect(await command.ended).toBe(0)
    expect(command.stderr).toBe('')
    expect(command.stdout.split('\n')).toEqual([
      expect.stringMatching(/^REPLICA +LAG +SECONDS +NOT RECEIVED +CONNECTED$/),
      expect.stringMatching(/^orders\/standby_2 +\d+.* B +0\.\d s +\d+.* B +yes$/),
      '',
    ])
  })

  test('exits with 1 if a follower is further behind than allowed', async () => {
    const standby = await cluster.startStandby({ name: 'standby_3', of: primary })
    await standby.pauseReplay()
    await write(primary)
    const command = runCommand(['--json', '--max-seconds', '1', ORDERS])
    expect(await command.ended).toBe(1)
    expect(command.stderr).toMatch(/^orders\/standby_3 is 1\.\d s behind, more than 1\n$/)
    expect(JSON.parse(command.stdout)).toMatchObject({
      sources: [{ name: 'postgres:orders', up: true }],
      problems: [expect.stringContaining('orders/standby_3 is ')],
      followers: [{ shard: 'orders', replica: 'standby_3', connected: true }],
    })
  })

  test('exits with 1 if a follower is not connected, without waiting for it', async () => {
    const node = await cluster.startPrimary({ name: 'with_slot' })
    const standby = await cluster.startStandby({ name: 'gone', of: node, slot: 'gone' })
    await standby.kill()
    await eventually(async () => {
      const rows = await node.query('select from pg_replication_slots where active')
      expect(rows).toEqual([])
    })
    await write(node)
    const command = runCommand(['--once', '--max-seconds', '3600', `orders=${node.url()}`])
    expect(await command.ended).toBe(1)
    expect(command.stderr).toBe('orders/gone is not connected\n')
    expect(command.stdout).toMatch(/^orders\/gone .* no$/m)
  })

  test('exits with 1 if there is no follower', async () => {
    const node = await cluster.startPrimary({ name: 'alone' })
    const command = runCommand(['--once', `alone=${node.url()}`])
    expect(await command.ended).toBe(1)
    expect(command.stderr).toMatch(/^postgres:alone has no replica/)
  })

  test('exits with 1 if a source cannot be read, and says what to do', async () => {
    const port = await freePort()
    const gone = `gone=postgres://monitor:${PASSWORD}@127.0.0.1:${port}/postgres`
    const command = runCommand(['--json', gone, `wrong=${primary.url('monitor:wrong')}`])
    expect(await command.ended).toBe(1)
    expect(command.stderr).toMatch(/^postgres:gone cannot be read: .*: check host and port.*\n/)
    expect(command.stderr).toMatch(
      /\npostgres:wrong cannot be read: .*28P01: .*: check the password/,
    )
    expect(command.stdout + command.stderr).not.toContain(PASSWORD)
    expect(JSON.parse(command.stdout)).toMatchObject({
      sources: [
        {
          name: 'postgres:gone',
          up: false,
          error: expect.stringContaining('ECONNREFUSED') as unknown,
        },
        { name: 'postgres:wrong', up: false },
      ],
      followers: [],
    })
  })

  test('exits with 1 within five seconds if a server does not answer', async () => {
    const silent = await listen(() => undefined)
    onTestFinished(() => silent.close())
    const command = runCommand(['--once', `a=etcd+http://${new URL(silent.url).host}`])
    expect(await command.ended).toBe(1)
    expect(command.stderr).toMatch(/^etcd:a cannot be read: /)
  })

  test('exits with 2 if OTEL_SDK_DISABLED is set', async () => {
    const command = runCommand(['--once', ORDERS], { OTEL_SDK_DISABLED: 'true' })
    expect(await command.ended).toBe(2)
    expect(command.stderr).toMatch(/^replication-lag: OTEL_SDK_DISABLED is set/)
  })
})

/** Any fragment of the password. */
const SECRET = /hunt|unter|ter2/

const NOWHERE = 'orders=postgres://monitor@127.0.0.1:1/postgres'
const OTLP = { OTEL_METRICS_EXPORTER: 'otlp' }

/** What a user got wrong, and part of the one line that says what to do. environment.test.ts has all mistakes in sources. */
const MISTAKES: [
  name: string,
  args: string[],
  message: string,
  env?: Readonly<Record<string, string>>,
][] = [
  ['nothing to poll', [], 'nothing to poll: name a source, as in replica'],
  ['no name', [`postgres://u:${PASSWORD}@db`], 'argument 1: expected name=url, as in orders='],
  ['one name twice', ['a=redis://a', 'a=redis://b'], 'argument 2: expected a name other than a'],
  [
    'a misspelled option',
    ['--prot', '80', NOWHERE],
    "Unknown option '--prot'. See replication-lag",
  ],
  ['an option without a value', [NOWHERE, '--port'], "Option '--port <value>' argument missing"],
  ['no number in --port', ['--port', '80a', NOWHERE], '--port: expected a number from 0'],
  ['--max-seconds alone', ['--max-seconds', '3', NOWHERE], '--max-seconds: use it with --once or'],
  ['no seconds', ['--once', '--max-seconds', '-1', NOWHERE], '--max-seconds'],
  ['a host that does not exist', ['--host', 'nowhere.invalid', NOWHERE], 'check --host'],
  ['a host of another machine', ['--host', '192.0.2.1', NOWHERE], 'check --host'],
  [
    'no number in a port of the environment',
    [NOWHERE],
    'OTEL_EXPORTER_PROMETHEUS_PORT: expected a number from 0 to 65535, got "80a"',
    { OTEL_EXPORTER_PROMETHEUS_PORT: '80a' },
  ],
  [
    'no number in an interval',
    [NOWHERE],
    'OTEL_METRIC_EXPORT_INTERVAL: expected a number from 1 to 2147483647, got "10s"',
    { OTEL_METRIC_EXPORT_INTERVAL: '10s' },
  ],
  [
    'a negative timeout',
    [NOWHERE],
    'OTEL_EXPORTER_OTLP_TIMEOUT: expected a number from 1 to 2147483647, got "-1"',
    { ...OTLP, OTEL_EXPORTER_OTLP_TIMEOUT: '-1' },
  ],
  [
    'an unknown exporter',
    [NOWHERE],
    'OTEL_METRICS_EXPORTER: expected prometheus, otlp or both, got none',
    { OTEL_METRICS_EXPORTER: 'prometheus, none' },
  ],
  [
    'an unknown protocol',
    [NOWHERE],
    'OTEL_EXPORTER_OTLP_PROTOCOL: expected one of grpc, http/json, http/protobuf, got',
    { ...OTLP, OTEL_EXPORTER_OTLP_PROTOCOL: 'http' },
  ],
]

describe('the command exits with 2 and one line:', () => {
  test.each(MISTAKES)('%s', async (_, args, message, env) => {
    const command = runCommand(args, env)
    expect(await command.ended).toBe(2)
    expect(command.stderr).toMatch(/^replication-lag: [^\n]+\n$/)
    expect(command.stderr).toContain(message)
    expect(command.stderr).not.toMatch(SECRET)
    expect(command.stdout).toBe('')
  })

  test('a port that is in use', async () => {
    const server = await listen(() => undefined)
    onTestFinished(() => server.close())
    const { port } = new URL(server.url)
    const command = runCommand(['--host', '127.0.0.1', '--port', port, ORDERS])
    expect(await command.ended).toBe(2)
    expect(command.stderr).toBe(
      `replication-lag: port ${port} is in use by another process. Choose another one with --port\n`,
    )
  })
})

test.each([
  ['--help', /^Usage: replication-lag /],
  ['-h', /^Usage: replication-lag /],
  ['--version', /^\d+\.\d+\.\d+\n$/],
])('the command prints and ends with %s', async (option, output) => {
  const command = runCommand([option])
  await eventually(() => expect(command.stdout).toMatch(output))
  expect(command.stderr).toBe('')
})
