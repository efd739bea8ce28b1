import type { MeterProvider } from '@opentelemetry/sdk-metrics'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Registry, register } from 'prom-client'
import {
  ReplicationLagGauge,
  ReplicationPoller,
  type ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect, onTestFinished, test, vi } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { eventually } from '../support/eventually.js'
import { parsePrometheusText } from '../support/prometheus.js'
import { importProgram } from './page-programs.js'
import { readText } from '../support/repository.js'
import { ScriptedSource } from '../support/scripted-source.js'

const PAGE = { path: 'docs/migration.md', text: readText('docs/migration.md') }

const { registerReplicationLag } = (await importProgram(PAGE.path, 'registerReplicationLag')) as {
  registerReplicationLag: (gauge: ReplicationLagGauge, registry: Registry) => void
}

test('prom-client reports the lag next to its own metrics, and forgets a removed follower', async () => {
  const gauge = new ReplicationLagGauge()
  const registry = new Registry()
  registerReplicationLag(gauge, registry)
  gauge.updateLeaderSeqno('orders', 42n)
  gauge.updateAppliedSeqno('orders', 40n, 'eu-1')
  gauge.updateAppliedSeqno('orders', 42n, 'eu-2')
  const read = async () => parsePrometheusText(await registry.metrics())

  const { value } = await read()
  expect(value('replication_lag_seqno', { shard: 'orders', replica: 'eu-1' })).toBe(2)
  expect(value('replication_lag_seqno', { shard: 'orders', replica: 'eu-2' })).toBe(0)
  expect(value('replication_lag_seconds', { shard: 'orders', replica: 'eu-2' })).toBe(0)

  expect(value('replication_follower_connected')).toBeUndefined() // of the application's own

  gauge.remove('orders', 'eu-2')
  const { find } = await read()
  const replicas = (name: string) => find(name).map(({ labels }) => labels['replica'])
  expect(replicas('replication_lag_seqno')).toEqual(['eu-1'])
  expect(replicas('replication_lag_seconds')).not.toContain('eu-2')
})

test('prom-client reports whether the followers of a source are connected', async () => {
  const [gauge, registry, source] = [
    new ReplicationLagGauge(),
    new Registry(),
    new ScriptedSource(),
  ]
  registerReplicationLag(gauge, registry)
  const poller = new ReplicationPoller({ gauge, sources: [source] })
  poller.start()
  onTestFinished(() => poller.stop())
  const follower = { appliedSeqno: 1, replica: 'eu-1', connected: false }
  const read = await eventually(() => source.last)
  read.answer({ shards: [{ shard: 'orders', leaderSeqno: 1, followers: [follower] }] })
  await eventually(async () => {
    const { value } = parsePrometheusText(await registry.metrics())
    expect(value('replication_follower_connected', { replica: 'eu-1' })).toBe(0)
  })
})

test('prom-client and the exporter of the SDK run side by side on two ports', async () => {
  const port = await freePort()
  vi.stubEnv('PORT', '0')
  vi.stubEnv('OTEL_EXPORTER_PROMETHEUS_PORT', `${port}`)
  onTestFinished(() => void vi.unstubAllEnvs())
  const { producer, provider, server } = (await importProgram(PAGE.path, 'server')) as {
    producer: ReplicationLagMetricProducer
    provider: MeterProvider
    server: Server
  }
  onTestFinished(async () => {
    register.clear()
    server.close()
    await provider.shutdown()
    await producer.shutdown()
  })
  if (!server.listening) await once(server, 'listening')
  producer.gauge.updateLeaderSeqno('orders', 42n)
  producer.gauge.updateAppliedSeqno('orders', 40n, 'eu-1')

  const read = async (port: number) => {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`)
    return parsePrometheusText(await response.text())
  }
  const before = await read((server.address() as AddressInfo).port)
  expect(before.value('app_scrapes_total')).toBe(1)
  expect(before.find('replication_lag_seqno')).toEqual([])
  const after = await eventually(() => read(port))
  expect(after.value('replication_lag_seqno', { shard: 'orders', replica: 'eu-1' })).toBe(2)
  expect(after.find('app_scrapes_total')).toEqual([])
})
