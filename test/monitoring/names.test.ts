import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { describe, expect, test } from 'vitest'
import { eventually } from '../support/eventually.js'
import { listFiles, readText } from '../support/repository.js'
import { ScriptedSource } from '../support/scripted-source.js'
import { DASHBOARD, readRules, RULES } from './files.js'

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
