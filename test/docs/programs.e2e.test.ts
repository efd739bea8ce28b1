import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { etcd, type EtcdCluster } from '../servers/etcd.mjs'
import { jetstream, type JetStreamCluster } from '../servers/jetstream.mjs'
import { kafka, type KafkaCluster } from '../servers/kafka.mjs'
import { mariadb } from '../servers/mariadb.mjs'
import type { Family } from '../servers/mysql-family.mjs'
import { mysql } from '../servers/mysql.mjs'
import { redis } from '../servers/redis.mjs'
import type { Servers } from '../servers/servers.mjs'
import type { SystemKind } from '../servers/system.js'
import { describeInstalled, useStarted } from '../sources/contract.js'
import { useBuiltPackage } from '../support/built-package.js'
import { createLogin, TestCluster } from '../support/postgres.js'
import { readText } from '../support/repository.js'
import { findBlocks, isProgram, readPages, startProgram, type Block } from './pages.js'

// Runs every program of the pages that polls a system, as it is printed: while its servers are up, while they are dead, when
// they are back, and with a wrong password.

const PASSWORD = 'hunter2'
const built = await useBuiltPackage()
await writeFile(join(built.folder, 'redirect.mjs'), readText('test/docs/redirect.mjs'))

/** The servers of a system, as a program meets them. */
interface Target {
  readonly ports: readonly number[]
  /** The variables that the pages have for the password. */
  readonly env?: (password: string) => Record<string, string>
  readonly password?: string
  kill(): Promise<unknown>
  restart(): Promise<unknown>
}

interface Program {
  readonly name: string
  readonly text: string
  readonly parameters?: string[]
  readonly env?: Record<string, string>
}

/** What a program adds to a block that ends with its source. */
const REST = `
import { diag, DiagConsoleLogger, DiagLogLevel } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { createServer } from 'node:http'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN)
const polled = typeof source === 'undefined' ? sources : [source]
const metricProducers = [new ReplicationLagMetricProducer({ sources: polled })]
new MeterProvider({ readers: [new PrometheusExporter({ metricProducers })] })
createServer((_request, response) => response.end('ok\\n')).listen(process.env.PORT)`

const IMPORT = /replication-lag\/sources\/(\w+)'/
const blocks = readPages()
  .flatMap(findBlocks)
  .filter((block) => isProgram(block) && isComplete(block))

/** Whether a block polls for Prometheus, or ends with its sources. Others use a `pool` of the reader, or push. */
function isComplete({ text }: Block): boolean {
  const [hasSource, hasExporter] = [/const sources? = /.test(text), text.includes('Exporter(')]
  const hasPool = !text.includes('client: pool') || text.includes('const pool = ')
  return IMPORT.test(text) && hasPool && (hasExporter ? !text.includes('OTLP') : hasSource)
}

const programsOf = (system: string): Program[] =>
  blocks
    .filter(({ text }) => IMPORT.exec(text)?.[1] === system)
    .map(({ page, line, text }) => ({
      name: `${page}:${line}`,
      text: text.includes('PrometheusExporter') ? text : dropDuplicates(`${text}\n${REST}`),
    }))

/** Drops the imports that a block has already. */
function dropDuplicates(text: string): string {
  const seen = new Set<string>()
  return text.replace(/^import \{ (\w+) \} from .*\n/gm, (line, name: string) =>
    seen.size < seen.add(name).size ? line : '',
  )
}

