import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, cp, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { etcd } from '../servers/etcd.mjs'
import { jetstream } from '../servers/jetstream.mjs'
import { kafka } from '../servers/kafka.mjs'
import { mariadb } from '../servers/mariadb.mjs'
import { mysql } from '../servers/mysql.mjs'
import { postgres } from '../servers/postgres.mjs'
import { postgresUser } from '../servers/postgres/binaries.mjs'
import { freePort } from '../servers/postgres/processes.mjs'
import { currentRedis, redis } from '../servers/redis.mjs'
import type { System } from '../servers/system.js'
import { describeInstalled, useStarted } from '../sources/contract.js'
import { eventually } from '../support/eventually.js'
import { listen } from '../support/http.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'
import { createLogin, startCluster } from '../support/postgres.js'
import { Program } from '../support/program.js'
import { parsePrometheusText } from '../support/prometheus.js'
import { repository } from '../support/repository.js'
import { MISTAKES, SECRET } from '../cli/mistakes.js'
import { install, pack } from './packed.js'

// The command as a user has it: installed from the tarball, in a process of its own.

const folder = await realpath(await mkdtemp(join(tmpdir(), 'replication-lag-command-')))
afterAll(() => rm(folder, { recursive: true, force: true }))
const project = join(folder, 'project')
/** A project that has nothing but the package, the API and one package of the SDK. */
const bare = join(folder, 'bare')
const { cluster, primary } = await startCluster()

/** What takes longer looks broken. */
const PATIENCE_MILLIS = 5000

const binOf = (cwd: string) => join(cwd, 'node_modules/.bin/replication-lag')
const PROMETHEUS = '@opentelemetry/exporter-prometheus'
const OTLP = '@opentelemetry/exporter-metrics-otlp-proto'
const CLIENTS = ['pg', 'ioredis', 'mysql2', 'kafkajs']

/** Installs packages: links, which find their own dependencies. */
const link = (cwd: string, packages: readonly string[]) =>
  Promise.all(
    packages.map((name) =>
      symlink(join(repository, 'node_modules', name), join(cwd, 'node_modules', name)),
    ),
  )

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}, cwd = project) {
  const program = new Program([binOf(cwd), ...args], { cwd, env })
  onTestFinished(() => program.stop())
  return program
}

/** Runs the command to its end. */
async function run(args: readonly string[], env?: Readonly<Record<string, string>>, cwd?: string) {
  const begin = performance.now()
  const program = start(args, env, cwd)
  const { code } = await program.ended
  const { stdout, stderr } = program
  return { code, stdout, stderr, millis: performance.now() - begin }
}

beforeAll(async () => {
  const packed = await pack(folder)
  await install(project, packed.tarball)
  await cp(project, bare, { recursive: true, verbatimSymlinks: true })
  await link(project, [...CLIENTS, PROMETHEUS, OTLP])
  await createLogin(cluster, primary, 'monitor', 'hunter2')
}, 120_000)

test('names each package that is missing, and how to install it', async () => {
  const orders = `orders=${primary.url()}`
  const missing = async (args: string[], env: Record<string, string> = {}) => {
    const { code, stderr } = await run(args, env, bare)
    expect(code).toBe(2)
    return stderr
  }
  const install = (name: string) =>
    `the package ${name} is missing. Install it: npm install ${name}\n`
  expect(await missing([orders])).toBe(`replication-lag: orders: ${install('pg')}`)
  for (const [url, name] of [
    ['redis://a', 'ioredis'],
    ['mysql://a', 'mysql2'],
    ['mariadb://a', 'mysql2'],
    ['kafka://a?groups=b', 'kafkajs'],
  ] as const) {
    expect(await missing(['--once', `a=${url}`])).toBe(`replication-lag: a: ${install(name)}`)
  }
  await link(bare, CLIENTS)
  expect(await missing([orders])).toBe(`replication-lag: ${install(PROMETHEUS)}`)
  await link(bare, [PROMETHEUS])
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318' }
  expect(await missing([orders], env)).toBe(`replication-lag: ${install(OTLP)}`)
})

describe('exits with 2 and one line in time:', () => {
  test.each(MISTAKES)('$name', async ({ args, message, env = {}, config }) => {
    const path = join(project, 'config.json')
    if (config !== undefined) await writeFile(path, JSON.stringify(config))
    const { code, stdout, stderr, millis } = await run(args, {
      ...env,
      ...(config !== undefined && { REPLICATION_LAG_CONFIG: path }),
    })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^replication-lag: [^\n]+\n$/)
    expect(stderr).toContain(message)
    expect(stderr).not.toMatch(SECRET)
    expect(stdout).toBe('')
    expect(millis).toBeLessThan(PATIENCE_MILLIS)
  })
})

