import { mkdir, realpath, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { findProgram } from '../servers/servers.mjs'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { startCluster } from '../support/postgres.js'
import { Program } from '../support/program.js'
import { parsePrometheusText } from '../support/http.js'

// A service of several processes or threads has one poller, and the port of /metrics is its own.

const PACKAGE = 'opentelemetry-instrumentation-replication-lag'
const built = await useBuiltPackage()
const { primary } = await startCluster()
await primary.query("select pg_create_physical_replication_slot('standby_1', true)")

const IMPORTS = [
  `--import=@opentelemetry/auto-instrumentations-node/register`,
  `--import=${PACKAGE}/register`,
]

/** Starts a service that has one file. It ends with the test. */
async function start(parameters: string[], app: string, env: Record<string, string> = {}) {
  const port = await freePort()
  const name = `lag-${port}`
  const folder = join(built.folder, name)
  await mkdir(join(folder, 'node_modules'), { recursive: true })
  await symlink(built.folder, join(folder, 'node_modules', PACKAGE))
  await writeFile(join(folder, 'package.json'), '{ "scripts": { "start": "exec node app.mjs" } }')
  await writeFile(join(folder, 'app.mjs'), app)
  const program = new Program(parameters, {
    cwd: folder,
    env: {
      OTEL_METRICS_EXPORTER: 'prometheus',
      OTEL_TRACES_EXPORTER: 'none',
      OTEL_LOGS_EXPORTER: 'none',
      OTEL_NODE_RESOURCE_DETECTORS: 'env',
      OTEL_EXPORTER_PROMETHEUS_PORT: `${port}`,
      REPLICATION_LAG_SOURCES: `orders=${primary.url()}?application_name=${name}`,
      ...env,
    },
  })
  onTestFinished(async () => {
    // npm passes it on to the service.
    program.kill('SIGTERM')
    await program.ended
  })
  return {
    program,
    scrape: async () => {
      // A connection that is kept can be one to npm, which has the port until it has loaded the package.
      const headers = { connection: 'close' }
      const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers })
      return parsePrometheusText(await response.text())
    },
    countConnections: async () => {
      const sql = 'select from pg_stat_activity where application_name = $1'
      return (await primary.query(sql, [name])).length
    },
  }
}

/** It never connects. */
const STANDBY = { shard: 'orders', replica: 'standby_1' }

test('with NODE_OPTIONS and npm start, the service polls and has the port, not npm', async () => {
  const npm = await realpath((await findProgram('npm')) ?? '')
  const app = `
    import { metrics } from '@opentelemetry/api'
    metrics.getMeter('service').createCounter('service_requests').add(7)
    process.once('SIGTERM', () => process.exit())
    setInterval(() => undefined, 1000)`
  const { scrape, countConnections } = await start([npm, 'start'], app, {
    NODE_OPTIONS: IMPORTS.join(' '),
  })
  await eventually(async () => {
    const { value } = await scrape()
    expect(value('service_requests_total')).toBe(7)
    expect(value('replication_lag_seqno', STANDBY)).toBeGreaterThanOrEqual(0)
  })
  await eventually(async () => expect(await countConnections()).toBe(1))
})

/** Prints who reports: each process or thread runs this. */
const SAY = `
  import { instrumentation } from '${PACKAGE}/register'
  import cluster from 'node:cluster'
  import { isMainThread, Worker } from 'node:worker_threads'
  const name = cluster.isWorker ? 'worker' : isMainThread ? 'main' : 'thread'
  console.log(name, instrumentation ? 'reports' : 'is silent')
  process.once('SIGTERM', () => process.exit())
  setInterval(() => undefined, 1000)`

test.each([
  ['node:cluster', 'if (cluster.isPrimary) { cluster.fork(); cluster.fork() }', 'worker'],
  [
    'worker threads',
    'if (isMainThread) { new Worker(process.argv[1]); new Worker(process.argv[1]) }',
    'thread',
  ],
])('with %s, one process polls', async (_, fork, name) => {
  const app = `${SAY}\n${fork}`
  const { program, scrape, countConnections } = await start([...IMPORTS, 'app.mjs'], app)
  await eventually(async () => {
    expect(program.stdout.trim().split('\n').sort()).toEqual([
      'main reports',
      `${name} is silent`,
      `${name} is silent`,
    ])
    expect((await scrape()).value('replication_lag_seqno', STANDBY)).toBeGreaterThanOrEqual(0)
  })
  await eventually(async () => expect(await countConnections()).toBe(1))
})

test('the workers of a cluster poll if their primary process does not', async () => {
  const execArgv = JSON.stringify(IMPORTS)
  const app = `${SAY}
    if (cluster.isPrimary) {
      cluster.setupPrimary({ execArgv: ${execArgv} })
      cluster.fork()
    }`
  const { program, scrape } = await start(['app.mjs'], app)
  await program.untilPrinted(/^worker reports$/m)
  await eventually(async () => {
    expect((await scrape()).value('replication_lag_seqno', STANDBY)).toBeGreaterThanOrEqual(0)
  })
})
