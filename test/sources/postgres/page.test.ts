import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { freePort } from '../../servers/postgres/processes.mjs'
import { useBuiltPackage } from '../../support/built-package.js'
import { eventually } from '../../support/eventually.js'
import { startCluster } from '../../support/postgres.js'
import { Program } from '../../support/program.js'
import { listFiles, readText } from '../../support/repository.js'
import { findBlocks } from '../../docs/markdown.js'

const built = await useBuiltPackage()
const { cluster, primary } = await startCluster()
const PAGE = 'docs/sources/postgres.md'
const blocks = findBlocks({ path: PAGE, text: readText(PAGE) })
const textOf = (language: string) =>
  blocks.find((block) => block.language === language)?.text ?? `the page has no ${language}`

/** Starts the program. It ends with the test. */
async function start(url?: string) {
  const [port, metricsPort] = [await freePort(), await freePort()]
  const file = join(built.folder, `service-${port}.mjs`)
  await writeFile(file, textOf('js'))
  const env = {
    ...(url !== undefined && { DATABASE_URL: url }),
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

  it('stays with a wrong password, and says what to do', async () => {
    const rules = join(cluster.folder, 'strict.conf')
    await writeFile(rules, 'host all postgres all trust\nhost all all all scram-sha-256\n')
    const node = await cluster.startPrimary({ name: 'strict', conf: { hba_file: rules } })
    await node.query("create role monitor login password 'secret' in role pg_monitor")
    const { program, untilScraped, untilLogged } = await start(node.url('monitor:wrong'))
    await untilLogged(/28P01: .*: check the password/)
    await untilScraped(DOWN)
    expect(program.stderr).not.toMatch(/wrong/)
  })

  it.each([undefined, ''])('stays without a URL, and says that none is set: %s', async (url) => {
    const { untilScraped, untilLogged } = await start(url)
    await untilLogged(/at localhost \(no host is set\):5432/)
    await untilScraped(DOWN)
  })
})

describe('a job that is done', () => {
  /** Runs a job that polls more often than its Pool's connections may be idle. */
  function startJob(options: object) {
    const config = { ...primary.connectionConfig(), idleTimeoutMillis: 500, ...options }
    const program = `
      const { ReplicationLagMetricProducer } = require(${JSON.stringify(built.implementation)})
      const { postgresSource } = require(${JSON.stringify(`${built.folder}/dist/sources/postgres/index.js`)})
      const { Pool } = require('pg')
      const pool = new Pool(${JSON.stringify(config)})
      const source = postgresSource({ client: pool, shard: 'pg' })
      let reads = 0
      const read = async (signal) => {
        const reading = await source.read(signal)
        console.log('reads:', ++reads)
        return reading
      }
      new ReplicationLagMetricProducer({ sources: [{ name: 'pg', read }], pollIntervalMillis: 100 })
    `
    const running = new Program(['--eval', program], { cwd: built.folder })
    onTestFinished(() => running.stop())
    return running
  }

  it('exits with allowExitOnIdle', async () => {
    const job = startJob({ allowExitOnIdle: true })
    expect(await job.ended).toEqual({ code: 0, signal: null })
    expect(job.stderr).toBe('')
  })

  it('does not exit without it, because each poll comes before the idle timeout', async () => {
    await startJob({}).untilPrinted(/reads: 10\n/)
  })
})
