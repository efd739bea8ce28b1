import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { expect, onTestFinished, test } from 'vitest'
import { parsePrometheusText, serveMetrics } from './prometheus.js'

test('parses labels and values', () => {
  const { samples } = parsePrometheusText(
    [
      '# TYPE lag gauge',
      'lag{shard="7",replica="b"} -3',
      'lag{shard="8"} 1.5e3 1700000000000',
      'up 1',
      '',
    ].join('\n'),
  )

  expect(samples).toEqual([
    { name: 'lag', labels: { shard: '7', replica: 'b' }, value: -3 },
    { name: 'lag', labels: { shard: '8' }, value: 1500 },
    { name: 'up', labels: {}, value: 1 },
  ])
})

test('unescapes label values', () => {
  const { samples } = parsePrometheusText('a{b="\\\\n \\n \\" } 1,c=\\"",d=""} 2')

  expect(samples).toEqual([{ name: 'a', labels: { b: '\\n \n " } 1,c="', d: '' }, value: 2 }])
})

test.for([
  ['NaN', NaN],
  ['+Inf', Infinity],
  ['-Inf', -Infinity],
] as const)('parses the value %s', ([text, value]) => {
  expect(parsePrometheusText(`a ${text}`).value('a')).toBe(value)
})

test.for([
  'a',
  'a null',
  'a{b="c"}',
  'a{b="c" 1',
  'a{b="c",,} 1',
  'a{b="c"c"} 1',
  'a{b="\\q"} 1',
  'a{b="c",b="d"} 1',
  'a-b 1',
  'a{b="c",d="e"} 1\na{d="e",b="c"} 2',
])('refuses %j', (text) => {
  expect(() => parsePrometheusText(text)).toThrow()
})

test('finds samples by name and some of their labels', () => {
  const { find, value } = parsePrometheusText('a{b="1",c="2"} 3\na{b="1",c="4"} 5\nab 6')

  expect(find('a', { b: '1' }).map((sample) => sample.value)).toEqual([3, 5])
  expect(value('a', { c: '4' })).toBe(5)
  expect(value('a', { c: '6' })).toBeUndefined()
  expect(() => value('a')).toThrow('2 samples match a')
})

test('serves what an exporter collects', async () => {
  const exporter = new PrometheusExporter({ preventServerStart: true })
  const provider = new MeterProvider({ readers: [exporter] })
  const endpoint = await serveMetrics(exporter)
  onTestFinished(async () => {
    await endpoint.close()
    await provider.shutdown()
  })
  const label = 'back\\slash "quote"\nline }'
  provider.getMeter('scope').createGauge('some.gauge').record(-1.5, { label })

  expect((await endpoint.read()).value('some_gauge', { label })).toBe(-1.5)
  expect((await fetch(endpoint.url.replace('metrics', 'other'))).status).toBe(404)
})
