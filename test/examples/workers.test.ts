import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { startCluster } from '../support/postgres.js'
import { Program } from '../support/program.js'
import { parsePrometheusText } from '../support/prometheus.js'

const { cluster, primary } = await startCluster()

const built = await useBuiltPackage()

/** Runs the main program of an example. Returns a function that scrapes one of its metrics, by replica. */
async function start(example: string, env: Record<string, string> = {}) {
  const program = new Program([`docs/examples/${example}/main.mjs`], {
    cwd: built.folder,
    env: { ...env, PORT: String(await freePort()) },
  })
  onTestFinished(() => program.stop())
  const [, url = ''] = await program.untilPrinted(/^Metrics: (http:\S+)\n/m)
  const scrape = async (metric: string, shard = 'orders') => {
    const { find } = parsePrometheusText(await (await fetch(url)).text())
    const samples = find(metric, { shard })
    return new Map(samples.map(({ labels, value }) => [labels['replica'], value]))
  }
  return { program, scrape }
}

test('a worker serves what the main thread stores', async () => {
  const { program, scrape } = await start('worker-exporter')
  await eventually(async () => {
    const lags = await scrape('replication_lag_seqno')
    // The main thread stores meanwhile, so they can be off by one.
    expect([0, 1]).toContain(lags.get('prompt'))
    expect([4, 5, 6]).toContain(lags.get('five-behind'))
    expect(lags.size).toBe(2)
  })
  expect(program.stderr).toBe('')
})

test('a worker polls a PostgreSQL next to what the main thread stores', async () => {
  await cluster.startStandby({ name: 'standby_1', of: primary })
  const { program, scrape } = await start('worker-exporter', { DATABASE_URL: primary.url() })
  await eventually(async () => {
    const lags = await scrape('replication_lag_seqno', 'database')
    expect(Object.fromEntries(lags)).toEqual({ standby_1: 0 })
    expect(await scrape('replication_lag_seqno')).toHaveProperty('size', 2)
  })
  expect(program.stderr).toBe('')
})

test('the main thread serves what workers apply', async () => {
  const { program, scrape } = await start('worker-followers')
  await eventually(async () => {
    const lags = await scrape('replication_lag_seqno')
    expect([...lags.keys()].sort()).toEqual(['worker-1', 'worker-2'])
    for (const lag of lags.values()) expect(lag).toBeLessThan(50)
    const connected = await scrape('replication_follower_connected')
    expect([...connected.values()]).toEqual([1, 1])
  })
  expect(program.stderr).toBe('')
})
