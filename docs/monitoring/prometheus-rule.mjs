// Prints rules.yml as a manifest for the Prometheus Operator: node docs/monitoring/prometheus-rule.mjs
// --namespace is the namespace, --name the name, and each --label key=value a label, which the Operator selects rules by.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    name: { type: 'string', default: 'replication-lag' },
    namespace: { type: 'string' },
    label: { type: 'string', multiple: true, default: [] },
  },
})

const labels = values.label.map((label) => {
  const [key = '', ...value] = label.split('=')
  return `    ${key}: ${JSON.stringify(value.join('='))}`
})
const rules = readFileSync(new URL('rules.yml', import.meta.url), 'utf8')

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
