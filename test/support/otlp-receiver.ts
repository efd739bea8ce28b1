import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import protobuf from 'protobufjs'
import { listen } from './http.js'

// The part of OTLP 1.x that tests read. Fields and numbers are those of open-telemetry/opentelemetry-proto. All are in
// one package, which the wire format does not know.
const proto = `
  syntax = "proto3";
  message Request { repeated ResourceMetrics resource_metrics = 1; }
  message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeMetrics { Scope scope = 1; repeated Metric metrics = 2; }
  message Scope { string name = 1; string version = 2; }
  message Metric {
    string name = 1;
    string description = 2;
    string unit = 3;
    oneof data { Data gauge = 5; Data sum = 7; }
  }
  message Data { repeated Point data_points = 1; }
  message Point {
    repeated KeyValue attributes = 7;
    oneof value { double as_double = 4; sfixed64 as_int = 6; }
  }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message AnyValue { string string_value = 1; }`
const Request = protobuf.parse(proto).root.lookupType('Request')

/** One point of a gauge or a sum. Of its attributes, only strings are read. */
export interface OtlpPoint {
  readonly metric: string
  readonly kind: 'gauge' | 'sum'
  readonly description: string
  readonly unit: string
  readonly attributes: Readonly<Record<string, string>>
  readonly value: number
  readonly valueType: 'int' | 'double'
  readonly scope: { readonly name: string; readonly version: string }
  readonly resource: Readonly<Record<string, string>>
}

// What toObject() returns with the options below.
type Attributes = { key: string; value: { stringValue: string } | null }[]
type Points = { attributes: Attributes; asDouble?: number; asInt?: string }[]
interface Received {
  resourceMetrics: {
    resource: { attributes: Attributes } | null
    scopeMetrics: {
      scope: { name: string; version: string } | null
      metrics: {
        name: string
        description: string
        unit: string
        data: 'gauge' | 'sum'
        gauge?: { dataPoints: Points }
        sum?: { dataPoints: Points }
      }[]
    }[]
  }[]
}

/** Starts an OTLP/HTTP metrics backend. */
export async function startOtlpReceiver() {
  const points: OtlpPoint[] = []
  const refusals: string[] = []
  const server = await listen((request, response) => {
    // Read the whole body first. An exporter that is answered earlier may see a broken connection instead.
    void buffer(request).then((body) => {
      const { 'content-type': type = '', 'content-encoding': encoding } = request.headers
      try {
        const plain = encoding === 'gzip' ? gunzipSync(body) : body
        const message = type.startsWith('application/json')
          ? Request.fromObject(JSON.parse(plain.toString()) as object)
          : Request.decode(plain)
        points.push(...pointsOf(message))
        // An empty response: everything was accepted.
        response.setHeader('content-type', type).end(type.includes('json') ? '{}' : undefined)
      } catch (error) {
        refusals.push(String(error))
        response.writeHead(400).end()
      }
    })
  })
  return {
    /** For an exporter's `url` option. */
    url: `${server.url}/v1/metrics`,
    /** Why exports were refused. */
    refusals,
    /** All points of a metric that were received, in order of arrival. */
    points: (metric: string) => points.filter((point) => point.metric === metric),
    close: server.close,
  }
}

function pointsOf(message: protobuf.Message): OtlpPoint[] {
  const options = { longs: String, arrays: true, defaults: true, oneofs: true }
  const { resourceMetrics } = Request.toObject(message, options) as Received
  return resourceMetrics.flatMap(({ resource, scopeMetrics }) =>
    scopeMetrics.flatMap(({ scope, metrics }) =>
      metrics.flatMap(({ name, description, unit, data, ...kinds }) =>
        (kinds[data]?.dataPoints ?? []).map(({ attributes, asInt, asDouble }) => ({
          ...{ metric: name, kind: data, description, unit },
          attributes: toRecord(attributes),
          value: Number(asInt ?? asDouble),
          valueType: asInt === undefined ? ('double' as const) : ('int' as const),
          scope: { name: scope?.name ?? '', version: scope?.version ?? '' },
          resource: toRecord(resource?.attributes ?? []),
        })),
      ),
    ),
  )
}

function toRecord(attributes: Attributes): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value?.stringValue ?? '']))
}
