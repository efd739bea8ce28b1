import { describe, expect, onTestFinished, test } from 'vitest'
import { useBuiltPackage } from '../support/built-package.js'
import { startOtlpReceiver, type OtlpReceiver } from '../support/otlp-receiver.js'
import { createLogin, startCluster } from '../support/postgres.js'
import { readText } from '../support/repository.js'
import { isProgram } from './code-blocks.js'
import { findBlocks } from './markdown.js'
import { startProgram } from './page-programs.js'

// Runs the programs of the README and of docs/otlp.md as they are printed there, on servers that work and that do not. The
// programs of the other pages are in programs.e2e.test.ts.

const PASSWORD = 'hunter2'
const built = await useBuiltPackage()
const { cluster, primary } = await startCluster()
await createLogin(cluster, primary, 'monitor', PASSWORD)

function programsOf(path: string): string[] {
  return findBlocks({ path, text: readText(path) })
    .filter(isProgram)
    .map(({ text }) => text)
}

const [service = '', ownLog = ''] = programsOf('README.md')
const [otlp = ''] = programsOf('docs/otlp.md')

const start = (text: string, env: Record<string, string> = {}) =>
  startProgram(built.folder, text, { env })

const UP = { source: 'postgres:orders' }

describe('the service of the README', () => {
  test('reports standbys, and logs nothing', async () => {
    await cluster.startStandby({ name: 'standby_2', of: primary })
    const { output, until, scrape, greet } = await start(service, { DATABASE_URL: primary.url() })
    await until(async () => {
      const { value } = await scrape()
      const labels = { shard: 'orders', replica: 'standby_2' }
      expect(value('replication_lag_seqno', labels)).toBe(0)
      expect(value('replication_source_up', UP)).toBe(1)
    })
    expect(await greet()).toBe('ok\n')
    expect(output()).toBe('')
  })

  test.each([
    [
      'a server that is down',
      () => `postgres://monitor:${PASSWORD}@127.0.0.1:1/postgres`,
      /ECONNREFUSED/,
    ],
    ['a wrong password', () => primary.url('monitor:wrong'), /28P01.*check the password/],
  ])('stays and says why with %s', async (_, url, message) => {
    const { output, until, scrape, greet } = await start(service, { DATABASE_URL: url() })
    await until(() => expect(output()).toMatch(message))
    await until(async () => expect((await scrape()).value('replication_source_up', UP)).toBe(0))
    expect(await greet()).toBe('ok\n')
    expect(output()).not.toContain(PASSWORD)
  })
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

describe('the service of docs/otlp.md', () => {
  async function receive(): Promise<OtlpReceiver> {
    const receiver = await startOtlpReceiver()
    onTestFinished(() => receiver.close())
    return receiver
  }
  const quick = otlp.replace('15_000', '300').replace('10_000', '200')

  test('sends the lag of a standby to the endpoint of the environment, and once more at the end', async () => {
    await cluster.startStandby({ name: 'standby_3', of: primary })
    const receiver = await receive()
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
    expect(receiver.points('replication_lag_seqno')).toMatchObject([
      { attributes: { shard: 'orders', replica: 'standby_3' }, value: 0 },
    ])
  })

  test('stays while its server is dead, says why, and recovers', async () => {
    const node = await cluster.startPrimary({ name: 'mortal_2' })
    const receiver = await receive()
    const { output, until } = await start(quick, {
      DATABASE_URL: node.url(),
      OTEL_EXPORTER_OTLP_ENDPOINT: new URL(receiver.url).origin,
    })
    const up = () => receiver.points('replication_source_up').at(-1)?.value
    await until(() => expect(up()).toBe(1))
    await node.kill()
    await until(() => expect(up()).toBe(0))
    await until(() => expect(output()).toMatch(/cannot be read/))
    await node.start()
    await until(() => expect(up()).toBe(1))
  })
})
