import { gzipSync } from 'node:zlib'
import { ValueType } from '@opentelemetry/api'
import { OTLPMetricExporter as OtlpJsonExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as OtlpProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { expect, onTestFinished, test } from 'vitest'
import { startOtlpReceiver } from './otlp-receiver.js'

const JSON_TYPE = { 'content-type': 'application/json' }
const EMPTY = JSON.stringify({ resourceMetrics: [] })

async function startReceiver() {
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) =>
    fetch(receiver.url, { method: 'POST', body, headers })
  return { ...receiver, post }
}

test.for([
  { sent: 'JSON', Exporter: OtlpJsonExporter },
  { sent: 'protobuf', Exporter: OtlpProtobufExporter },
])('decodes everything that an exporter sends as $sent', async ({ Exporter }) => {
  const { url, points } = await startReceiver()
  const before = BigInt(Date.now()) * 1_000_000n
  const reader = new PeriodicExportingMetricReader({ exporter: new Exporter({ url }) })
  const provider = new MeterProvider({ readers: [reader] })
  onTestFinished(() => provider.shutdown())
  const meter = provider.getMeter('a scope', '1.2.3')
  const int = meter.createGauge('int', { unit: '{seqno}', valueType: ValueType.INT })
  int.record(-(2 ** 53 - 1), { shard: 'a "shard"\n' })
  int.record(2 ** 53 - 1, { int: -(2 ** 40), double: 0.5, yes: true, list: ['a', 'b'] })
  meter.createUpDownCounter('sum', { description: 'A sum.' }).add(-1.25)

  await provider.forceFlush()

  const scope = { name: 'a scope', version: '1.2.3' }
  const resource = { 'telemetry.sdk.language': 'nodejs' }
  const gauge = { kind: 'gauge', valueType: 'int', unit: '{seqno}', description: '' }
  expect(points('int')).toMatchObject([
    { ...gauge, value: -(2 ** 53 - 1), scope, resource },
    { ...gauge, value: 2 ** 53 - 1, scope, resource },
  ])
  expect(points('int').map(({ attributes }) => attributes)).toEqual([
    { shard: 'a "shard"\n' },
    { int: -(2n ** 40n), double: 0.5, yes: true, list: ['a', 'b'] },
  ])
  expect(points('sum')).toMatchObject([
    { kind: 'sum', valueType: 'double', value: -1.25, unit: '', description: 'A sum.', scope },
  ])
  for (const { startTimeUnixNano, timeUnixNano } of points('int')) {
    expect(startTimeUnixNano).toBeGreaterThanOrEqual(before - 1_000_000n)
    expect(timeUnixNano).toBeGreaterThanOrEqual(startTimeUnixNano)
  }
})

test('accepts gzip and answers with the content type of the request', async () => {
  const { post, requests } = await startReceiver()

  const json = await post(gzipSync(EMPTY), { ...JSON_TYPE, 'content-encoding': 'gzip' })
  const protobuf = await post(new Uint8Array(), { 'content-type': 'application/x-protobuf' })

  expect([json.status, await json.text()]).toEqual([200, '{}'])
  expect([protobuf.status, await protobuf.text()]).toEqual([200, ''])
  expect(requests).toEqual([
    { contentType: 'application/json', encoding: 'gzip', points: [] },
    { contentType: 'application/x-protobuf', encoding: 'identity', points: [] },
  ])
})

const metric = (metric: object) => ({
  resourceMetrics: [{ scopeMetrics: [{ metrics: [metric] }] }],
})

test.for([
  { what: 'another content type', status: 415, headers: { 'content-type': 'text/plain' } },
  { what: 'an unknown encoding', status: 415, headers: { ...JSON_TYPE, 'content-encoding': 'br' } },
  {
    what: 'a body that is not gzipped but says so',
    status: 400,
    headers: { ...JSON_TYPE, 'content-encoding': 'gzip' },
  },
  {
    what: 'JSON that is called protobuf',
    status: 400,
    headers: { 'content-type': 'application/x-protobuf' },
  },
  { what: 'broken JSON', status: 400, body: '{' },
  { what: 'other JSON', status: 400, body: '{}' },
  {
    what: 'a metric that is neither a gauge nor a sum',
    status: 400,
    body: JSON.stringify(metric({ name: 'a', histogram: {} })),
  },
  {
    what: 'a metric without a name',
    status: 400,
    body: JSON.stringify(metric({ gauge: {} })),
  },
  {
    what: 'a point without a value',
    status: 400,
    body: JSON.stringify(metric({ name: 'a', gauge: { dataPoints: [{ asDouble: null }] } })),
  },
])('refuses $what', async ({ status, body = EMPTY, headers = JSON_TYPE }) => {
  const { post, requests, refusals } = await startReceiver()

  const response = await post(body, headers)

  expect(response.status).toBe(status)
  expect(requests).toEqual([])
  expect(refusals).toEqual([await response.text()])
})

test('refuses another path and another method', async () => {
  const { url } = await startReceiver()

  expect((await fetch(url.replace('metrics', 'traces'), { method: 'POST' })).status).toBe(404)
  expect((await fetch(url)).status).toBe(405)
})

test('waits for a request', async () => {
  const { post, waitFor } = await startReceiver()
  const named = (name: string) =>
    JSON.stringify(metric({ name, gauge: { dataPoints: [{ asInt: '7' }] } }))
  const late = waitFor(({ points }) => points.some((point) => point.metric === 'b'))

  await post(named('a'), JSON_TYPE)
  await post(named('b'), JSON_TYPE)

  expect((await late).points).toMatchObject([{ metric: 'b', value: 7 }])
  await expect(waitFor(({ points }) => points[0]?.metric === 'a')).resolves.toBeDefined()
})

test('stops waiting when a request is refused and when it is closed', async () => {
  const refusing = await startReceiver()
  const closing = await startReceiver()
  const refused = expect(refusing.waitFor(() => true)).rejects.toThrow('content-type')
  const closed = expect(closing.waitFor(() => true)).rejects.toThrow('closed')

  await refusing.post(EMPTY, { 'content-type': 'text/plain' })
  await closing.close()

  await refused
  await closed
})
