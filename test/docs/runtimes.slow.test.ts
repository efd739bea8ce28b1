import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PostgresCluster } from '../servers/postgres/cluster.mjs'
import { freePort } from '../servers/postgres/processes.mjs'
import { pack, useFolder } from '../support/built-package.js'
import { run } from '../support/repository.js'

// What docs/runtimes.md says, tried with the packed package. npm installs the runtimes, once, and the SDKs.

/** What is not a dependency of the repository, with exact versions. */
const TOOLS = { bun: '1.4.5', deno: '2.9.6', esbuild: '0.28.2', jest: '30.5.2' }

const SDKS = {
  'SDK 2': ['@opentelemetry/sdk-metrics@2', '@opentelemetry/exporter-prometheus@0.223'],
  'SDK 3': ['@opentelemetry/sdk-metrics@3', '@opentelemetry/exporter-prometheus@0.301'],
}
type Sdk = keyof typeof SDKS

const DENO_RIGHTS = ['--allow-net', '--allow-env', '--allow-read']

const cluster = await PostgresCluster.create()
afterAll(() => cluster.stop())
const primary = await cluster.startPrimary()
await cluster.startStandby({ name: 'standby_1', of: primary })

const folder = await useFolder()

let tools: string
beforeAll(async () => {
  const { tarball } = await pack(folder)
  tools = await installTools()
  for (const [sdk, packages] of Object.entries(SDKS)) {
    await npmInstall(join(folder, sdk), [tarball, '@opentelemetry/api', 'pg', ...packages])
    await cp(join(import.meta.dirname, 'runtimes'), join(folder, sdk), { recursive: true })
  }
}, 600_000)

async function npmInstall(project: string, packages: readonly string[]): Promise<void> {
  await mkdir(project, { recursive: true })
  await writeFile(join(project, 'package.json'), '{ "private": true }')
  await run(project, 'npm', 'install', '--no-audit', '--no-fund', '--loglevel=error', ...packages)
}

/** Installs the tools into the temporary folder, for this run and the next ones. */
async function installTools(): Promise<string> {
  const packages = Object.entries(TOOLS).map(([name, version]) => `${name}@${version}`)
  const installed = join(tmpdir(), `replication-lag-tools-${packages.join('-')}`)
  if (!existsSync(join(installed, 'complete'))) {
    await npmInstall(installed, packages)
    await writeFile(join(installed, 'complete'), '')
  }
  return join(installed, 'node_modules/.bin')
}

/** Runs a program in the project of an SDK, next to a real PostgreSQL. */
async function execute(sdk: Sdk, program: string, parameters: readonly string[], env = {}) {
  return execa(program, parameters, {
    cwd: join(folder, sdk),
    extendEnv: false,
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      NO_COLOR: '1',
      PGHOST: '127.0.0.1',
      PGPORT: `${primary.port}`,
      PGUSER: 'postgres',
      PGDATABASE: 'postgres',
      PRODUCER_PORT: `${await freePort()}`,
      INSTRUMENTATION_PORT: `${await freePort()}`,
      ...env,
    },
    timeout: 60_000,
  })
}

const node = process.execPath
const bun = () => join(tools, 'bun')
const deno = () => join(tools, 'deno')

/** What the program prints for the producer. */
const REPORTED = [
  'replication_follower_connected database/standby_1 1',
  'replication_follower_connected log/worker 0',
  'replication_lag_seconds database/standby_1 …',
  'replication_lag_seconds log/here …',
  'replication_lag_seconds log/worker …',
  'replication_lag_seqno database/standby_1 0',
  'replication_lag_seqno log/here 2',
  'replication_lag_seqno log/worker 4',
  'replication_receive_lag_seqno database/standby_1 0',
]

describe('sources, threads and both attachments work', () => {
  test.each<[name: string, sdk: Sdk, program: () => string, parameters: string[]]>([
    ['Node with SDK 2', 'SDK 2', () => node, []],
    ['Node with SDK 3', 'SDK 3', () => node, []],
    ['Bun with SDK 2', 'SDK 2', bun, []],
    ['Deno with SDK 2', 'SDK 2', deno, ['run', ...DENO_RIGHTS]],
  ])('in %s', async (_, sdk, program, parameters) => {
    const { stdout } = await execute(sdk, program(), [...parameters, 'program.mjs'])
    expect(stdout.split('\n')).toEqual([...REPORTED, ...REPORTED])
  })
})

const USES_THE_GAUGE = `import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
const gauge = new ReplicationLagGauge()
gauge.updateLeaderSeqno('orders', 42)
console.log(gauge.lagSeqno('orders'))
`

