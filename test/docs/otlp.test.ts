import { expect, onTestFinished, test, vi } from 'vitest'
import { startOtlpReceiver } from '../support/otlp-receiver.js'
import { startCluster } from '../support/postgres.js'
import { readText } from '../support/repository.js'
import { findBlocks } from './markdown.js'

const PAGE = 'docs/otlp.md'
const PROGRAM = 'docs/snippets/otlp/producer.mjs'

const { cluster, primary } = await startCluster()

test('the page shows the program as it is', () => {
  const blocks = findBlocks({ path: PAGE, text: readText(PAGE) })
  expect(blocks.map(({ text }) => text)).toContain(readText(PROGRAM).trimEnd())
})

test('the program sends the lag of a standby to the endpoint of the environment', async () => {
  await cluster.startStandby({ name: 'standby_1', of: primary })
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const { host, port, user, database } = primary.connectionConfig()
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', new URL(receiver.url).origin)
  vi.stubEnv('PGHOST', host)
  vi.stubEnv('PGPORT', String(port))
  vi.stubEnv('PGUSER', user)
  vi.stubEnv('PGDATABASE', database)
  onTestFinished(() => void vi.unstubAllEnvs())

  const { producer, sdk } = await import('../../docs/snippets/otlp/producer.mjs')
  onTestFinished(() => producer.shutdown())
  await vi.waitUntil(() => producer.gauge.collectMetrics().length === 1, { timeout: 40_000 })
  await sdk.shutdown()
  await receiver.waitFor(({ points }) => points.length > 0)
  expect(receiver.points('replication_lag_seqno')).toMatchObject([
    { attributes: { shard: 'orders', replica: 'standby_1' }, value: 0 },
  ])
})
