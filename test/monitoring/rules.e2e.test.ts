import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { readText } from '../support/repository.js'
import { hasPromtool, readRules, RULES, run } from './files.js'

const TESTS = 'test/monitoring/rules.test.yml'

interface RuleTests {
  readonly tests: readonly {
    readonly alert_rule_test?: readonly {
      readonly alertname: string
      readonly exp_alerts?: readonly unknown[]
    }[]
  }[]
}

// In CI it must be there.
const mayBeMissing = !process.env['REQUIRE_SERVERS']

describe.skipIf(!hasPromtool && mayBeMissing)(
  'rules (need promtool: apt-get install prometheus)',
  () => {
    test('are valid', async () => {
      const found = `${readRules().length} rules found`
      await expect(run('promtool', 'check', 'rules', RULES)).resolves.toContain(found)
    })

    test('fire when they must, and stay silent when they must not', async () => {
      await expect(run('promtool', 'test', 'rules', TESTS)).resolves.toContain('SUCCESS')
    })
  },
)

test('each alert has a test in which it fires', () => {
  const { tests } = parse(readText(TESTS), { maxAliasCount: -1 }) as RuleTests
  const fired = tests.flatMap(({ alert_rule_test: cases = [] }) =>
    cases.flatMap(({ alertname, exp_alerts: alerts = [] }) => (alerts.length > 0 ? alertname : [])),
  )
  const names = readRules().flatMap(({ alert }) => alert ?? [])
  expect([...new Set(fired)].sort()).toEqual([...new Set(names)].sort())
})
