import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { victoriaMetrics, vmalert } from '../e2e/backends.js'
import { freePort } from '../servers/postgres/processes.mjs'
import { run, Servers } from '../servers/servers.mjs'
import { encodeGauge } from '../support/otlp-receiver.js'
import { readText } from '../support/repository.js'
import {
  hasPromtool,
  readRules,
  readRuleTests,
  RULE_TESTS,
  RULES,
  run as runHere,
  type RuleGroups,
  type RuleTest,
} from './files.js'

// In CI it must be there.
const mayBeMissing = !process.env['REQUIRE_SERVERS']

describe.skipIf(!hasPromtool && mayBeMissing)(
  'rules (need promtool: apt-get install prometheus)',
  () => {
    test('are valid', async () => {
      const found = `${readRules().length} rules found`
      await expect(runHere('promtool', 'check', 'rules', RULES)).resolves.toContain(found)
    })

    test('fire when they must, and stay silent when they must not', async () => {
      await expect(runHere('promtool', 'test', 'rules', RULE_TESTS)).resolves.toContain('SUCCESS')
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

// The tests of the rules on VictoriaMetrics: their series are imported, and vmalert evaluates the rules over that time.

const MINUTE = 60
/** Each test has six hours of its own. The longest takes two, and asks for the last two. */
const SPAN = 6 * 3600

const cases = readRuleTests()
const start = Math.floor(Date.now() / 1000 / SPAN) * SPAN - (cases.length + 1) * SPAN
const timeOf = (index: number, minutes = 0) => start + index * SPAN + minutes * MINUTE

describe.skipIf(!victoriaMetrics || !vmalert)('the rules on VictoriaMetrics', () => {
  let servers: Servers
  let url = ''

  beforeAll(async () => {
    servers = await Servers.create()
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    await servers.start('victoria-metrics', victoriaMetrics ?? '', [
      `-httpListenAddr=127.0.0.1:${port}`,
      '-storageDataPath=data',
      '-retentionPeriod=1y',
    ])
    await servers.until('VictoriaMetrics is ready', async () => (await fetch(`${url}/health`)).ok)
    await Promise.all(cases.map((each, index) => importSeries(each, index)))
    await flush()
    // A rule sees what earlier groups have recorded. Like vmalert in operation, it does not yet see its own group's.
    for (const group of (parse(readText(RULES)) as RuleGroups).groups) await replay(group)
  }, 300_000)
  afterAll(() => servers.stop())

  async function importSeries({ input_series: series }: RuleTest, index: number) {
    for (const { series: name, values } of series) {
      const [, metric = '', text = ''] = /^(\w+)\{(.*)\}$/.exec(name) ?? []
      const labels = [...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = '', value = '']) => ({
        label,
        value,
      }))
      const isTime = metric.endsWith('_timestamp_seconds')
      const points = expand(values).flatMap((value, minute) => {
        if (value === undefined) return []
        const time = timeOf(index, minute)
        // Tests of promtool begin in 1970.
        return { time, value: isTime && value !== 'stale' ? value + timeOf(index) : value }
      })
      const body = encodeGauge(metric, labels, points)
      const headers = { 'content-type': 'application/x-protobuf' }
      const response = await fetch(`${url}/opentelemetry/v1/metrics`, {
        ...{ method: 'POST', headers, body },
      })
      if (!response.ok) throw new Error(await response.text())
    }
  }

  /** Makes what was written visible to queries. */
  async function flush() {
    await fetch(`${url}/internal/force_flush`)
  }

  async function replay(group: RuleGroups['groups'][number]) {
    const file = join(await servers.folderOf('rules'), `${group.name}.yml`)
    const toText = (time: number) => new Date(time * 1000).toISOString()
    await writeFile(file, stringify({ groups: [group] }))
    await run(vmalert ?? '', [
      `-rule=${file}`,
      `-datasource.url=${url}`,
      `-remoteWrite.url=${url}`,
      '-evaluationInterval=1m',
      '-disableAlertgroupLabel',
      `-replay.timeFrom=${toText(start)}`,
      `-replay.timeTo=${toText(timeOf(cases.length))}`,
      '-replay.maxDatapointsPerQuery=20000',
      '-replay.rulesDelay=0',
      '-replay.disableProgressBar',
    ])
    await flush()
  }

  async function query(expression: string, time: number) {
    const body = new URLSearchParams({ query: expression, time: `${time}`, step: '1m' })
    const response = await fetch(`${url}/api/v1/query`, { method: 'POST', body })
    const { data, error } = (await response.json()) as {
      data?: { result: { metric: Record<string, string>; value: [number, string] }[] }
      error?: string
    }
    if (!data) throw new Error(error)
    return data.result.map(({ metric, value: [, value] }) => ({ metric, value: Number(value) }))
  }

  const sort = <T>(values: T[]) =>
    values.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
  const sorted = (labels: Readonly<Record<string, unknown>>) =>
    Object.fromEntries(Object.entries(labels).sort())

  test.each(cases.map((each, index) => ({ ...each, index })))(
    '$name',
    async ({ index, alert_rule_test: alerts = [], promql_expr_test: expressions = [] }) => {
      for (const { alertname, eval_time: time, exp_alerts: expected = [] } of alerts) {
        const selector = `ALERTS{alertname="${alertname}",alertstate="firing"}`
        const found = await query(selector, timeOf(index, minutesOf(time)))
        const labels = found.map(({ metric }) => {
          const own = Object.entries(metric).filter(([label]) => !/^(alert|__name__)/.test(label))
          return sorted(Object.fromEntries(own))
        })
        expect({ alertname, time, labels: sort(labels) }).toEqual({
          ...{ alertname, time, labels: sort(expected.map((each) => sorted(each.exp_labels))) },
        })
      }
      for (const { expr, eval_time: time, exp_samples: expected } of expressions) {
        const found = await query(expr, timeOf(index, minutesOf(time)))
        const samples = found.map(({ metric, value }) => ({ labels: sorted(metric), value }))
        const wanted = expected.map(({ labels, value }) => ({ labels: parseLabels(labels), value }))
        expect({ expr, time, samples: sort(samples) }).toEqual({
          expr,
          time,
          samples: sort(wanted),
        })
      }
    },
  )
})

/** The samples of promtool's notation, one a minute, `undefined` where one is missing. */
function expand(values: string): (number | 'stale' | undefined)[] {
  return values.split(/\s+/).flatMap((word): (number | 'stale' | undefined)[] => {
    const [, first = '', step = '0', count = '0'] =
      /^(_|stale|-?[\d.]+(?:e\d+)?)([+-][\d.]+(?:e\d+)?)?(?:x(\d+))?$/.exec(word) ?? []
    if (first === '') throw new Error(`expected samples, got ${word}`)
    if (first === '_') return Array<undefined>(Math.max(1, Number(count))).fill(undefined)
    if (first === 'stale') return ['stale']
    return Array.from({ length: Number(count) + 1 }, (_, n) => Number(first) + n * Number(step))
  })
}

function minutesOf(time: string): number {
  return Number.parseInt(time) * (time.endsWith('h') ? 60 : 1)
}

/** `name{label="value"}` as Prometheus has it. */
function parseLabels(text: string): Record<string, string> {
  const [, name = '', labels = ''] = /^([\w:]*)\{(.*)\}$/.exec(text) ?? []
  const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = '', value = '']) => [
    label,
    value,
  ])
  return Object.fromEntries([...(name ? [['__name__', name]] : []), ...pairs].sort()) as Record<
    string,
    string
  >
}
