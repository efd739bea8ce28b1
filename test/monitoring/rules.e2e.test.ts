import { describe, expect, test } from 'vitest'
import { hasPromtool, readRules, readRuleTests, RULE_TESTS, RULES, run } from './files.js'

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
      await expect(run('promtool', 'test', 'rules', RULE_TESTS)).resolves.toContain('SUCCESS')
    })
  },
)

test('each alert has a test in which it fires, and resolves later', () => {
  const resolved = readRuleTests().flatMap(
    ({ alert_rule_test: alerts = [], promql_expr_test: expressions = [] }) => {
      const silent = expressions.filter(({ expr, exp_samples: found }) => {
        return expr === 'ALERTS' && found.length === 0
      })
      return alerts
        .filter(({ exp_alerts: found = [] }) => found.length > 0)
        .filter(({ alertname, eval_time: time }) => {
          const later = [
            ...silent,
            ...alerts.filter((each) => {
              return each.alertname === alertname && each.exp_alerts?.length === 0
            }),
          ]
          return later.some((each) => Number.parseInt(each.eval_time) > Number.parseInt(time))
        })
        .map(({ alertname }) => alertname)
    },
  )
  const names = readRules().flatMap(({ alert }) => alert ?? [])
  expect([...new Set(resolved)].sort()).toEqual([...new Set(names)].sort())
})
