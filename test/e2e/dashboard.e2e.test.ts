import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { postgres } from '../servers/postgres.mjs'
import { readDashboard } from '../monitoring/files.js'
import { provide } from '../support/attachments.js'
import { eventually } from '../support/eventually.js'
import { serveMetrics } from '../support/prometheus.js'
import { repository } from '../support/repository.js'
import { createServers, Prometheus, prometheus2 } from './backends.js'

/** The thresholds, which are variables of the dashboard. */
const BEHIND = 0.5
const KEPT = 10e9

describe.skipIf(!prometheus2)('the dashboard, on a real PostgreSQL', () => {
  it('has the right answer in every panel', async () => {
    const servers = await createServers()
    const system = await postgres.start(servers)
    const connected = await system.connect()
    onTestFinished(() => connected.close())
    const producer = new ReplicationLagMetricProducer({
      sources: [connected.source],
      pollIntervalMillis: 200,
    })
    onTestFinished(() => producer.shutdown())
    const exporter = new PrometheusExporter({
      preventServerStart: true,
      metricProducers: [producer],
    })
    provide(exporter)
    const endpoint = await serveMetrics(exporter)
    onTestFinished(() => endpoint.close())
    const prometheus = await Prometheus.start(servers, prometheus2 ?? '', {
      targets: { service: [endpoint.url] },
      rules: [join(repository, 'docs/monitoring/rules.yml')],
    })

    // One follower receives and applies nothing, and the other is caught up.
    const [first, second] = system.followers
    await system.pauseApplying?.(second)
    await system.write(500)
    const lagOf = async (name: string) =>
      Number((await system.position()) - (await system.position(name)))
    await eventually(async () => expect(await lagOf(first)).toBe(0))
    expect(await lagOf(second)).toBeGreaterThan(50_000)

    const some = expect.toSatisfy((value: number) => value > 0) as number
    const any = expect.any(Number) as number
    /** The values of each query, in the order of the names of their followers. */
    const expectedWith = (lag: number): Record<string, number[]> => ({
      'Followers A': [2],
      'Worst lag A': [some],
      'Far behind A': [1],
      'Disconnected A': [0],
      'Most log kept A': [any],
      'Sources that fail A': [0],
      'Worst followers A': [0, some],
      'Worst followers B': [0, lag],
      'Worst followers C': [1, 1],
      'Lag in seconds A': [0, some],
      'Lag in seconds threshold': [BEHIND],
      'Lag in positions A': [0, lag],
      'Network: not received A': [0, 0],
      'Replay: received, not applied A': [0, lag],
      'Log kept for followers A': [any, any],
      'Log kept for followers threshold': [KEPT],
      'Followers that are connected A': [2],
      'Which sources report A': [1],
      'Which sources report B': [1],
      'Which sources report C': [some],
      'Sources that can be read A': [1],
      'Time since the last read A': [some],
      'By shard A': [2],
      'By shard B': [2],
      'By shard C': [some],
      'By shard D': [lag],
      'By shard E': [any],
    })
    const answers = async () => {
      const entries = readDashboard().panels.flatMap(({ title, targets = [] }) =>
        targets.map(async ({ refId, expr }) => {
          const query = expr
            .replaceAll(/\$(shard|replica)/g, '.*')
            .replaceAll('$behind', String(BEHIND))
            .replaceAll('$kept', String(KEPT))
          const samples = await prometheus.query(query)
          const name = ({ labels }: (typeof samples)[number]) => labels['replica'] ?? ''
          samples.sort((a, b) => name(a).localeCompare(name(b)))
          return [`${title} ${refId}`, samples.map(({ value }) => value)] as const
        }),
      )
      return Object.fromEntries(await Promise.all(entries))
    }
    // PostgreSQL writes a little by itself.
    const check = async () => expect(await answers()).toEqual(expectedWith(await lagOf(second)))
    await vi.waitFor(check, { timeout: 60_000, interval: 500 })
  })
})
