import { spawnSync } from 'node:child_process'
import { parse } from 'yaml'
import { readJson, readText, repository, run as runIn } from '../support/repository.js'

/** A rule, as far as tests read it. */
export interface Rule {
  readonly record?: string
  readonly alert?: string
  readonly expr: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

/** A panel, as far as tests read it. */
export interface Panel {
  readonly id?: number
  readonly type: string
  readonly title?: string
  readonly description?: string
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } }
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[]
}

export const RULES = 'docs/monitoring/rules.yml'
export const DASHBOARD = 'docs/monitoring/dashboard.json'

export interface RuleGroups {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[]
}

export function readRules(): Rule[] {
  const { groups } = parse(readText(RULES)) as RuleGroups
  return groups.flatMap(({ rules }) => rules)
}

/** One test of promtool, as far as tests read it. */
export interface RuleTest {
  readonly name: string
  readonly input_series: readonly { readonly series: string; readonly values: string }[]
  readonly alert_rule_test?: readonly {
    readonly alertname: string
    readonly eval_time: string
    readonly exp_alerts?: readonly { readonly exp_labels: Readonly<Record<string, string>> }[]
  }[]
  readonly promql_expr_test?: readonly {
    readonly expr: string
    readonly eval_time: string
    readonly exp_samples: readonly { readonly labels: string; readonly value: number }[]
  }[]
}

export const RULE_TESTS = 'test/monitoring/rules.test.yml'

export function readRuleTests(): readonly RuleTest[] {
  const { tests } = parse(readText(RULE_TESTS), { maxAliasCount: -1 }) as {
    tests: readonly RuleTest[]
  }
  return tests
}

interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string }[] }
}

export function readDashboard(): Dashboard {
  return readJson(DASHBOARD) as Dashboard
}

/** Runs a program at the top of the repository. Resolves to what it printed; rejects with it if it fails. */
export function run(file: string, ...args: string[]): Promise<string> {
  return runIn(repository, file, ...args)
}

/** Whether promtool is installed. */
export const hasPromtool = spawnSync('promtool', ['--version']).status === 0
