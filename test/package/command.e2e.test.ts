import { cp, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { etcd } from '../servers/etcd.mjs'
import { jetstream } from '../servers/jetstream.mjs'
import { kafka } from '../servers/kafka.mjs'
import { mariadb } from '../servers/mariadb.mjs'
import { mysql } from '../servers/mysql.mjs'
import { postgres } from '../servers/postgres.mjs'
import { currentRedis, redis } from '../servers/redis.mjs'
import type { System } from '../servers/system.js'
import { describeInstalled, useStarted } from '../sources/contract.js'
import { install, pack, useFolder } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { listen } from '../support/http.js'
import { startCluster } from '../support/postgres.js'
import { Program, startInTerminal } from '../support/program.js'
import { repository } from '../support/repository.js'

// The command and `register` as a user has them: installed from the tarball, in a process of their own.

const folder = await useFolder()
const project = join(folder, 'project')
/** A project that has nothing but the package, the API and one package of the SDK. */
const bare = join(folder, 'bare')
const { cluster, primary } = await startCluster()

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
  const program = start(args, env, cwd)
  const { code } = await program.ended
  const { stdout, stderr } = program
  return { code, stdout, stderr }
}

interface Metric {
  name: string
  points: { value: number }[]
}

/** Starts a program without a line about replication lag. */
function startWithoutCode(flag: '--import' | '--require', url: string) {
  const register = 'opentelemetry-instrumentation-replication-lag/register'
  const program = new Program([flag, register, join(repository, 'test/register/program.mjs')], {
    cwd: project,
    env: { REPLICATION_LAG_SOURCES: `orders=${url}` },
  })
  onTestFinished(() => program.stop())
  /** Returns the values of a metric that were printed last. */
  const latest = (name: string): number[] => {
    const lines = program.stdout.split('\n').slice(0, -1)
    const metrics = lines.map((line) => JSON.parse(line) as Metric)
    const points = metrics.findLast((each) => each.name === name)?.points ?? []
    return points.map(({ value }) => value).sort((a, b) => a - b)
  }
  return { program, latest }
}

beforeAll(async () => {
  const packed = await pack(folder)
  await install(project, packed.tarball)
  await cp(project, bare, { recursive: true, verbatimSymlinks: true })
  await link(project, [...CLIENTS, PROMETHEUS, OTLP])
}, 120_000)

test('names each package that is missing, and how to install it', async () => {
  const missing = async (args: string[], env: Record<string, string> = {}) => {
    const { code, stderr } = await run(args, env, bare)
    expect(code).toBe(2)
    return stderr
  }
  const install = (name: string) =>
    `the package ${name} is missing. Install it: npm install ${name}\n`
  const orders = `orders=${primary.url()}`
  for (const [source, name] of [
    [orders, 'pg'],
    ['orders=redis://a', 'ioredis'],
    ['orders=mysql://a', 'mysql2'],
    ['orders=mariadb://a', 'mysql2'],
    ['orders=kafka://a?groups=b', 'kafkajs'],
  ] as const) {
    expect(await missing([source])).toBe(`replication-lag: orders: ${install(name)}`)
  }
  await link(bare, CLIENTS)
  expect(await missing([orders])).toBe(`replication-lag: ${install(PROMETHEUS)}`)
  await link(bare, [PROMETHEUS])
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318' }
  expect(await missing([orders], env)).toBe(`replication-lag: ${install(OTLP)}`)
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

    test('is reported without code, and its connections do not keep the process running', async () => {
      const flag = kind === postgres ? '--require' : '--import'
      const { program, latest } = startWithoutCode(flag, system().url)
      await system().write(1)
      await eventually(() => {
        expect(latest('replication_lag_seqno')).toEqual([0, 0])
        expect(latest('replication_follower_connected')).toEqual([1, 1])
      })
      expect(program.stderr).toBe('')
      program.kill('SIGUSR2')
      expect(await program.ended).toEqual({ code: 0, signal: null })
    })

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

test('a signal ends it with 0 within the time that the docs say if nobody takes the last export', async () => {
  const silent = await listen(() => undefined)
  onTestFinished(() => silent.close())
  const program = start(['--port', '0', `orders=${primary.url()}`], {
    OTEL_EXPORTER_OTLP_ENDPOINT: silent.url,
  })
  await program.untilPrinted(/^Polling/)
  const begin = performance.now()
  program.kill('SIGTERM')
  expect(await program.ended).toEqual({ code: 0, signal: null })
  expect(performance.now() - begin).toBeLessThan(5500)
})

test('in a terminal, it shows a table that changes', async () => {
  await cluster.startStandby({ name: 'wide', of: primary, slot: 'wide' })
  // Ctrl-C reaches the shell too, which then continues.
  const command = `trap : INT; stty cols 60 rows 24; ${process.execPath} ${binOf(project)} --port 0 orders='${primary.url()}'; echo "code $?"`
  const terminal = startInTerminal(command, { cwd: project })
  await eventually(() => expect(terminal.text()).toMatch(/orders\/wide .*0\.\d s.* yes/))
  expect(terminal.text()).toMatch(/REPLICA +LAG +SECONDS +NOT RECEIVED +CONNECTED/)
  expect(
    terminal
      .text()
      .split('\n')
      .filter((line) => line.length > 60),
  ).toEqual([])
  // It is drawn again in the same place.
  // eslint-disable-next-line no-control-regex
  await eventually(() => expect(terminal.output).toMatch(/\u001b\[\d+A\r\u001b\[J/))
  terminal.press('\x03')
  await terminal.ended
  expect(terminal.text()).toMatch(/code 0\n/)
})
