import { readFileSync } from 'node:fs'
import protobuf from 'protobufjs'

/** One point of a gauge or a sum, with everything that OTLP has about it. */
export interface OtlpPoint {
  readonly metric: string
  readonly kind: 'gauge' | 'sum'
  readonly description: string
  readonly unit: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly value: number
  readonly valueType: 'int' | 'double'
  readonly startTimeUnixNano: bigint
  readonly timeUnixNano: bigint
  readonly scope: { readonly name: string; readonly version: string }
  readonly resource: Readonly<Record<string, unknown>>
}

// The messages in otlp-metrics.proto, as toObject() returns them with the options below.
interface Request {
  resourceMetrics: { resource: { attributes: KeyValue[] } | null; scopeMetrics: ScopeMetrics[] }[]
}
interface ScopeMetrics {
  scope: { name: string; version: string } | null
  metrics: Metric[]
}
interface Metric {
  name: string
  description: string
  unit: string
  data?: 'gauge' | 'sum'
  gauge?: { dataPoints: NumberDataPoint[] }
  sum?: { dataPoints: NumberDataPoint[] }
}
interface NumberDataPoint {
  attributes: KeyValue[]
  startTimeUnixNano: string
  timeUnixNano: string
  asDouble?: number
  asInt?: string
}
interface KeyValue {
  key: string
  value: AnyValue | null
}
interface AnyValue {
  stringValue?: string
  boolValue?: boolean
  intValue?: string
  doubleValue?: number
  arrayValue?: { values: AnyValue[] }
  kvlistValue?: { values: KeyValue[] }
  bytesValue?: string
}

const proto = readFileSync(new URL('./otlp-metrics.proto', import.meta.url), 'utf8')
const ExportRequest = protobuf.parse(proto).root.lookupType('ExportMetricsServiceRequest')

/** Decodes the body of an OTLP/HTTP export in protobuf. Throws if it is malformed. */
export function decodeProtobuf(body: Uint8Array): OtlpPoint[] {
  return toPoints(ExportRequest.decode(body))
}

/** Decodes the body of an OTLP/HTTP export in JSON. Throws if it is malformed. */
export function decodeJson(body: string): OtlpPoint[] {
  const request: unknown = JSON.parse(body)
  if (typeof request !== 'object' || request === null || !('resourceMetrics' in request)) {
    throw new TypeError('expected an object with resourceMetrics')
  }
  return toPoints(ExportRequest.fromObject(request))
}

function toPoints(message: protobuf.Message): OtlpPoint[] {
  const request = ExportRequest.toObject(message, {
    longs: String,
    bytes: String,
    arrays: true,
    defaults: true,
    oneofs: true,
  }) as Request
  return request.resourceMetrics.flatMap(({ resource, scopeMetrics }) =>
    scopeMetrics.flatMap(({ scope, metrics }) =>
      metrics.flatMap((metric) => {
        const { name, description, unit, data } = metric
        if (name === '') throw new TypeError('a metric without a name')
        if (data === undefined) throw new TypeError(`${name}: expected a gauge or a sum`)
        return (metric[data]?.dataPoints ?? []).map((point) => ({
          metric: name,
          kind: data,
          description,
          unit,
          attributes: toRecord(point.attributes),
          ...toValue(point, name),
          startTimeUnixNano: BigInt(point.startTimeUnixNano),
          timeUnixNano: BigInt(point.timeUnixNano),
          scope: { name: scope?.name ?? '', version: scope?.version ?? '' },
          resource: toRecord(resource?.attributes ?? []),
        }))
      }),
    ),
  )
}

function toValue(
  { asInt, asDouble }: NumberDataPoint,
  metric: string,
): Pick<OtlpPoint, 'value' | 'valueType'> {
  if (asInt !== undefined) return { value: Number(asInt), valueType: 'int' }
  if (asDouble !== undefined) return { value: asDouble, valueType: 'double' }
  throw new TypeError(`${metric}: a point without a value`)
}

function toRecord(attributes: readonly KeyValue[]): Record<string, unknown> {
  const keys = new Set(attributes.map(({ key }) => key))
  if (keys.size < attributes.length) throw new TypeError('an attribute occurs twice')
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value && toUnknown(value)]))
}

function toUnknown(value: AnyValue): unknown {
  if (value.intValue !== undefined) return BigInt(value.intValue)
  if (value.arrayValue) return value.arrayValue.values.map(toUnknown)
  if (value.kvlistValue) return toRecord(value.kvlistValue.values)
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? value.bytesValue
}

/** A label of a series. */
export interface Label {
  readonly label: string
  readonly value: string
}

/** Encodes the points of one series of a gauge, for OTLP/HTTP in protobuf. `stale` says that the series has ended. */
export function encodeGauge(
  name: string,
  labels: readonly Label[],
  points: readonly { readonly time: number; readonly value: number | 'stale' }[],
): Uint8Array<ArrayBuffer> {
  const attributes = labels.map(({ label, value }) => ({
    key: label,
    value: { stringValue: value },
  }))
  const dataPoints = points.map(({ time, value }) => ({
    attributes,
    timeUnixNano: `${time}000000000`,
    // What has no recorded value is stale.
    ...(value === 'stale' ? { flags: 1 } : { asDouble: value }),
  }))
  const metric = { name, gauge: { dataPoints } }
  const request = { resourceMetrics: [{ scopeMetrics: [{ metrics: [metric] }] }] }
  return new Uint8Array(ExportRequest.encode(ExportRequest.fromObject(request)).finish())
}
