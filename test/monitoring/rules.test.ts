import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { findAnchors } from '../docs/markdown.js'
import { readJson, readText } from '../support/repository.js'
import { readRules, RULES, run, type Rule, type RuleGroups } from './files.js'

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

  test.each(alerts)('have a comment that explains the thresholds: $alert', ({ alert }) => {
    expect(readText(RULES)).toMatch(new RegExp(`^ +# .*\n +- alert: ${alert}$`, 'm'))
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
