import type { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import type * as resources from '@opentelemetry/resources'
import type * as sdkMetrics from '@opentelemetry/sdk-metrics'
import type { PushMetricExporter } from '@opentelemetry/sdk-metrics'
import { findPackage, loadDependency } from '../environment/packages.js'
import type { ReplicationLagMetricProducer } from '../otel/metric-producer.js'
import type { Handler } from './server.js'
import { readNumber, variable } from './variables.js'

const MAX_TIMER = 2 ** 31 - 1
const SDK = '@opentelemetry/sdk-metrics'

/** How long the last export may take. Docker kills a container after ten seconds. */
const SHUTDOWN_MILLIS = 5000

/** What exports the metrics. */
export interface Exporters {
  /** Answers a scrape; absent if `OTEL_METRICS_EXPORTER` leaves out Prometheus. */
  readonly scrape: Handler | undefined
  /** Exports once more, and stops. Takes five seconds at most. */
  stop(): Promise<void>
}

/**
 * Loads the packages of the exporters that the variables of OpenTelemetry name: Prometheus, and OTLP if it has an endpoint.
 *
 * @returns a function that starts them.
 * @throws Error that says what is wrong with a variable, or which package is missing.
 */
export function prepareExporters(): (producer: ReplicationLagMetricProducer) => Exporters {
  const names = readNames()
  const { OTEL_METRIC_EXPORT_INTERVAL: interval, OTEL_METRIC_EXPORT_TIMEOUT: timeout } = readTimes()
  const createReaders = [
    ...(names.includes('prometheus') ? [preparePrometheus()] : []),
    ...(names.includes('otlp') ? [prepareOtlp(interval, timeout)] : []),
  ]
  const { MeterProvider } = findPackage(SDK)() as typeof sdkMetrics
  const resource = createResource()
  return (producer) => {
    const readers = createReaders.map((create) => create(producer))
    const provider = new MeterProvider({ resource, readers })
    const [scraped] = readers.filter((reader) => 'getMetricsRequestHandler' in reader)
    return {
      scrape:
        scraped && ((request, response) => scraped.getMetricsRequestHandler(request, response)),
      stop: () => {
        const late = new Promise<void>((resolve) => setTimeout(resolve, SHUTDOWN_MILLIS).unref())
        return Promise.race([provider.shutdown(), late])
      },
    }
  }
}

function readNames(): readonly string[] {
  const endpoint =
    variable('OTEL_EXPORTER_OTLP_METRICS_ENDPOINT') ?? variable('OTEL_EXPORTER_OTLP_ENDPOINT')
  const byDefault = endpoint === undefined ? 'prometheus' : 'prometheus,otlp'
  const list = variable('OTEL_METRICS_EXPORTER') ?? byDefault
  const names = list.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !['prometheus', 'otlp'].includes(name))
  if (unknown === undefined) return names
  throw new Error(`OTEL_METRICS_EXPORTER: expected prometheus, otlp or both, got ${unknown}`)
}

function preparePrometheus() {
  const load = findPackage('@opentelemetry/exporter-prometheus') as () => {
    PrometheusExporter: typeof PrometheusExporter
  }
  const { PrometheusExporter: Exporter } = load()
  return (producer: ReplicationLagMetricProducer) =>
    new Exporter({ preventServerStart: true, metricProducers: [producer] })
}

const OTLP_PACKAGES: Readonly<Partial<Record<string, string>>> = {
  grpc: '@opentelemetry/exporter-metrics-otlp-grpc',
  'http/json': '@opentelemetry/exporter-metrics-otlp-http',
  'http/protobuf': '@opentelemetry/exporter-metrics-otlp-proto',
}

function prepareOtlp(exportIntervalMillis = 60_000, timeoutMillis = 30_000) {
  const protocol =
    variable('OTEL_EXPORTER_OTLP_METRICS_PROTOCOL') ??
    variable('OTEL_EXPORTER_OTLP_PROTOCOL') ??
    'http/protobuf'
  const name = OTLP_PACKAGES[protocol]
  if (name === undefined) {
    const expected = Object.keys(OTLP_PACKAGES).join(', ')
    throw new Error(`OTEL_EXPORTER_OTLP_PROTOCOL: expected one of ${expected}, got ${protocol}`)
  }
  const { OTLPMetricExporter } = findPackage(name)() as {
    OTLPMetricExporter: new () => PushMetricExporter
  }
  const { PeriodicExportingMetricReader } = findPackage(SDK)() as typeof sdkMetrics
  return (producer: ReplicationLagMetricProducer) =>
    new PeriodicExportingMetricReader({
      exporter: new OTLPMetricExporter(),
      exportIntervalMillis,
      exportTimeoutMillis: Math.min(exportIntervalMillis, timeoutMillis),
      metricProducers: [producer],
    })
}

const TIMES = [
  'OTEL_METRIC_EXPORT_INTERVAL',
  'OTEL_METRIC_EXPORT_TIMEOUT',
  'OTEL_EXPORTER_OTLP_TIMEOUT',
  'OTEL_EXPORTER_OTLP_METRICS_TIMEOUT',
] as const

/** Checks all of them: the SDK takes what is no number for 0, and some are read by the exporter itself. */
function readTimes(): Partial<Record<(typeof TIMES)[number], number>> {
  const times = TIMES.map((name) => [name, readNumber(name, variable(name), 1, MAX_TIMER)])
  return Object.fromEntries(times) as Partial<Record<(typeof TIMES)[number], number>>
}

/** The resource of the environment. Its name is `replication-lag` if that has none. */
function createResource() {
  const { defaultResource, detectResources, envDetector, resourceFromAttributes } = loadDependency(
    SDK,
    '@opentelemetry/resources',
  ) as typeof resources
  return defaultResource()
    .merge(resourceFromAttributes({ 'service.name': 'replication-lag' }))
    .merge(detectResources({ detectors: [envDetector] }))
}
