import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { findAnchors } from '../docs/pages.js'
import { eventually } from '../support/eventually.js'
import { listFiles, readJson, readText, repository, run } from '../support/repository.js'
import { ScriptedSource } from '../support/scripted-source.js'

const RULES = 'docs/monitoring/rules.yml'
const DASHBOARD = 'docs/monitoring/dashboard.json'
const RUNBOOK = 'docs/monitoring/runbook.md'

interface Rule {
  readonly record?: string
  readonly alert?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

const manifest = readJson('package.json') as { homepage: string }
const spec = parse(readText(RULES)) as { groups: { rules: Rule[] }[] }
const rules = spec.groups.flatMap((group) => group.rules)
const alerts = rules.filter((rule) => rule.alert !== undefined)

describe('alerts', () => {
  test.each(alerts)('have a severity, a summary and a runbook: $alert', (rule) => {
    const { summary, description, runbook_url: runbook } = rule.annotations ?? {}
    expect(rule.labels?.['severity']).toMatch(/^(?:warning|critical)$/)
    expect(summary).toMatch(/\S.*\.$/)
    expect(description).toMatch(/^\S.*\.$/)
    const page = manifest.homepage.replace('#readme', `/blob/main/${RUNBOOK}`)
    const anchor = rule.alert?.toLowerCase() ?? ''
    expect(runbook).toBe(`${page}#${anchor}`)
    expect(findAnchors({ path: RUNBOOK, text: readText(RUNBOOK) })).toContain(anchor)
  })

  test('in the runbook exist', () => {
    const headings = [...readText(RUNBOOK).matchAll(/^## (Replication\w+)$/gm)]
    const names = [...new Set(alerts.map(({ alert }) => alert))]
    expect(headings.map(([, name]) => name)).toEqual(names)
  })
})

/** Runs a program of `docs/monitoring`. */
const print = (program: string, ...args: string[]) =>
  run(repository, process.execPath, `docs/monitoring/${program}`, ...args)

test('the manifest for the Prometheus Operator has the same rules', async () => {
  const options = ['--namespace', 'monitoring', '--label', 'release=a=b', '--label', 'team=db']
  expect(parse(await print('prometheus-rule.mjs', ...options))).toEqual({
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: {
      name: 'replication-lag',
      namespace: 'monitoring',
      labels: { release: 'a=b', team: 'db' },
    },
    spec,
  })
  const plain = parse(await print('prometheus-rule.mjs')) as { metadata: unknown }
  expect(plain.metadata).toEqual({ name: 'replication-lag' })
  const other = await print('prometheus-rule.mjs', '--runbook', 'https://wiki.example/lag')
  const addresses = [...other.matchAll(/runbook_url: (.*)#\w+$/gm)].map(([, address]) => address)
  expect(new Set(addresses)).toEqual(new Set(['https://wiki.example/lag']))
})

test('the dashboard is what its program makes, and uses all of its variables and no other', async () => {
  const text = readText(DASHBOARD)
  expect(await print('dashboard.mjs', '--print')).toBe(text)
  const used = [...text.matchAll(/\$\{?([a-z]+)\}?/g)].map(([, name]) => name)
  const { templating } = readJson(DASHBOARD) as { templating: { list: { name: string }[] } }
  expect(new Set(used)).toEqual(new Set(templating.list.map(({ name }) => name)))
})

/** The names of all metrics, and of their attributes: what a gauge reports that has everything. */
async function collectNames() {
  const source = new ScriptedSource('db')
  const producer = new ReplicationLagMetricProducer({ sources: [source], positions: true })
  const follower = { replica: 'r1', appliedSeqno: 10, receivedSeqno: 10, retainedSeqno: 5 }
  const read = await eventually(() => source.last)
  read.answer({ shards: [{ shard: 'a', leaderSeqno: 10, followers: [follower] }] })
  const collected = await eventually(async () => {
    const { scopeMetrics } = (await producer.collect()).resourceMetrics
    const all = scopeMetrics.flatMap(({ metrics }) => metrics)
    expect(all.map(({ descriptor }) => descriptor.name)).toContain('replication_lag_seqno')
    return all
  })
  await producer.shutdown()
  return {
    metrics: collected.map(({ descriptor }) => descriptor.name).sort(),
    attributes: collected.flatMap(({ dataPoints }) =>
      dataPoints.flatMap((point) => Object.keys(point.attributes)),
    ),
  }
}

const { metrics, attributes } = await collectNames()
const pages = listFiles('docs').filter((path) => path.endsWith('.md'))
const files = ['README.md', RULES, DASHBOARD, 'test/monitoring/rules.test.yml', ...pages]

/** The names of metrics in a file. Those of recording rules have a colon. */
function namesIn(path: string): string[] {
  const names = /(?<![\w:/.-])replication_[a-z_]*[a-z](?![\w:])/g
  return [...readText(path).matchAll(names)].map(([name]) => name)
}

describe('the names of metrics', () => {
  test.each(files)('exist: %s', (path) => {
    expect(namesIn(path).filter((name) => !metrics.includes(name))).toEqual([])
    const recorded = [...readText(path).matchAll(/\breplication:\w+/g)].map(([name]) => name)
    const known = rules.map(({ record }) => record)
    expect(recorded.filter((name) => !known.includes(name))).toEqual([])
  })

  test('all occur in the rules or on the dashboard, and in the docs', () => {
    const watched = [RULES, DASHBOARD].flatMap(namesIn)
    expect(metrics.filter((name) => !watched.includes(name))).toEqual([])
    const documented = namesIn('docs/metrics.md')
    expect(metrics.filter((name) => !documented.includes(name))).toEqual([])
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
