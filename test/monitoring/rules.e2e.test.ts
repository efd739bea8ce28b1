import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { promtool, vmalertTool } from '../e2e/backends.js'
import { makeFolder } from '../support/built-package.js'
import { readText, repository, run } from '../support/repository.js'

const RULES = 'docs/monitoring/rules.yml'
const TESTS = 'test/monitoring/rules.test.yml'

/** A file of tests of promtool, as far as tests read it. */
interface RuleTests {
  readonly tests: readonly {
    readonly input_series: readonly { readonly series: string; readonly values: string }[]
    readonly alert_rule_test?: readonly {
      readonly alertname: string
      readonly eval_time: string
      readonly exp_alerts: readonly unknown[]
    }[]
    readonly promql_expr_test?: readonly {
      readonly expr: string
      readonly eval_time: string
      readonly exp_samples: readonly unknown[]
    }[]
  }[]
}

const { groups } = parse(readText(RULES)) as {
  groups: { name: string; rules: { alert?: string }[] }[]
}
const rules = groups.flatMap((group) => group.rules)
const { tests } = parse(readText(TESTS)) as RuleTests

describe.skipIf(!promtool)('the rules in Prometheus (apt-get install prometheus)', () => {
  test('are valid', async () => {
    await expect(run(repository, promtool ?? '', 'check', 'rules', RULES)).resolves.toContain(
      `${rules.length} rules found`,
    )
  })

  test('fire when they must, and stay silent when they must not', async () => {
    await expect(run(repository, promtool ?? '', 'test', 'rules', TESTS)).resolves.toContain(
      'SUCCESS',
    )
  })
})

/** When vmalert-tool begins each test, in seconds. promtool begins in 1970. */
const BEGIN = Date.UTC(2000, 0, 1) / 1000

test.skipIf(!vmalertTool)('the rules fire at the same minutes in VictoriaMetrics', async () => {
  const folder = await makeFolder()
  const converted = {
    rule_files: [join(repository, RULES)],
    evaluation_interval: '1m',
    // A rule sees what earlier groups have recorded.
    group_eval_order: groups.map(({ name }) => name),
    tests: tests.map(({ promql_expr_test, input_series, ...rest }) => ({
      ...rest,
      metricsql_expr_test: promql_expr_test,
      input_series: input_series.map(({ series, values }) => ({
        series,
        values: /^\w+_timestamp_seconds\{/.test(series)
          ? values.replace(/(?<!\S)\d+/g, (time) => `${Number(time) + BEGIN}`)
          : values,
      })),
    })),
  }
  await writeFile(join(folder, 'rules.test.yml'), stringify(converted))
  // It keeps its database in a folder of one name below that of temporary files.
  const options = ['unittest', '--disableAlertgroupLabel', '--files=rules.test.yml']
  const output = await run(folder, 'env', `TMPDIR=${folder}`, vmalertTool ?? '', ...options)
  expect(output).toContain('SUCCESS')
})

test('each alert has a test in which it fires, and resolves later', () => {
  const resolved = tests.flatMap(
    ({ alert_rule_test: alerts = [], promql_expr_test: others = [] }) => {
      const silences = [
        ...alerts.filter((each) => each.exp_alerts.length === 0),
        ...others
          .filter(({ expr, exp_samples: found }) => expr === 'ALERTS' && found.length === 0)
          .map((each) => ({ ...each, alertname: undefined })),
      ]
      const isResolved = ({ alertname, eval_time: time }: (typeof alerts)[number]) =>
        silences.some(
          (each) =>
            (each.alertname ?? alertname) === alertname &&
            Number.parseInt(each.eval_time) > Number.parseInt(time),
        )
      return alerts.filter((each) => each.exp_alerts.length > 0 && isResolved(each))
    },
  )
  const names = rules.flatMap(({ alert }) => alert ?? [])
  expect(new Set(resolved.map(({ alertname }) => alertname))).toEqual(new Set(names))
})
