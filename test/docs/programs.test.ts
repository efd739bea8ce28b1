import { expect, onTestFinished, test } from 'vitest'
import { useBuiltPackage } from '../support/built-package.js'
import { startOtlpReceiver } from '../support/otlp-receiver.js'
import { startCluster } from '../support/postgres.js'
import { readText } from '../support/repository.js'
import { isProgram } from './code-blocks.js'
import { findBlocks } from './markdown.js'
import { startProgram } from './page-programs.js'

// Runs the programs of the README and of docs/otlp.md as they are printed there, on a server that works. The programs of the
// other pages are in programs.e2e.test.ts, which also runs the README's on servers that do not.

const built = await useBuiltPackage()
const { cluster, primary } = await startCluster()

function programsOf(path: string): string[] {
  return findBlocks({ path, text: readText(path) })
    .filter(isProgram)
    .map(({ text }) => text)
}

const [service = '', ownLog = ''] = programsOf('README.md')
const [otlp = ''] = programsOf('docs/otlp.md')

const start = (text: string, env: Record<string, string> = {}) =>
  startProgram(built.folder, text, { env })

test('the service of the README reports standbys, and logs nothing', async () => {
  await cluster.startStandby({ name: 'standby_2', of: primary })
  const { output, until, scrape, greet } = await start(service, { DATABASE_URL: primary.url() })
  await until(async () => {
    const { value } = await scrape()
    const labels = { shard: 'orders', replica: 'standby_2' }
    expect(value('replication_lag_seqno', labels)).toBe(0)
    expect(value('replication_source_up', { source: 'postgres:orders' })).toBe(1)
  })
  expect(await greet()).toBe('ok\n')
  expect(output()).toBe('')
})

test('the own log of the README reports what it shows', async () => {
  const { output, until, scrape } = await start(ownLog)
  const [, labels = '', lag = ''] =
    /^replication_lag_seqno\{(.*),…\} (\d+)\n.*replica="eu-2",…\} \d\.\d$/m.exec(
      readText('README.md'),
    ) ?? []
  expect(labels).toBe('shard="orders",replica="eu-2"')
  await until(async () => {
    const { value } = await scrape()
    const follower = { shard: 'orders', replica: 'eu-2' }
    expect(value('replication_lag_seqno', follower)).toBe(Number(lag))
    expect(value('replication_lag_seconds', follower)).toBeGreaterThan(0)
  })
  expect(output()).toBe('')
})

test('the service of docs/otlp.md sends the lag to the endpoint of the environment, and once more at the end', async () => {
  await cluster.startStandby({ name: 'standby_3', of: primary })
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const { program, until } = await start(otlp, {
    DATABASE_URL: primary.url(),
    OTEL_EXPORTER_OTLP_ENDPOINT: new URL(receiver.url).origin,
  })
  await until(async () => {
    const rows = await primary.query(
      "select from pg_stat_activity where state = 'idle' and query ~ 'pg_replication_slots'",
    )
    expect(rows).not.toEqual([])
  })
  program.kill('SIGTERM')
  expect(await program.ended).toEqual({ code: 0, signal: null })
  const points = receiver.points('replication_lag_seqno')
  expect(points.map(({ attributes }) => attributes)).toContainEqual({
    shard: 'orders',
    replica: 'standby_3',
  })
})
