// Prints rules.yml as a manifest for the Prometheus Operator: node docs/monitoring/prometheus-rule.mjs
// --namespace is the namespace, --name the name, and each --label key=value a label, by which the Operator selects rules.
// --runbook is the address of your runbook, if that is not runbook.md next to this file.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    name: { type: 'string', default: 'replication-lag' },
    namespace: { type: 'string' },
    runbook: { type: 'string' },
    label: { type: 'string', multiple: true, default: [] },
  },
})

const labels = values.label.map((label) => {
  const [key = '', ...value] = label.split('=')
  return `    ${key}: ${JSON.stringify(value.join('='))}`
})
const text = readFileSync(new URL('rules.yml', import.meta.url), 'utf8')
const { runbook } = values
const rules = runbook === undefined ? text : text.replace(/(?<=runbook_url: )[^#]*/g, runbook)

process.stdout.write(
  [
    'apiVersion: monitoring.coreos.com/v1',
    'kind: PrometheusRule',
    'metadata:',
    `  name: ${JSON.stringify(values.name)}`,
    ...(values.namespace === undefined ? [] : [`  namespace: ${JSON.stringify(values.namespace)}`]),
    ...(labels.length === 0 ? [] : ['  labels:', ...labels]),
    'spec:',
    rules.replace(/^(?=.)/gm, '  '),
  ].join('\n'),
)