/** Starts a PostgreSQL server with a certificate that no authority has signed. Returns its port. */
async function startWithTls(): Promise<number> {
  const [key, certificate] = [join(cluster.folder, 'key.pem'), join(cluster.folder, 'cert.pem')]
  const parameters = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost']
  execFileSync('openssl', [...parameters, '-keyout', key, '-out', certificate], { stdio: 'pipe' })
  await chmod(key, 0o600)
  const user = postgresUser()
  if (user) await chown(key, user.uid, user.gid)
  const conf = { ssl: true, ssl_key_file: key, ssl_cert_file: certificate }
  const { port } = await cluster.startPrimary({ name: 'secure', conf })
  return port
}

describe('a source that cannot be read is named with what to do, at once and again later:', () => {
  test.each<[string, () => string | Promise<string>, RegExp]>([
    ['a wrong password', () => primary.url('monitor:hunter3'), /28P01: .*: check the password/],
    ['no password', () => primary.url('monitor'), /no password is set: put it into the URL/],
    [
      'a wrong host',
      () => 'postgres://monitor:hunter2@nowhere.invalid/a',
      /ENOTFOUND.*: check the host name/,
    ],
    [
      'a closed port',
      async () => `postgres://monitor:hunter2@127.0.0.1:${await freePort()}/postgres`,
      /ECONNREFUSED.*: check host and port/,
    ],
    [
      'a server that does not answer',
      async () => {
        const server = createServer(() => undefined).listen(0, '127.0.0.1')
        onTestFinished(() => void server.close())
        await once(server, 'listening')
        const { port } = server.address() as { port: number }
        return `postgres://monitor:hunter2@127.0.0.1:${port}/postgres`
      },
      /check host, port, network/,
    ],
    [
      'a self-signed certificate',
      async () =>
        `postgres://postgres@localhost:${await startWithTls()}/postgres?sslmode=verify-full`,
      /SELF_SIGNED.*: trust its authority: sslrootcert=.*NODE_EXTRA_CA_CERTS/,
    ],
    [
      'a database that does not exist',
      () => `${primary.url()}x`,
      /3D000.*: name a database that e/,
    ],
  ])('%s', async (_, createUrl, message) => {
    const url = await createUrl()
    const once = await run(['--once', `orders=${url}`])
    expect(once.code).toBe(1)
    expect(once.stderr).toMatch(/^postgres:orders cannot be read: [^\n]+\n$/)
    expect(once.stderr).toMatch(message)
    expect(once.millis).toBeLessThan(PATIENCE_MILLIS + 500)

    const begin = performance.now()
    const program = start(['--port', '0', `orders=${url}`])
    await eventually(() => expect(program.stderr).toMatch(message))
    expect(performance.now() - begin).toBeLessThan(PATIENCE_MILLIS + 500)
    expect(program.stdout).toMatch(/^Polling postgres:orders\. Metrics: http:\S+\n$/)
    program.kill('SIGTERM')
    expect(await program.ended).toEqual({ code: 0, signal: null })
    for (const text of [once.stdout, once.stderr, program.stdout, program.stderr]) {
      expect(text).not.toMatch(SECRET)
    }
  })
})

for (const kind of [postgres, redis, currentRedis, mariadb, mysql, jetstream, etcd, kafka]) {
  await describeInstalled(kind, () => {
    const system = useStarted<System>((servers) => kind.start(servers))

    /** The true lags, as the nodes themselves say. */
    const truth = async () => {
      const { followers } = system()
      const leader = await system().position()
      const positions = await Promise.all(followers.map((name) => system().position(name)))
      return positions.map((position) => Number(leader - position)).sort((a, b) => a - b)
    }
    const readJson = async () => {
      const { code, stdout, stderr } = await run(['--json', `orders=${system().url}`])
      const { followers } = JSON.parse(stdout) as {
        followers: { lagSeqno: number; connected: boolean }[]
      }
      return { code, stderr, lags: followers.map(({ lagSeqno }) => lagSeqno).sort((a, b) => a - b) }
    }

    test('is read once with the correct number', async () => {
      await eventually(async () => {
        const { code, stdout, stderr } = await run(['--once', `orders=${system().url}`])
        expect(stderr).toBe('')
        expect(code).toBe(0)
        expect(stdout.match(/ 0(?: B)? .* yes$/gm)).toHaveLength(2)
      })
      const [first] = system().followers
      await system().cut(first)
      await system().write(100)
      await eventually(async () => {
        const before = await truth()
        const { lags } = await readJson()
        expect(await truth()).toEqual(before)
        expect(lags).toEqual(before)
        expect(lags[1]).toBeGreaterThanOrEqual(100)
      })
      await system().mend(first)
      await eventually(async () =>
        expect(await readJson()).toMatchObject({ code: 0, lags: [0, 0] }),
      )
    })
  })
}

