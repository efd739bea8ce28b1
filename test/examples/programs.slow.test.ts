import { once } from 'node:events'
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, test, vi, type TestContext } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { isProgram } from '../docs/code-blocks.js'
import { findBlocks } from '../docs/markdown.js'
import { useBuiltPackage } from '../support/built-package.js'
import { isRunning, Program, SLOW_MACHINE } from '../support/program.js'
import { parsePrometheusText } from '../support/prometheus.js'
import { readText } from '../support/repository.js'

// The demo and the programs of the README, as users start them: with the build of the package.

const built = await useBuiltPackage()
const readme = findBlocks({ path: 'README.md', text: readText('README.md') })
const [postgresProgram = '', ownLogProgram = ''] = readme.filter(isProgram).map(({ text }) => text)

/** Gives the second program of the README the OpenTelemetry that its service has. */
const openTelemetry = `
  import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
  import { NodeSDK } from '@opentelemetry/sdk-node'
  new NodeSDK({ metricReaders: [new PrometheusExporter()] }).start()
`

beforeAll(async () => {
  await writeFile(join(built.folder, 'postgres.mjs'), postgresProgram)
  await writeFile(join(built.folder, 'own-log.mjs'), ownLogProgram)
  await writeFile(join(built.folder, 'otel.mjs'), openTelemetry)
})

/** Starts the demo with a temporary folder of its own, so that the test sees what it leaves there. */
async function startDemo({ onTestFinished }: TestContext, ...parameters: string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'replication-lag-demo-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  // If root starts the demo, another user runs the servers.
  await chmod(folder, 0o755)
  const demo = new Program(['docs/demo/demo.mjs', ...parameters], {
    cwd: built.folder,
    env: { TMPDIR: folder },
  })
  onTestFinished(() => demo.stop())
  return { demo, folder }
}

/** Starts a program of the README. Returns what it serves, once it does. */
async function startReadmeProgram(
  { onTestFinished }: TestContext,
  parameters: string[],
  variables: Record<string, string> = {},
) {
  const port = String(await freePort())
  const program = new Program(parameters, {
    cwd: built.folder,
    env: { ...variables, OTEL_EXPORTER_PROMETHEUS_PORT: port, OTEL_TRACES_EXPORTER: 'none' },
  })
  onTestFinished(() => program.stop())
  return () => scrape(`http://127.0.0.1:${port}/metrics`)
}

async function scrape(url: string) {
  return parsePrometheusText(await (await fetch(url)).text())
}

/** The samples that the README shows: names, and labels up to the ellipsis. */
function shownSamples() {
  const lines = readme.flatMap(({ text }) => [...text.matchAll(/^(\w+)\{(.*),…\} /gm)])
  return lines.map(([, name = '', labels = '']) => ({
    name,
    labels: Object.fromEntries(
      [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, value]) => [label, value]),
    ) as Record<string, string>,
  }))
}

/** A line for a log: plain text with the lag of each standby, and what is the matter. */
const READING =
  /^\d\d:\d\d:\d\d( {2,3}standby_[12] [\d.]+ [kM]?B (\d+\.\d s|-)( disconnected)?){2}( {3}[A-Z].*\.)?$/

describe.concurrent('programs', { timeout: 120_000 }, () => {
  test('the demo reports its standbys until Ctrl-C, and the first program of the README reads the same server', async (context) => {
    const { expect, onTestFinished } = context
    const holder = createServer().listen(9464, '127.0.0.1')
    onTestFinished(() => void holder.close())
    // If another program has the port, that serves the same purpose.
    await once(holder, 'listening').catch(() => undefined)
    const { demo, folder } = await startDemo(context)
    const [, primaryPort = '', url = ''] = await demo.untilPrinted(
      /^PostgreSQL on 127\.0\.0\.1: primary (\d+), .*\nMetrics: (http:\S+)\n/m,
    )
    expect(new URL(url).port).not.toBe('9464')

    const server = { PGHOST: '127.0.0.1', PGPORT: primaryPort }
    const role = { PGUSER: 'postgres', PGDATABASE: 'postgres' }
    const scrapeReadme = await startReadmeProgram(context, ['postgres.mjs'], { ...server, ...role })
    const shown = shownSamples()
    expect(shown).not.toEqual([])
    await vi.waitFor(async () => {
      const { find } = await scrapeReadme()
      expect(shown.filter(({ name, labels }) => find(name, labels).length !== 1)).toEqual([])
    }, SLOW_MACHINE)

    await vi.waitFor(async () => {
      const { value } = await scrape(url)
      const paused = { shard: 'orders', replica: 'standby_2' }
      // Far more than between two healthy servers.
      expect(value('replication_lag_seqno', paused)).toBeGreaterThan(250_000)
      expect(value('replication_lag_seconds', paused)).toBeGreaterThan(0)
      expect(value('replication_follower_connected', paused)).toBe(1)
    }, SLOW_MACHINE)
    await demo.untilPrinted(
      /Replay is paused on standby_2\. PostgreSQL's replay_lag says \S+ s\. This package says /,
    )
    const family = await demo.family()
    demo.kill('SIGINT')

    expect(await demo.ended).toEqual({ code: 0, signal: null })
    expect(demo.stderr).toMatch(/^(Port \d+ is taken, trying \d+ for the metrics\.\n)+$/)
    const readings = demo.stdout.split('\n').filter((line) => /^\d\d:/.test(line))
    expect(readings).not.toEqual([])
    expect(readings.filter((line) => !READING.test(line))).toEqual([])
    expect(demo.stdout).toMatch(/\nStopping …\nAll stopped, nothing left behind\.\n$/)
    expect(family.length).toBeGreaterThan(3)
    expect(family.filter(isRunning)).toEqual([])
    expect(await readdir(folder)).toEqual([])
  })

  test('the demo leaves nothing behind when Ctrl-C comes while it starts', async (context) => {
    const { expect } = context
    const { demo, folder } = await startDemo(context)
    await vi.waitFor(async () => expect(await readdir(folder)).toHaveLength(1), SLOW_MACHINE)
    const family = await demo.family()
    demo.kill('SIGINT')

    expect(await demo.ended).toEqual({ code: 0, signal: null })
    expect(demo.stderr).toBe('')
    expect(demo.stdout).not.toContain('Metrics')
    expect(family.filter(isRunning)).toEqual([])
    expect(await readdir(folder)).toEqual([])
  })

  test('the demo rejects a wrong duration', async (context) => {
    const { expect } = context
    const { demo, folder } = await startDemo(context, '--duration', '1h')

    expect(await demo.ended).toEqual({ code: 2, signal: null })
    expect(demo.stdout).toBe('')
    expect(demo.stderr).toMatch(/^--duration: expected seconds, .*got "1h"\n\nUsage: npm run demo/)
    expect(await readdir(folder)).toEqual([])
  })

  test('the second program of the README reports how far its follower is behind', async (context) => {
    const { expect } = context
    const scrapeReadme = await startReadmeProgram(context, ['--import=./otel.mjs', 'own-log.mjs'])

    await vi.waitFor(async () => {
      const { value } = await scrapeReadme()
      const follower = { shard: 'orders', replica: 'eu-2' }
      expect(value('replication_lag_seqno', follower)).toBe(2)
    }, SLOW_MACHINE)
  })
})
