import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { createServer } from 'node:http'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { Counter, register } from 'prom-client'

// As before: the prom-client metrics on port 9090.
const scrapes = new Counter({ name: 'app_scrapes_total', help: 'How often it was scraped.' })
export const server = createServer((_request, response) => {
  scrapes.inc()
  register.metrics().then(
    (text) => response.setHeader('content-type', register.contentType).end(text),
    () => response.writeHead(500).end(),
  )
}).listen(Number(process.env['PORT'] ?? 9090), '127.0.0.1')

// New: the replication metrics, on port 9464 or that of OTEL_EXPORTER_PROMETHEUS_PORT.
export const producer = new ReplicationLagMetricProducer({ sources: [] }) // a source goes here
const exporter = new PrometheusExporter({ metricProducers: [producer], host: '127.0.0.1' })
export const provider = new MeterProvider({ readers: [exporter] })
