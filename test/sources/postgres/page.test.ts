import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { freePort } from '../../servers/postgres/processes.mjs'
import { useBuiltPackage } from '../../support/built-package.js'
import { eventually } from '../../support/eventually.js'
import { startCluster } from '../../support/postgres.js'
import { Program } from '../../support/program.js'
import { listFiles, readText } from '../../support/repository.js'
import { findBlocks } from '../../docs/pages.js'

const built = await useBuiltPackage()
const { cluster, primary } = await startCluster()
const PAGE = 'docs/sources/postgres.md'
const blocks = findBlocks({ path: PAGE, text: readText(PAGE) })
const textOf = (language: string) =>
  blocks.find((block) => block.language === language)?.text ?? `the page has no ${language}`

/** Starts the program. It ends with the test. */
async function start(url: string) {
  const [port, metricsPort] = [await freePort(), await freePort()]
  const file = join(built.folder, `service-${port}.mjs`)
  await writeFile(file, textOf('js'))
  const env = {
    DATABASE_URL: url,
    PORT: `${port}`,
    OTEL_EXPORTER_PROMETHEUS_PORT: `${metricsPort}`,
  }
  const program = new Program([file], { cwd: built.folder, env })
  onTestFinished(() => program.stop())
  const get = async (url: string) => (await fetch(`http://127.0.0.1:${url}`)).text()
  /** Waits until the metrics match. The service must be alive then. */
  const untilScraped = (pattern: RegExp) =>
    eventually(async () => {
      expect(await get(`${metricsPort}/metrics`)).toMatch(pattern)
      expect(await get(`${port}`)).toBe('ok\n')
    })
  const untilLogged = (pattern: RegExp) => eventually(() => expect(program.stderr).toMatch(pattern))
  return { program, untilScraped, untilLogged }
}

const UP = /^replication_source_up\{source="postgres:orders".*\} 1$/m
const DOWN = /^replication_source_up\{source="postgres:orders".*\} 0$/m

it('each situation in docs/sources/postgres.md is a test of its name, and each such test is on the page', () => {
  const [table = ''] = readText(PAGE).split('\n\n## ')
  const rows = table.split('\n').filter((line) => line.startsWith('| '))
  const documented = rows.slice(2).map((row) => row.split('|')[1]?.trim())
  const files = listFiles('test/sources/postgres').filter((path) => path.includes('situations'))
  const tests = files.flatMap((path) => [
    ...readText(path).matchAll(/\bit(?:(?:From|UpTo)\d+|\.skipIf\([^)]*\))?\('([^']+)'/g),
  ])
  expect(documented.length).toBeGreaterThan(20)
  expect(documented.sort()).toEqual(tests.map(([, name]) => name).sort())
})

describe('the program of the page', () => {
  it('reports the followers, with the role of the page, and logs nothing', async () => {
    await primary.query(textOf('sql'))
    await cluster.startStandby({ name: 'standby_1', of: primary })
    const { program, untilScraped } = await start(primary.url('monitor:secret'))
    await untilScraped(
      /^replication_follower_connected\{shard="orders",replica="standby_1".*\} 1$/m,
    )
    await untilScraped(UP)
    expect(program.stderr).toBe('')
  })

  it('stays while the server dies, says why, and reports it once it is back', async () => {
    const node = await cluster.startPrimary({ name: 'dying' })
    const { untilScraped, untilLogged } = await start(node.url())
    await untilScraped(UP)
    await node.kill()
    await untilLogged(/source "postgres:orders" cannot be read: PostgreSQL at 127\.0\.0\.1:\d+/)
    await untilScraped(DOWN)
    await node.start()
    await untilScraped(UP)
  })
})

it('a job that is done exits with allowExitOnIdle, though each poll comes before the idle timeout', async () => {
  const config = { ...primary.connectionConfig(), idleTimeoutMillis: 500, allowExitOnIdle: true }
  const program = `
    const { ReplicationLagMetricProducer } = require(${JSON.stringify(built.implementation)})
    const { postgresSource } = require(${JSON.stringify(`${built.folder}/dist/sources/postgres/index.js`)})
    const { Pool } = require('pg')
    const client = new Pool(${JSON.stringify(config)})
    const sources = [postgresSource({ client, shard: 'pg' })]
    new ReplicationLagMetricProducer({ sources, pollIntervalMillis: 100 })
  `
  const running = new Program(['--eval', program], { cwd: built.folder })
  onTestFinished(() => running.stop())
  expect(await running.ended).toEqual({ code: 0, signal: null })
  expect(running.stderr).toBe('')
})
