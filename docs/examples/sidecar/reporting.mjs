import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { defaultResource, detectResources, envDetector } from '@opentelemetry/resources'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'

/** @typedef {import('opentelemetry-instrumentation-replication-lag').ReplicationLagMetricProducer} Producer */

/**
 * Reports through the exporters that the variables of OpenTelemetry name, by default Prometheus, and OTLP if it has an
 * endpoint.
 *
 * @param {Producer} producer
 * @returns {Promise<() => Promise<void>>} a function that exports once more and stops
 */
export async function startReporting(producer) {
  const metricProducers = [producer]
  const names = exporterNames()
  const prometheus = names.includes('prometheus')
    ? [new PrometheusExporter({ preventServerStart: true, metricProducers })]
    : []
  const otlp = names.includes('otlp')
    ? [
        new PeriodicExportingMetricReader({
          exporter: await createOtlpExporter(),
          exportIntervalMillis: Number(variable('OTEL_METRIC_EXPORT_INTERVAL') ?? 60_000),
          metricProducers,
        }),
      ]
    : []
  const resource = defaultResource().merge(detectResources({ detectors: [envDetector] }))
  const provider = new MeterProvider({ resource, readers: [...prometheus, ...otlp] })
  try {
    for (const exporter of prometheus) await exporter.startServer()
  } catch (cause) {
    const { message } = /** @type {Error} */ (cause)
    throw new Error(`set OTEL_EXPORTER_PROMETHEUS_PORT to another port: ${message}`, { cause })
  }
  return () => provider.shutdown()
}

function exporterNames() {
  const endpoint =
    variable('OTEL_EXPORTER_OTLP_METRICS_ENDPOINT') ?? variable('OTEL_EXPORTER_OTLP_ENDPOINT')
  const byDefault = endpoint === undefined ? 'prometheus' : 'prometheus,otlp'
  const list = variable('OTEL_METRICS_EXPORTER') ?? byDefault
  const names = list.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !['prometheus', 'otlp'].includes(name))
  if (unknown === undefined) return names
  throw new Error(`OTEL_METRICS_EXPORTER: expected prometheus, otlp or both, got ${unknown}`)
}

/** Loads one exporter, because the one for gRPC is large. */
async function createOtlpExporter() {
  const protocol =
    variable('OTEL_EXPORTER_OTLP_METRICS_PROTOCOL') ??
    variable('OTEL_EXPORTER_OTLP_PROTOCOL') ??
    'http/protobuf'
  switch (protocol) {
    case 'grpc':
      return new (await import('@opentelemetry/exporter-metrics-otlp-grpc')).OTLPMetricExporter()
    case 'http/json':
      return new (await import('@opentelemetry/exporter-metrics-otlp-http')).OTLPMetricExporter()
    case 'http/protobuf':
      return new (await import('@opentelemetry/exporter-metrics-otlp-proto')).OTLPMetricExporter()
    default:
      throw new Error(
        `OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc, http/json or http/protobuf, got ${protocol}`,
      )
  }
}

/**
 * Returns a variable of the environment. An empty one is not set.
 *
 * @param {string} name
 */
function variable(name) {
  const value = process.env[name]
  return value === '' ? undefined : value
}
