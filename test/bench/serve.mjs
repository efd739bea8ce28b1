import { once } from 'node:events'
import { createServer } from 'node:http'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'

/**
 * Serves a lag map at /metrics, on a free port. Returns the URL.
 *
 * @param {import('opentelemetry-instrumentation-replication-lag').ReplicationLagGauge} gauge
 */
export async function serve(gauge) {
  const exporter = new PrometheusExporter({
    preventServerStart: true,
    metricProducers: [new ReplicationLagMetricProducer({ gauge })],
  })
  new MeterProvider({ readers: [exporter] })
  const server = createServer((request, response) => {
    exporter.getMetricsRequestHandler(request, response)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = /** @type {import('node:net').AddressInfo} */ (server.address())
  return `http://127.0.0.1:${address.port}/metrics`
}
