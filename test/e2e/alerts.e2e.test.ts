import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { parse, stringify } from 'yaml'
import { PostgresSystem } from '../servers/postgres.mjs'
import { Servers } from '../servers/servers.mjs'
import { readText } from '../support/repository.js'
import { serveMetrics } from '../support/prometheus.js'
import { Prometheus, prometheus2 } from './backends.js'

interface Rules {
  groups: { name: string; rules: { alert?: string; expr: string; for?: string }[] }[]
}

/** The rules as they are, with seconds for minutes and smaller thresholds, because a test cannot take 5 minutes. */
function quickRules(): { text: string; alerts: string[] } {
  const rules = parse(readText('docs/monitoring/rules.yml')) as Rules
  const alerts = new Set<string>()
  for (const rule of rules.groups.flatMap((group) => group.rules)) {
    if (rule.alert === undefined) continue
    alerts.add(rule.alert)
    rule.for = '1s'
    rule.expr = rule.expr
      .replace(/\[(\d+)m\]/g, (_, minutes) => `[${Math.max(4, Math.ceil(Number(minutes) / 2))}s]`)
      .replace(/> 30\b/g, '> 1')
      .replace(/, 3600\) > 600/g, ', 60) > 10')
      .replace(/> 600\b/g, '> 2')
      .replace(/> 120\b/g, '> 3')
      .replace(/> 5\b/g, '> 0.5')
      .replace(/> 10e9/g, '> 1e6')
  }
  return { text: stringify(rules), alerts: [...alerts] }
}

describe.skipIf(!prometheus2)('the alerts, on a real PostgreSQL', () => {
  const { text, alerts } = quickRules()
  const tested = new Set<string>()
  const closers: (() => unknown)[] = []
  const own = new ReplicationLagGauge()
  let prometheus: Prometheus
  let system: PostgresSystem

  async function serve(exporter: PrometheusExporter): Promise<string> {
    const provider = new MeterProvider({ readers: [exporter] })
    const endpoint = await serveMetrics(exporter)
    closers.unshift(
      () => endpoint.close(),
      () => provider.shutdown(),
    )
    return endpoint.url
  }

  /** Serves what a source reads from the primary, and what an application stores, which exports positions. */
  async function serveProducers(): Promise<string[]> {
    const { source, close } = await system.connect()
    const options = { pollIntervalMillis: 200, pollTimeoutMillis: 400 }
    const producer = new ReplicationLagMetricProducer({ sources: [source], ...options })
    const positions = new ReplicationLagMetricProducer({ gauge: own, positions: true })
    closers.unshift(
      () => producer.shutdown(),
      () => close(),
    )
    return Promise.all(
      [producer, positions].map((each) =>
        serve(new PrometheusExporter({ preventServerStart: true, metricProducers: [each] })),
      ),
    )
  }

  /** Serves what an application stores through ObservableGauges. */
  async function serveGauges(gauge: ReplicationLagGauge): Promise<string> {
    const exporter = new PrometheusExporter({ preventServerStart: true })
    const provider = new MeterProvider({ readers: [exporter] })
    const instrumentation = new ReplicationLagInstrumentation({ gauge, lagSeconds: false })
    instrumentation.setMeterProvider(provider)
    const endpoint = await serveMetrics(exporter)
    closers.unshift(
      () => endpoint.close(),
      () => provider.shutdown(),
    )
    return endpoint.url
  }

  const many = new ReplicationLagGauge()

  beforeAll(async () => {
    const servers = await Servers.create()
    closers.push(() => servers.stop())
    // A follower that is cut off stays connected.
    system = await PostgresSystem.start(servers, { wal_sender_timeout: '60s' })
    const rules = join(servers.folder, 'rules.yml')
    await writeFile(rules, text)
    prometheus = await Prometheus.start(servers, prometheus2 ?? '', {
      targets: { producer: await serveProducers(), gauge: [await serveGauges(many)] },
      rules: [rules],
    })
  })
  afterAll(async () => {
    for (const close of closers) await close()
  })

  /** Writes about 3 MB. */
  const write = () => system.write(20_000)
  const standby = () => system.followers[1]

  const firing = async () => new Set((await prometheus.firing()).map(({ alertname }) => alertname))
  const patience = { timeout: 60_000, interval: 250 }

  /** Sees these alerts fire after a fault, and resolve after its repair. */
  async function expectAlerts(
    names: string[],
    fault: () => Promise<unknown>,
    repair: () => Promise<unknown>,
  ): Promise<void> {
    await vi.waitFor(async () => expect(await firing()).toEqual(new Set()), patience)
    await fault()
    try {
      await vi.waitFor(async () => {
        const current = await firing()
        expect(names.filter((name) => !current.has(name))).toEqual([])
      }, patience)
    } finally {
      await repair()
    }
    await vi.waitFor(async () => expect(await firing()).toEqual(new Set()), patience)
    for (const name of names) tested.add(name)
  }

  it('fire when replay is paused, and say that it is the replay', async () => {
    const names = [
      'ReplicationFollowerFarBehind',
      'ReplicationNoProgress',
      'ReplicationReplayBehind',
      'ReplicationLagGrowing',
    ]
    const pause = async () => {
      await system.pauseApplying(standby())
      await write()
    }
    await expectAlerts(names, pause, () => system.resumeApplying(standby()))
  })

  it('fire when the link is cut, and say that it is the network', async () => {
    const cut = async () => {
      await system.cut(standby())
      await write()
    }
    await expectAlerts(['ReplicationNetworkBehind'], cut, () => system.mend(standby()))
  })

  it('fire when a standby is killed, and its slot keeps the log', async () => {
    const kill = async () => {
      await system.kill(standby())
      await write()
    }
    const start = async () => {
      await system.restart(standby())
      await system.leader.query('checkpoint')
    }
    await expectAlerts(['ReplicationFollowerDisconnected', 'ReplicationLogRetained'], kill, start)
  })

  it('fire when the primary hangs', async () => {
    const names = ['ReplicationSourceFailing', 'ReplicationSourceSilent']
    await expectAlerts(
      names,
      () => system.freeze(),
      () => system.thaw(),
    )
  })

  it('fire when no process reports the leader of followers', async () => {
    const fault = () => {
      own.updateAppliedSeqno('alone', 7, 'r1')
      return Promise.resolve()
    }
    const repair = () => {
      own.updateLeaderSeqno('alone', 7)
      return Promise.resolve()
    }
    await expectAlerts(['ReplicationLeaderMissing'], fault, repair)
  })

  it('fire when followers exceed the series of the SDK', async () => {
    for (let shard = 0; shard < 2100; shard++) {
      many.updateLeaderSeqno(shard, 1)
      many.updateAppliedSeqno(shard, 1)
    }
    await vi.waitFor(
      async () => expect(await firing()).toEqual(new Set(['ReplicationSeriesOverflow'])),
      patience,
    )
    tested.add('ReplicationSeriesOverflow')
  })

  it('are all tested here', () => {
    expect([...tested].sort()).toEqual([...alerts].sort())
  })
})
