import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { findAnchors } from '../docs/markdown.js'
import { eventually } from '../support/eventually.js'
import { listFiles, readJson, readText } from '../support/repository.js'
import { ScriptedSource } from '../support/scripted-source.js'
import {
  DASHBOARD,
  RULES,
  hasPromtool,
  readDashboard,
  readRules,
  run,
  type Rule,
  type RuleGroups,
} from './files.js'

const RUNBOOK = 'docs/monitoring/runbook.md'
const manifest = readJson('package.json') as { homepage: string }
const alerts = readRules().filter((rule): rule is Rule & { alert: string } => 'alert' in rule)

describe('alerts', () => {
  test.each(alerts)('have a severity, a summary and a runbook: $alert', (rule) => {
    expect(rule.labels?.['severity']).toMatch(/^(?:warning|critical)$/)
    expect(rule.annotations?.['summary']).toMatch(/\S.*\.$/)
    expect(rule.annotations?.['description']).toMatch(/^\S.*\.$/)
    const anchor = rule.alert.toLowerCase()
    expect(rule.annotations?.['runbook_url']).toBe(
      `${manifest.homepage.replace('#readme', `/blob/main/${RUNBOOK}`)}#${anchor}`,
    )
    expect(findAnchors({ path: RUNBOOK, text: readText(RUNBOOK) })).toContain(anchor)
  })

  test('in the runbook exist', () => {
    const headings = [...readText(RUNBOOK).matchAll(/^## (Replication\w+)$/gm)]
    const names = [...new Set(alerts.map(({ alert }) => alert))]
    expect(headings.map(([, name]) => name)).toEqual(names)
  })
})

test('the manifest for the Prometheus Operator has the same rules', async () => {
  const program = 'docs/monitoring/prometheus-rule.mjs'
  const options = ['--namespace', 'monitoring', '--label', 'release=a=b', '--label', 'team=db']
  const manifest = await run(process.execPath, program, ...options)
  expect(parse(manifest)).toEqual({
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: {
      name: 'replication-lag',
      namespace: 'monitoring',
      labels: { release: 'a=b', team: 'db' },
    },
    spec: parse(readText(RULES)) as RuleGroups,
  })
  const plain = parse(await run(process.execPath, program)) as { metadata: unknown }
  expect(plain.metadata).toEqual({ name: 'replication-lag' })
  const other = await run(process.execPath, program, '--runbook', 'https://wiki.example/lag')
  const addresses = [...other.matchAll(/runbook_url: (.*)#\w+$/gm)].map(([, address]) => address)
  expect(new Set(addresses)).toEqual(new Set(['https://wiki.example/lag']))
})

const { panels, templating } = readDashboard()
const content = panels.filter(({ type }) => type !== 'row')
const queries = content.flatMap(({ title = '', targets = [] }) =>
  targets.map(({ refId, expr }) => ({ title, refId, expr })),
)

test('the dashboard is what its program makes', async () => {
  const printed = await run(process.execPath, 'docs/monitoring/dashboard.mjs', '--print')
  expect(printed).toBe(readText(DASHBOARD))
})

describe('variables', () => {
  test('are all used, and no other is', () => {
    const used = new Set(
      [...readText(DASHBOARD).matchAll(/\$\{?([a-z]+)\}?/g)].map(([, name]) => name),
    )
    expect([...used].sort()).toEqual(templating.list.map(({ name }) => name).sort())
  })
})

describe.skipIf(!hasPromtool)('queries (need promtool: apt-get install prometheus)', () => {
  test('are valid PromQL', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'replication-lag-dashboard-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const rules = queries.map(({ expr }, index) => ({
      record: `query:${index}`,
      expr: expr.replace('$behind', '30').replace('$kept', '10e9'),
    }))
    const file = join(folder, 'rules.yml')
    await writeFile(file, stringify({ groups: [{ name: 'dashboard', rules }] }))
    await expect(run('promtool', 'check', 'rules', file)).resolves.toContain(
      `${queries.length} rules found`,
    )
  })
})

/** The names of all metrics, and of their attributes: what a gauge reports that has everything. */
async function collectNames() {
  const source = new ScriptedSource('db')
  const producer = new ReplicationLagMetricProducer({ sources: [source], positions: true })
  const follower = { replica: 'r1', appliedSeqno: 10, receivedSeqno: 10, retainedSeqno: 5 }
  const read = await eventually(() => source.last)
  read.answer({ shards: [{ shard: 'a', leaderSeqno: 10, followers: [follower] }] })
  const metrics = await eventually(async () => {
    const { scopeMetrics } = (await producer.collect()).resourceMetrics
    const collected = scopeMetrics.flatMap(({ metrics }) => metrics)
    const names = collected.map(({ descriptor }) => descriptor.name)
    expect(names).toContain('replication_lag_seqno')
    return collected
  })
  await producer.shutdown()
  const attributes = metrics.flatMap(({ dataPoints }) =>
    dataPoints.flatMap((point) => Object.keys(point.attributes)),
  )
  return {
    metrics: metrics.map(({ descriptor }) => descriptor.name).sort(),
    attributes: [...new Set(attributes)],
  }
}

const { metrics, attributes } = await collectNames()
const pages = listFiles('docs').filter((path) => path.endsWith('.md'))

/** The names of metrics in a string. Those of recording rules have a colon. */
function namesIn(text: string): string[] {
  return [...text.matchAll(/(?<![\w:/.-])replication_[a-z_]*[a-z](?![\w:])/g)].map(([name]) => name)
}

describe('the names of metrics', () => {
  test.each(['README.md', RULES, DASHBOARD, 'test/monitoring/rules.test.yml', ...pages])(
    'are those that the package reports: %s',
    (path) => {
      expect(namesIn(readText(path)).filter((name) => !metrics.includes(name))).toEqual([])
    },
  )

  test.each(metrics)('occur in the rules or on the dashboard, and in the docs: %s', (name) => {
    const watched = [RULES, DASHBOARD].flatMap((path) => namesIn(readText(path)))
    expect(watched).toContain(name)
    expect(namesIn(readText('docs/metrics.md'))).toContain(name)
  })

  test('of recording rules are those that rules.yml records', () => {
    const recorded = readRules().flatMap(({ record }) => record ?? [])
    for (const path of ['README.md', RULES, DASHBOARD, ...pages]) {
      const names = [...readText(path).matchAll(/\breplication:\w+/g)].map(([name]) => name)
      expect(names.filter((name) => !recorded.includes(name))).toEqual([])
    }
  })
})

test('rules and dashboard select and aggregate by labels that exist', () => {
  // Prometheus adds the first two, the SDK the last one.
  const known = ['job', 'instance', ...attributes, '__name__', 'otel_metric_overflow']
  const labels = [RULES, DASHBOARD].flatMap((path) => {
    const text = readText(path).replaceAll(/^\s*#.*$/gm, '')
    const grouped = [...text.matchAll(/\b(?:by|on|group_left|group_right) \(([^)]*)\)/g)]
    const selected = [...text.matchAll(/[{ ](\w+)=~?\\?"/g)]
    return [...grouped, ...selected].flatMap(([, names = '']) => names.split(/, /))
  })
  expect(labels.length).toBeGreaterThan(50)
  expect(labels.filter((label) => label !== '' && !known.includes(label))).toEqual([])
})