test('Deno needs no right for a gauge, and the environment for an attachment', async () => {
  const attach = `import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
    new ReplicationLagMetricProducer()
    console.log('attached')`
  await writeFile(join(folder, 'SDK 2', 'gauge.mjs'), USES_THE_GAUGE)
  await writeFile(join(folder, 'SDK 2', 'attach.mjs'), attach)
  const denoRun = (...parameters: string[]) => execute('SDK 2', deno(), ['run', ...parameters])
  expect((await denoRun('gauge.mjs')).stdout).toBe('42')
  await expect(denoRun('attach.mjs')).rejects.toThrow(/Requires env access to "OTEL_SDK_DISABLED"/)
  const { stdout } = await denoRun('--allow-env=OTEL_SDK_DISABLED', 'attach.mjs')
  expect(stdout).toBe('attached')
})

describe('register reports without code', () => {
  // command.e2e.test.ts runs it in Node.
  const sdk = `import { metrics } from '@opentelemetry/api'
    import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
    import { MeterProvider } from '@opentelemetry/sdk-metrics'
    const exporter = new PrometheusExporter({ host: '127.0.0.1', port: Number(process.env.PRODUCER_PORT) })
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }))\n`
  const application = `for (let text = ''; !text.includes('replica="standby_1"'); ) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      const url = 'http://127.0.0.1:' + process.env.PRODUCER_PORT + '/metrics'
      text = await fetch(url).then((response) => response.text(), () => '')
    }
    console.log('reported')
    process.exit()\n`
  const register = 'opentelemetry-instrumentation-replication-lag/register'

  test.each<[string, () => string, string[], string]>([
    ['Bun', bun, ['--preload', './sdk.mjs', '--preload', register], ''],
    ['Deno', deno, ['run', '--allow-all'], `import './sdk.mjs'\nimport '${register}'\n`],
  ])('in %s', async (name, program, parameters, imports) => {
    const project = join(folder, 'SDK 2')
    await writeFile(join(project, 'sdk.mjs'), sdk)
    await writeFile(join(project, `${name}.mjs`), imports + application)
    const env = { REPLICATION_LAG_SOURCES: `orders=${primary.url()}` }
    const { stdout } = await execute('SDK 2', program(), [...parameters, `${name}.mjs`], env)
    expect(stdout).toBe('reported')
  })
})

describe('Jest', () => {
  test.each(['CommonJS', 'an ES module'])('runs tests of %s', async (kind) => {
    const tests = join(folder, 'SDK 2', kind)
    await mkdir(tests)
    const esm = await readFile(join(import.meta.dirname, 'runtimes/lag.jest.mjs'), 'utf8')
    const isEsm = kind === 'an ES module'
    const file = join(tests, isEsm ? 'lag.test.mjs' : 'lag.test.cjs')
    const commonJs = esm.replace(/^import (\{[^}]*\}) from ('.*')$/gm, 'const $1 = require($2)')
    await writeFile(file, isEsm ? esm : commonJs)
    await writeFile(join(tests, 'package.json'), '{}')
    const options = ['--rootDir', tests, '--testMatch', '**/*.test.*js', '--no-watchman']
    const env = isEsm ? { NODE_OPTIONS: '--experimental-vm-modules' } : {}
    const { stderr } = await execute('SDK 2', join(tools, 'jest'), options, env)
    expect(stderr).toMatch(/^Tests: +2 passed, 2 total$/m)
  })
})

test('a bundle of esbuild works, and leaves the API out as CommonJS, or as an ES module with this package', async () => {
  const bundle = async (format: 'esm' | 'cjs', ...external: string[]) => {
    await writeFile(join(folder, 'SDK 2', 'gauge.mjs'), USES_THE_GAUGE)
    const file = `bundle-${external.length}.${format === 'esm' ? 'mjs' : 'cjs'}`
    const options = ['--bundle', '--platform=node', `--format=${format}`, `--outfile=${file}`]
    const externals = external.map((name) => `--external:${name}`)
    await execute('SDK 2', join(tools, 'esbuild'), ['gauge.mjs', ...options, ...externals])
    return (await execute('SDK 2', node, [file])).stdout
  }
  const API = '@opentelemetry/api'
  expect(await bundle('esm')).toBe('42')
  expect(await bundle('cjs')).toBe('42')
  expect(await bundle('cjs', API)).toBe('42')
  await expect(bundle('esm', API)).rejects.toThrow(/Dynamic require of "@opentelemetry\/api"/)
  expect(await bundle('esm', API, 'opentelemetry-instrumentation-replication-lag')).toBe('42')
})
