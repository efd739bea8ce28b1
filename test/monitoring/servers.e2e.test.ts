import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { parse, stringify } from 'yaml'
import { Prometheus, prometheus2 } from '../e2e/backends.js'
import { PostgresSystem } from '../servers/postgres.mjs'
import { Servers } from '../servers/servers.mjs'
import { eventually } from '../support/eventually.js'
import { serveMetrics } from '../support/http.js'
import { readJson, readText, repository } from '../support/repository.js'

// The alerts and the dashboard, each on a real PostgreSQL that a real Prometheus sees through a source.

const RULES = 'docs/monitoring/rules.yml'
const patience = { timeout: 60_000, interval: 250 }

/** What ends with the tests of a `describe`, the newest first. */
function useClosers() {
  const closers: (() => unknown)[] = []
  afterAll(async () => {
    for (const close of closers) await close()
  })
  const serve = async (...metricProducers: ReplicationLagMetricProducer[]) => {
    const exporter = new PrometheusExporter({ preventServerStart: true, metricProducers })
    const provider = new MeterProvider({ readers: [exporter] })
    const endpoint = await serveMetrics(exporter)
    closers.unshift(
      () => endpoint.close(),
      () => provider.shutdown(),
      ...metricProducers.map((producer) => () => producer.shutdown()),
    )
    return { provider, url: endpoint.url }
  }
  return {
    /** Serves what producers report, or what is reported to the provider. */
    serve,
    startSystem: async (options?: Record<string, string>) => {
      const servers = await Servers.create()
      closers.push(() => servers.stop())
      const system = await PostgresSystem.start(servers, options)
      const { source, close } = await system.connect()
      closers.unshift(() => close())
      const polling = { pollIntervalMillis: 200, pollTimeoutMillis: 400 }
      const producer = new ReplicationLagMetricProducer({ sources: [source], ...polling })
      return { servers, system, url: (await serve(producer)).url }
    },
  }
}

interface Rules {
  groups: { name: string; rules: { alert?: string; expr: string; for?: string }[] }[]
}

/** The rules as they are, with seconds for minutes and smaller thresholds, because a test cannot take 5 minutes. */
function quickRules(): { text: string; alerts: string[] } {
  const rules = parse(readText(RULES)) as Rules
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

describe.skipIf(!prometheus2)('the alerts', () => {
  const { text, alerts } = quickRules()
  const tested = new Set<string>()
  /** What applications store. The first one exports positions, the other uses ObservableGauges. */
  const [own, many] = [new ReplicationLagGauge(), new ReplicationLagGauge()]
  const { serve, startSystem } = useClosers()
  let prometheus: Prometheus
  let system: PostgresSystem

  beforeAll(async () => {
    // A follower that is cut off stays connected.
    const started = await startSystem({ wal_sender_timeout: '60s' })
    system = started.system
    const positions = new ReplicationLagMetricProducer({ gauge: own, positions: true })
    const gauges = await serve()
    const instrumentation = new ReplicationLagInstrumentation({ gauge: many, lagSeconds: false })
    instrumentation.setMeterProvider(gauges.provider)
    const rules = join(started.servers.folder, 'rules.yml')
    await writeFile(rules, text)
    prometheus = await Prometheus.start(started.servers, prometheus2 ?? '', {
      targets: { producer: [started.url, (await serve(positions)).url], gauge: [gauges.url] },
      rules: [rules],
    })
  })

  /** Writes about 3 MB. */
  const write = () => system.write(20_000)
  const standby = () => system.followers[1]

  const firing = async () => new Set((await prometheus.firing()).map(({ alertname }) => alertname))
  const expectSilence = () =>
    vi.waitFor(async () => expect(await firing()).toEqual(new Set()), patience)

  /** Sees these alerts fire after a fault, and resolve after its repair. */
  async function expectAlerts(
    names: string[],
    fault: () => unknown,
    repair: () => unknown,
  ): Promise<void> {
    await expectSilence()
    await fault()
    try {
      await vi.waitFor(async () => {
        const current = await firing()
        expect(names.filter((name) => !current.has(name))).toEqual([])
      }, patience)
    } finally {
      await repair()
    }
    await expectSilence()
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
    await expectAlerts(
      ['ReplicationLeaderMissing'],
      () => own.updateAppliedSeqno('alone', 7, 'r1'),
      () => own.updateLeaderSeqno('alone', 7),
    )
  })

  it('fire when followers exceed the series of the SDK', async () => {
    for (let shard = 0; shard < 2100; shard++) {
      many.updateLeaderSeqno(shard, 1)
      many.updateAppliedSeqno(shard, 1)
    }
    const expected = new Set(['ReplicationSeriesOverflow'])
    await vi.waitFor(async () => expect(await firing()).toEqual(expected), patience)
    tested.add('ReplicationSeriesOverflow')
  })

  it('are all tested here', () => {
    expect([...tested].sort()).toEqual([...alerts].sort())
  })
})

/** The thresholds, which are variables of the dashboard. */
const BEHIND = 0.5
const KEPT = 10e9

interface Dashboard {
  panels: { title?: string; targets?: { refId: string; expr: string }[] }[]
}

describe.skipIf(!prometheus2)('the dashboard', () => {
  const { startSystem } = useClosers()

  it('has the right answer in every panel', async () => {
    const { servers, system, url } = await startSystem()
    const prometheus = await Prometheus.start(servers, prometheus2 ?? '', {
      targets: { service: [url] },
      rules: [join(repository, RULES)],
    })

    // One follower receives and applies nothing, and the other is caught up.
    const [first, second] = system.followers
    await system.pauseApplying(second)
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
    const { panels } = readJson('docs/monitoring/dashboard.json') as Dashboard
    const answers = async () => {
      const entries = panels.flatMap(({ title, targets = [] }) =>
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
