import { diag, DiagConsoleLogger, DiagLogLevel } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { NodeSDK, resources } from '@opentelemetry/sdk-node'
import { ReplicationLagInstrumentation } from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'

/**
 * Reports how far every follower of one PostgreSQL server is behind it: at `url` for Prometheus and, where
 * OTEL_EXPORTER_OTLP_ENDPOINT is set, to that endpoint as well.
 *
 * @param {pg.PoolConfig} database the server, with a role that has pg_monitor
 * @param {string} shard what the metrics call it
 */
export async function startService(database, shard) {
  // The package tells through `diag` what keeps it from reading the database.
  diag.setLogger(new DiagConsoleLogger(), DiagLogLevel.WARN)

  const pool = new pg.Pool({ max: 2, connectionTimeoutMillis: 5000, ...database })
  // A pool without this listener ends the process when the server closes an idle connection.
  pool.on('error', (error) => diag.warn(`lost a connection to ${shard}: ${error.message}`))

  const instrumentation = new ReplicationLagInstrumentation({
    sources: [postgresSource({ client: pool, shard })],
    pollIntervalMillis: 1000,
  })
  const { exporter, url } = await startPrometheusExporter()
  const sdk = new NodeSDK({
    serviceName: process.env['OTEL_SERVICE_NAME'] ?? shard,
    instrumentations: [instrumentation],
    metricReaders: [exporter, ...otlpReaders()],
    // Not the host's id, which comes later than the Prometheus exporter may ask for it.
    resourceDetectors: [resources.envDetector],
    // Metrics are all there is here.
    spanProcessors: [],
    logRecordProcessors: [],
  })
  sdk.start()

  return {
    url,
    gauge: instrumentation.gauge,
    /** Sends what is left to send, and ends all of the above. */
    async stop() {
      try {
        await sdk.shutdown()
      } finally {
        instrumentation.disable()
        await pool.end()
      }
    },
  }
}

function otlpReaders() {
  if (!process.env['OTEL_EXPORTER_OTLP_ENDPOINT']) return []
  // Short, because the end of the process waits for the last export, be there a collector or not.
  const exporter = new OTLPMetricExporter({ timeoutMillis: 2_000 })
  return [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 10_000 })]
}

/** On Prometheus' port for OpenTelemetry, or the next that is free. */
async function startPrometheusExporter(port = 9464) {
  // Without `host`, the exporter listens on all interfaces, as a server behind Prometheus wants it to.
  const host = '127.0.0.1'
  for (;;) {
    const exporter = new PrometheusExporter({ host, port, preventServerStart: true })
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
