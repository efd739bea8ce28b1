import { diag, DiagConsoleLogger, DiagLogLevel } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { NodeSDK, resources } from '@opentelemetry/sdk-node'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'

/**
 * Reports how far every follower of one PostgreSQL server is behind it.
 *
 * @param {pg.PoolConfig} database the server, with a role that has pg_monitor
 * @param {string} shard the name of its cluster in the metrics
 */
export async function startService(database, shard) {
  // The package logs through `diag`, for example when the database cannot be read.
  diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN)

  // Without a timeout, `pg` waits forever for a server that accepts connections but never answers.
  const pool = new pg.Pool({ max: 1, connectionTimeoutMillis: 3000, ...database })
  // Without a listener, the process ends when the server closes an idle connection.
  pool.on('error', (error) => diag.warn(`lost a connection to ${shard}: ${error.message}`))

  const service = await startReporting(postgresSource({ client: pool, shard }), shard)
  return { ...service, stop: () => service.stop().finally(() => pool.end()) }
}

/**
 * Reports what a source reads: at `url` for Prometheus and, if OTEL_EXPORTER_OTLP_ENDPOINT is set, to that endpoint too.
 *
 * @param {import('opentelemetry-instrumentation-replication-lag').ReplicationSource} source
 * @param {string} serviceName
 */
export async function startReporting(source, serviceName) {
  const producer = new ReplicationLagMetricProducer({ sources: [source], pollIntervalMillis: 1000 })
  const { exporter, url } = await startPrometheusExporter(producer)
  const sdk = new NodeSDK({
    serviceName: process.env['OTEL_SERVICE_NAME'] ?? serviceName,
    metricReaders: [exporter, ...otlpReaders(producer)],
    // Not the host detector, whose id arrives later than the first scrape may.
    resourceDetectors: [resources.envDetector],
    // Only metrics.
    spanProcessors: [],
    logRecordProcessors: [],
  })
  sdk.start()
  return {
    url,
    gauge: producer.gauge,
    /** Exports once more, then ends everything that was started here. */
    stop: () => sdk.shutdown().finally(() => producer.shutdown()),
  }
}

/** @param {ReplicationLagMetricProducer} producer */
function otlpReaders(producer) {
  if (!process.env['OTEL_EXPORTER_OTLP_ENDPOINT']) return []
  // Short, because the process waits for the last export before it ends, even if there is no collector.
  const exporter = new OTLPMetricExporter({ timeoutMillis: 2_000 })
  const metricProducers = [producer]
  return [
    new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 10_000, metricProducers }),
  ]
}

/**
 * Starts a server on Prometheus' port for OpenTelemetry, or on the next port that is free.
 *
 * @param {ReplicationLagMetricProducer} producer
 */
async function startPrometheusExporter(producer, port = 9464) {
  // In production, leave `host` out: the exporter then listens on all interfaces, so that Prometheus can reach it.
  const host = '127.0.0.1'
  for (;;) {
    const exporter = new PrometheusExporter({
      host,
      port,
      preventServerStart: true,
      metricProducers: [producer],
    })
    try {
      await exporter.startServer()
      return { exporter, url: `http://${host}:${port}/metrics` }
    } catch (error) {
      const { code } = /** @type {NodeJS.ErrnoException} */ (error)
      if (code !== 'EADDRINUSE') throw error
      console.warn(`Port ${port} is taken, trying ${port + 1} for the metrics.`)
      port++
    }
  }
}