describe('a signal', () => {
  test('exports once more, and ends with 0', async () => {
    const receiver = await startOtlpReceiver()
    onTestFinished(() => receiver.close())
    await cluster.startStandby({ name: 'standby_1', of: primary })
    const program = start(['--port', '0', `orders=${primary.url()}`], {
      OTEL_EXPORTER_OTLP_ENDPOINT: new URL(receiver.url).origin,
    })
    const [, url = ''] = await program.untilPrinted(/ Metrics: (\S+)/)
    await eventually(async () => {
      const { value } = parsePrometheusText(await (await fetch(url)).text())
      expect(value('replication_lag_seqno', { replica: 'standby_1' })).toBe(0)
    })
    expect(receiver.points('replication_lag_seqno')).toEqual([])
    program.kill('SIGTERM')
    expect(await program.ended).toEqual({ code: 0, signal: null })
    expect(receiver.points('replication_lag_seqno')).toMatchObject([{ value: 0 }])
    expect(program.stderr).toBe('')
  })

  test('ends it with 0 within the time that the docs say if nobody takes the last export', async () => {
    const silent = await listen(() => undefined)
    onTestFinished(() => silent.close())
    const program = start(['--port', '0', `orders=${primary.url()}`], {
      OTEL_EXPORTER_OTLP_ENDPOINT: silent.url,
    })
    await program.untilPrinted(/^Polling/)
    const begin = performance.now()
    program.kill('SIGTERM')
    expect(await program.ended).toEqual({ code: 0, signal: null })
    expect(performance.now() - begin).toBeLessThan(PATIENCE_MILLIS + 500)
  })
})

describe('in a terminal', () => {
  /** Runs the command in a terminal of this width until it shows something, and then presses Ctrl-C. */
  async function show(columns: number, args: string, pattern: RegExp) {
    // Ctrl-C reaches the shell too, which then goes on.
    const command = `trap : INT; stty cols ${columns} rows 24; ${process.execPath} ${binOf(project)} --port 0 ${args}; echo "code $?"`
    const child = spawn('script', ['--quiet', '--command', command, '/dev/null'], {
      cwd: project,
      env: { PATH: process.env['PATH'], TERM: 'xterm-256color' },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const ended = once(child, 'close')
    onTestFinished(async () => {
      child.stdin.write('\x03')
      await ended
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    await eventually(() => expect(stripVTControlCharacters(output)).toMatch(pattern))
    child.stdin.write('\x03')
    await ended
    const text = stripVTControlCharacters(output).replaceAll('\r', '')
    expect(text).toMatch(/code 0\n/)
    const lines = text.split('\n').filter((line) => !line.startsWith('code'))
    expect(lines.filter((line) => line.length > columns)).toEqual([])
    return { output, text }
  }

  test.each([60, 120])('of %d columns, shows a table that changes', async (columns) => {
    await cluster.startStandby({ name: `wide_${columns}`, of: primary, slot: `wide_${columns}` })
    const { output, text } = await show(
      columns,
      `orders='${primary.url()}'`,
      new RegExp(`orders/wide_${columns} .*0\\.\\d s.* yes(?: .*\\u2581\\u2581)?`),
    )
    expect(text).toMatch(/REPLICA +LAG +SECONDS +NOT RECEIVED +CONNECTED/)
    // It is drawn again in the same place.
    // eslint-disable-next-line no-control-regex
    expect(output).toMatch(/\u001b\[\d+A\r\u001b\[J/)
  })

  test.each([60, 120])('of %d columns, says why a source cannot be read', async (columns) => {
    const port = await freePort()
    const words =
      /postgres:orders\s+cannot\s+be\s+read:[^]*check\s+host\s+and\s+port,\s+and\s+whether/
    await show(columns, `orders=postgres://monitor@127.0.0.1:${port}/postgres`, words)
  })
})