const AUTO = 'docs/examples/auto-instrumented'
const env = {
  ...{ OTEL_TRACES_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' },
  OTEL_NODE_RESOURCE_DETECTORS: 'env',
}
const EXAMPLES: Program[] = [
  {
    name: 'docs/examples/service',
    text: `import { createServer } from 'node:http'
      import { startService } from './docs/examples/service/service.mjs'
      // It chooses a port of its own.
      const { url } = await startService({ connectionString: process.env.DATABASE_URL }, 'orders')
      const scrape = async () => (await fetch(url)).text()
      createServer((_request, response) => void scrape().then((text) => response.end(text)))
        .listen(process.env.OTEL_EXPORTER_PROMETHEUS_PORT)
      createServer((_request, response) => response.end('ok\\n')).listen(process.env.PORT)`,
  },
  {
    name: `${AUTO}, with otel.mjs`,
    text: `import './${AUTO}/service.mjs'`,
    parameters: [`--import=./${AUTO}/otel.mjs`],
    env: { ...env, OTEL_LOG_LEVEL: 'warn' },
  },
  {
    name: `${AUTO}, without code`,
    text: `import './${AUTO}/service.mjs'`,
    parameters: [
      '--import=@opentelemetry/auto-instrumentations-node/register',
      '--import=opentelemetry-instrumentation-replication-lag/register',
    ],
    env: { ...env, OTEL_METRICS_EXPORTER: 'prometheus' },
  },
]

async function run({ text, parameters = [], env }: Program, target: Target, password?: string) {
  const program = await startProgram(built.folder, text, {
    parameters: ['--import=./redirect.mjs', ...parameters],
    env: {
      SERVER_PORTS: target.ports.join(),
      ...target.env?.(password ?? target.password ?? ''),
      ...env,
    },
  })
  const { scrape, until, output, greet } = program
  const states = async () =>
    (await scrape()).find('replication_source_up').map((each) => each.value)
  return {
    ...program,
    isUp: () => until(async () => expect(await states()).toContain(1)),
    /** Waits until it reports that it reads nothing, and why. Its service works. */
    isDown: (reason: RegExp) =>
      until(async () => {
        expect(new Set(await states())).toEqual(new Set([0]))
        expect(output()).toMatch(/source "[^"]+" cannot be read: /)
        expect(output()).toMatch(reason)
        expect(await greet()).not.toBe('')
      }),
  }
}

/** Describes the programs of one system. */
async function describePrograms(
  kind: Pick<SystemKind, 'title' | 'install' | 'isInstalled'>,
  programs: readonly Program[],
  start: (servers: Servers) => Promise<Target>,
  wrongPassword?: RegExp,
): Promise<void> {
  await describeInstalled(kind, () => {
    const target = useStarted(start)

    test('are there', () => expect(programs).not.toEqual([]))

    test('stay while all servers are dead, say why, and recover', async () => {
      const early = await Promise.all(programs.map((each) => run(each, target())))
      await Promise.all(early.map(({ isUp }) => isUp()))
      await target().kill()
      const all = [...early]
      try {
        all.push(...(await Promise.all(programs.map((each) => run(each, target())))))
        await Promise.all(all.map(({ isDown }) => isDown(/ECONNREFUSED|ECONNRESET|closed|hang up/)))
      } finally {
        await target().restart()
      }
      await Promise.all(all.map(({ isUp }) => isUp()))
    })

    if (!wrongPassword) return
    const takesPassword = /process\.env(?!\.PORT)|new pg\.Pool|service\.mjs/
    const withPassword = programs.filter(({ text }) => takesPassword.test(text))
    test('stay with a wrong password, and say so', async () => {
      expect(withPassword).not.toEqual([])
      const running = await Promise.all(withPassword.map((each) => run(each, target(), PASSWORD)))
      await Promise.all(running.map(({ isDown }) => isDown(wrongPassword)))
      for (const { output } of running) expect(output()).not.toContain(PASSWORD)
    })
  })
}

describe('the programs of the pages', async () => {
  const installed = { title: 'PostgreSQL', install: '', isInstalled: () => Promise.resolve(true) }
  await describePrograms(
    installed,
    [...programsOf('postgres'), ...EXAMPLES],
    async (servers) => {
      const cluster = await TestCluster.create()
      servers.onStop(() => cluster.stop())
      const primary = await cluster.startSharedPrimary()
      await createLogin(cluster, primary, 'monitor', 'secret')
      await primary.query("select pg_create_physical_replication_slot('gone', true)")
      return {
        ports: [primary.port],
        password: 'secret',
        env: (password) => {
          const url = `postgres://monitor:${password}@db.example/postgres`
          return {
            ...{ DATABASE_URL: url, REPLICATION_LAG_SOURCES: `orders=${url}` },
            ...{ PGHOST: 'db.example', PGUSER: 'monitor', PGDATABASE: 'postgres' },
            PGPASSWORD: password,
          }
        },
        kill: () => primary.kill(),
        restart: () => primary.start(),
      }
    },
    /28P01.*check the password/,
  )

  for (const [system, kind] of Object.entries({ mariadb, mysql })) {
    await describePrograms(
      kind,
      programsOf(system),
      async (servers) => {
        const { members } = (await kind.start(servers)) as unknown as Pick<Family, 'members'>
        return {
          ports: members.map(({ port }) => port),
          password: 'monitor',
          env: (password) => ({ MONITOR_PASSWORD: password }),
          kill: () => Promise.all(members.map((member) => member.kill())),
          restart: () => Promise.all(members.map((member) => member.start())),
        }
      },
      /Access denied/,
    )
  }

  await describePrograms(
    redis,
    programsOf('redis'),
    async (servers) => {
      const { members } = await redis.start(servers)
      return {
        ports: members.map(({ port }) => port),
        password: 'secret',
        env: (password) => ({ REDIS_PASSWORD: password }),
        kill: () => Promise.all(members.flatMap(({ server }) => server?.kill() ?? [])),
        restart: () => Promise.all(members.map((member) => member.start())),
      }
    },
    /WRONGPASS/,
  )

  for (const [system, kind] of Object.entries({ etcd, jetstream })) {
    await describePrograms(kind, programsOf(system), async (servers) => {
      const cluster = (await kind.start(servers)) as EtcdCluster | JetStreamCluster
      const names = [cluster.leaderName, ...cluster.followers]
      return {
        ports: [...cluster.url.matchAll(/:(\d+)/g)].map(([, port]) => Number(port)),
        kill: () => Promise.all(names.map((name) => cluster.kill(name))),
        restart: () => Promise.all(names.map((name) => cluster.restart(name))),
      }
    })
  }

  await describePrograms(kafka, programsOf('kafka'), async (servers) => {
    const started: unknown = await kafka.start(servers)
    const cluster = started as Pick<KafkaCluster, 'brokers' | 'startBroker'>
    return {
      // Past the gates, where clients need no password.
      ports: cluster.brokers.map(({ port }) => port),
      kill: () => Promise.all(cluster.brokers.flatMap(({ server }) => server?.kill() ?? [])),
      restart: () => Promise.all(cluster.brokers.map(({ id }) => cluster.startBroker(id))),
    }
  })
})
