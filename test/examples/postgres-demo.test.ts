import { once } from 'node:events'
import { chmod, mkdtemp, readdir, realpath, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, test, vi, type TestContext } from 'vitest'
import { buildPackage } from '../support/built-package.js'
import { isRunning, Program, SLOW_MACHINE } from '../support/program.js'
import { parsePrometheusText } from '../support/prometheus.js'

// The demo as users start it, with the build of the package. Each has a cluster to itself, so they may overlap.

const repositoryBuilt = await realpath(await mkdtemp(join(tmpdir(), 'replication-lag-demo-')))
beforeAll(() => buildPackage(repositoryBuilt))
afterAll(() => rm(repositoryBuilt, { recursive: true, force: true }))

/** Runs the demo with a temporary folder of its own, so that what it leaves there is known. */
async function startDemo({ onTestFinished }: TestContext, ...parameters: string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'replication-lag-demo-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  // Of root too: he runs the servers as somebody else.
  await chmod(folder, 0o755)
  const demo = new Program(['docs/examples/postgres/demo.mjs', ...parameters], {
    cwd: repositoryBuilt,
    env: { TMPDIR: folder },
  })
  onTestFinished(() => demo.stop())
  return { demo, folder }
}

async function untilUrl(demo: Program): Promise<string> {
  const [, url = ''] = await demo.untilPrinted(/^Metrics: (http:\S+)\n/m)
  return url
}

/** Lags in bytes, by replica: as Prometheus would see them. */
async function scrape(url: string): Promise<Record<string, number>> {
  const response = await fetch(url)
  const { find } = parsePrometheusText(await response.text())
  const samples = find('replication_lag_seqno', { shard: 'orders' })
  return Object.fromEntries(samples.map(({ labels, value }) => [labels['replica'] ?? '', value]))
}

/** The ports that the demo says were taken. Demos of other tests may have taken them, and some more. */
function takenPorts(demo: Program): number[] {
  const lines = demo.stderr.matchAll(/^Port (\d+) is taken, trying \d+ for the metrics\.$/gm)
  return [...lines].map(([, port]) => Number(port))
}

/** What else it printed to stderr. */
function complaints(demo: Program): string {
  return demo.stderr.replaceAll(/^Port \d+ is taken, .*\n/gm, '')
}

/** A line for a log: plain text, and what is lagging by how much. */
const READING =
  /^\d\d:\d\d:\d\d {2}orders\/standby_1 +[\d.]+ (?:B|[KM]iB) [↑↓→] {3}orders\/standby_2 +[\d.]+ (?:B|[KM]iB) [↑↓→]( {3}standby_2 paused)?$/

describe.concurrent('the PostgreSQL demo', { timeout: 120_000 }, () => {
  test('ends by itself after its duration, and says that nothing is left', async (context) => {
    const { expect } = context
    const { demo, folder } = await startDemo(context, '--duration', '2')
    await untilUrl(demo)
    const family = await demo.family()

    expect(await demo.ended).toEqual({ code: 0, signal: null })

    expect(complaints(demo)).toBe('')
    expect(demo.stdout).toMatch(/\nStopping …\nAll stopped, nothing left behind\.\n$/)
    expect(family.length).toBeGreaterThan(3)
    expect(family.filter(isRunning)).toEqual([])
    expect(await readdir(folder)).toEqual([])
  })

  test('serves and logs both lags while one standby falls behind and catches up, until Ctrl-C', async (context) => {
    const { expect } = context
    const { demo, folder } = await startDemo(context)
    const url = await untilUrl(demo)
    const untilLag = (check: (lags: Record<string, number>) => void) =>
      vi.waitFor(async () => check(await scrape(url)), SLOW_MACHINE)

    await untilLag((lags) => expect(Object.keys(lags).sort()).toEqual(['standby_1', 'standby_2']))
    // Far more than is under way between two servers at any time.
    await untilLag((lags) => expect(lags['standby_2']).toBeGreaterThan(250_000))
    await untilLag((lags) => expect(lags['standby_2']).toBe(0))
    await demo.untilPrinted(/standby_2 paused\n/)
    const family = await demo.family()
    demo.kill('SIGINT')

    expect(await demo.ended).toEqual({ code: 0, signal: null })
    expect(complaints(demo)).toBe('')
    const readings = demo.stdout.split('\n').filter((line) => line.includes('orders/'))
    expect(readings.filter((line) => !READING.test(line))).toEqual([])
    expect(demo.stdout).toMatch(/\nStopping …\nAll stopped, nothing left behind\.\n$/)
    expect(family.length).toBeGreaterThan(3)
    expect(family.filter(isRunning)).toEqual([])
    expect(await readdir(folder)).toEqual([])
  })

  test('leaves nothing when Ctrl-C comes while it starts', async (context) => {
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

  test('says when a port is taken, and which it takes instead', async (context) => {
    const { expect, onTestFinished } = context
    const holder = createServer().listen(9464, '127.0.0.1')
    onTestFinished(() => void holder.close())
    // When somebody else has it, that is as good.
    await once(holder, 'listening').catch(() => undefined)
    const { demo } = await startDemo(context)

    const port = Number(new URL(await untilUrl(demo)).port)

    expect(takenPorts(demo)).toEqual(Array.from({ length: port - 9464 }, (_, n) => 9464 + n))
    if (holder.listening) expect(port).toBeGreaterThan(9464)
  })

  test.for([
    { parameters: ['--duration', '0'], message: '--duration: expected seconds, more than 0' },
    { parameters: ['--duration', '1h'], message: 'up to 86400, got "1h"' },
    { parameters: ['--fast'], message: "Unknown option '--fast'" },
  ])('refuses $parameters with its usage', async ({ parameters, message }, context) => {
    const { expect } = context
    const { demo, folder } = await startDemo(context, ...parameters)

    expect(await demo.ended).toEqual({ code: 2, signal: null })

    expect(demo.stdout).toBe('')
    expect(demo.stderr.split('\n')[0]).toContain(message)
    expect(demo.stderr).toContain('\n\nUsage: npm run demo [-- --duration SECONDS]\n')
    expect(await readdir(folder)).toEqual([])
  })

  test('tells its usage to who asks', async (context) => {
    const { expect } = context
    const { demo } = await startDemo(context, '--help')

    expect(await demo.ended).toEqual({ code: 0, signal: null })
    expect(demo.stdout).toMatch(/^Usage: npm run demo/)
    expect(demo.stderr).toBe('')
  })
})
