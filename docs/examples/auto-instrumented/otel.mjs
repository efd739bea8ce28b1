import { getNodeAutoInstrumentations } from '@opentelemetry/auto-instrumentations-node'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'

// The OpenTelemetry of a service: its own traces and metrics, and how far its followers are behind.

const producer = new ReplicationLagMetricProducer()
const exporter = new PrometheusExporter({ metricProducers: [producer] }, (error) => {
  // Such as a port that is taken.
  if (error) console.error(`there is no /metrics: ${error.message}`)
})
const sdk = new NodeSDK({
  instrumentations: [getNodeAutoInstrumentations()],
  metricReaders: [exporter],
})
sdk.start()

// A static `import pg` would load it before the SDK starts. The service would get the same copy, without traces and metrics.
const { default: pg } = await import('pg')
const pool = new pg.Pool({ max: 1, connectionTimeoutMillis: 3000, allowExitOnIdle: true })
// Without a listener, the process ends when the server closes an idle connection.
pool.on('error', () => undefined)
producer.addSource(postgresSource({ client: pool, shard: 'orders' }))

process.once('SIGTERM', () => void sdk.shutdown())
