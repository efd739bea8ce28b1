import { writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { useBuiltPackage } from '../../support/built-package.js'
import { eventually } from '../../support/eventually.js'
import { startCluster } from '../../support/postgres.js'
import { Program } from '../../support/program.js'
import { readText } from '../../support/repository.js'
import { findBlocks, readPages } from '../../docs/markdown.js'

// Runs the program of docs/sources/postgres.md as it is printed there.

const built = await useBuiltPackage()
const { cluster, primary } = await startCluster()
const PAGE = 'docs/sources/postgres.md'
const blocks = findBlocks({ path: PAGE, text: readText(PAGE) })
const programs = blocks.filter(({ language }) => language === 'js')
const statements = blocks.filter(({ language }) => language === 'sql')

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** Starts the program. It ends with the test. */
async function start(url?: string) {
  const [port, metricsPort] = [await freePort(), await freePort()]
  const file = join(built.folder, `service-${port}.mjs`)
  await writeFile(file, programs[0]?.text ?? '')
  const env = {
    ...(url !== undefined && { DATABASE_URL: url }),
    PORT: `${port}`,
    OTEL_EXPORTER_PROMETHEUS_PORT: `${metricsPort}`,
  }
  const program = new Program([file], { cwd: built.folder, env })
  onTestFinished(() => program.stop())
  let end: unknown
  void program.ended.then((ended) => (end = ended))
  /** Waits until the metrics match. The service must be alive then. */
  const untilScraped = (pattern: RegExp) =>
    eventually(async () => {
      expect(end).toBeUndefined()
      const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`)
      expect(await response.text()).toMatch(pattern)
      expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe('ok\n')
    })
  const untilLogged = (pattern: RegExp) =>
    eventually(() => {
      expect(end).toBeUndefined()
      expect(program.stderr).toMatch(pattern)
    })
  return { program, untilScraped, untilLogged }
}

const UP = /^replication_source_up\{source="postgres:orders".*\} 1$/m
const DOWN = /^replication_source_up\{source="postgres:orders".*\} 0$/m

it('is the only one on the page', () => {
  expect(programs).toHaveLength(1)
  expect(readPages().map(({ path }) => path)).toContain(PAGE)
})

describe('the program', () => {
  it('reports the followers, with the role of the page, and logs nothing', async () => {
    await primary.query(statements[0]?.text ?? '')
    await cluster.startStandby({ name: 'standby_1', of: primary })
    const { program, untilScraped } = await start(primary.url('monitor:secret'))
    await untilScraped(
      /^replication_follower_connected\{shard="orders",replica="standby_1".*\} 1$/m,
    )
    await untilScraped(UP)
    expect(program.stderr).toBe('')
  })

  it('stays while the server is down, says why, and reports it once it is there', async () => {
    const node = await cluster.startPrimary({ name: 'late' })
    const url = node.url()
    await node.stop()
    const { untilScraped, untilLogged } = await start(url)
    await untilLogged(/ECONNREFUSED.*: check host and port, and whether the server runs/)
    await untilScraped(DOWN)
    await node.start()
    await untilScraped(UP)
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

  it.each([
    ['a wrong password', 'monitor:wrong', /28P01: .*: check the password/],
    ['no password', 'monitor', /no password is set: put it into the URL, or set PGPASSWORD/],
    ['an unencoded password', 'monitor:se/cret', /Encode special characters of the password/],
  ])('stays with %s, and says what to do', async (_, login, message) => {
    const rules = join(cluster.folder, 'strict.conf')
    await writeFile(rules, 'host all postgres all trust\nhost all all all scram-sha-256\n')
    const node = await cluster.startPrimary({
      name: `strict-${login.replace(/\W/g, '-')}`,
      conf: { hba_file: rules },
    })
    await node.query("create role monitor login password 'secret' in role pg_monitor")
    const { program, untilScraped, untilLogged } = await start(node.url(login))
    await untilLogged(message)
    await untilScraped(DOWN)
    expect(program.stderr).not.toMatch(/cret(?!s)|wrong/)
  })

  it.each([undefined, ''])('stays without a URL, and says that none is set: %s', async (url) => {
    const { untilScraped, untilLogged } = await start(url)
    await untilLogged(/at localhost \(no host is set\):5432/)
    await untilScraped(DOWN)
  })
})
