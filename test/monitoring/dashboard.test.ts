import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { stringify } from 'yaml'
import { readText } from '../support/repository.js'
import { DASHBOARD, hasPromtool, readDashboard, run } from './files.js'

const { panels, templating } = readDashboard()
const content = panels.filter(({ type }) => type !== 'row')
const queries = content.flatMap(({ title = '', targets = [] }) =>
  targets.map(({ refId, expr }) => ({ title, refId, expr })),
)

test('the dashboard is what its program makes', async () => {
  const printed = await run(process.execPath, 'docs/monitoring/dashboard.mjs', '--print')
  expect(printed).toBe(readText(DASHBOARD))
})

describe('panels', () => {
  test.each(content)('have queries, a unit and a description: $title', (panel) => {
    expect(panel.title).toMatch(/^[A-Z]/)
    expect(panel.description).toMatch(/^[A-Z0-9].*\.$/)
    expect(panel.fieldConfig?.defaults.unit).toMatch(/./)
    const refIds = (panel.targets ?? []).map(({ refId }) => refId)
    expect(refIds.length).toBeGreaterThan(0)
    expect(refIds).not.toContain('')
    expect(new Set(refIds).size).toBe(refIds.length)
  })

  test('have ids and titles of their own', () => {
    const ids = panels.map(({ id }) => id)
    expect(ids).toEqual(ids.map((_, index) => index + 1))
    const titles = panels.map(({ title }) => title)
    expect(new Set(titles).size).toBe(titles.length)
  })
})

describe('variables', () => {
  test('are for the data source, the shard, the replica and the thresholds', () => {
    const names = templating.list.map(({ name }) => name)
    expect(names).toEqual(['datasource', 'shard', 'replica', 'behind', 'kept'])
  })

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
