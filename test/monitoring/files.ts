import { spawnSync } from 'node:child_process'
import { parse } from 'yaml'
import { readJson, readText, repository } from '../support/repository.js'
import { run as runIn } from '../support/run.js'

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
