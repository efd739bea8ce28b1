import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { dirname, join } from 'node:path'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { eventually } from '../support/eventually.js'
import { recordLog } from '../support/postgres-monitor.js'
import {
  connect,
  createLogin,
  createSource,
  readFollowers,
  startCluster,
  write,
  type Seen,
} from '../support/postgres.js'
import { readText } from '../support/repository.js'
import { findTableRows } from './markdown.js'

const PAGE = 'docs/security.md'
const PASSWORD = 'correct horse'
const WRONG = 'battery staple'

const { cluster, primary } = await startCluster()
await createLogin(cluster, primary, 'monitor', PASSWORD)
await primary.query('create table orders (customer text)')

describe('a role with pg_monitor and nothing else', () => {
  test('can read the lag of a follower', async () => {
    const standby = await cluster.startStandby({ name: 'standby_1', of: primary })
    await write(primary)
    await standby.untilCaughtUpWith(primary)
    const source = createSource(primary, {}, { user: 'monitor', password: PASSWORD })
    await eventually(async () => {
      const expected: Record<string, Seen> = { standby_1: { connected: true, lag: 0 } }
      expect(await readFollowers(source)).toEqual(expected)
    })
  })

  test('can read no table and change nothing', async () => {
    const client = await connect(primary, { user: 'monitor', password: PASSWORD })
    for (const statement of [
      'select * from orders',
      'insert into orders values (1)',
      'create table mine (a int)',
      'alter system set fsync = off',
      "select pg_read_file('pg_hba.conf')",
      'select pg_create_physical_replication_slot($$mine$$)',
    ]) {
      await expect(client.query(statement)).rejects.toThrow(/permission denied/)
    }
  })
})

test('a wrong password is reported, and not shown', async () => {
  const logged = recordLog()
  const source = createSource(primary, {}, { user: 'monitor', password: WRONG })
  const producer = new ReplicationLagMetricProducer({ sources: [source] })
  onTestFinished(() => producer.shutdown())
  await eventually(() =>
    expect(logged.matching('password authentication failed for user "monitor"')).toHaveLength(1),
  )
  expect(logged.messages.join('\n')).toMatch(/127\.0\.0\.1:\d+, role monitor.*check the password/)
  expect(logged.messages.join('\n')).not.toMatch(/battery|staple/)
})

describe('the Prometheus exporter', () => {
  test.each(['option', 'environment'])('listens on one address by %s', async (by) => {
    const port = await freePort()
    if (by === 'environment') vi.stubEnv('OTEL_EXPORTER_PROMETHEUS_HOST', '127.0.0.1')
    onTestFinished(() => void vi.unstubAllEnvs())
    const host = by === 'option' ? { host: '127.0.0.1' } : {}
    const exporter = new PrometheusExporter({ ...host, port, preventServerStart: true })
    await exporter.startServer()
    onTestFinished(() => exporter.shutdown())
    const { status } = await fetch(`http://127.0.0.1:${port}/metrics`)
    expect(status).toBe(200)
    await expect(fetch(`http://[::1]:${port}/metrics`)).rejects.toThrow()
  })
})

const rows = findTableRows({ path: PAGE, text: readText(PAGE) })

const named = rows.flatMap(({ links, codes }) => {
  const [file] = links.filter((target) => target.endsWith('.test.ts'))
  return file === undefined ? [] : { file: join(dirname(PAGE), file), title: codes.at(-1) ?? '' }
})

test.each(named)('the page names a test that exists: $file: $title', ({ file, title }) => {
  expect(readText(file)).toContain(`'${title}'`)
})

const systems = rows.flatMap(({ links, codes }) => {
  const [page] = links.filter((target) => target.startsWith('sources/'))
  return page === undefined ? [] : { page: `docs/${page.replace(/#.*/, '')}`, privileges: codes }
})

test.each(systems)(
  'the privileges are those of the page of the source: $page',
  ({ page, privileges }) => {
    expect(systems).toHaveLength(7)
    const text = readText(page)
    expect(privileges.filter((privilege) => !text.includes(privilege))).toEqual([])
  },
)
