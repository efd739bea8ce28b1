import { once } from 'node:events'
import { createServer } from 'node:http'

/** @typedef {import('opentelemetry-instrumentation-replication-lag').ReplicationLagMetricProducer} Producer */

/**
 * Returns whether the last read of each source succeeded. A source that was not read yet is absent.
 *
 * @param {Producer} producer
 * @returns {Promise<Record<string, 'up' | 'down'>>}
 */
export async function readStates(producer) {
  const { resourceMetrics } = await producer.collect()
  const metrics = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
  const up = metrics.find(({ descriptor }) => descriptor.name === 'replication_source_up')
  const points = up?.dataPoints ?? []
  /** @type {[string, 'up' | 'down'][]} */
  const states = points.map(({ attributes, value }) => [
    String(attributes['source']),
    value === 1 ? 'up' : 'down',
  ])
  return Object.fromEntries(states)
}

/**
 * Serves `/health`. It answers 200 for as long as the process works: restarting it repairs no database.
 *
 * @param {Producer} producer
 */
export async function serveHealth(producer) {
  const server = createServer((request, response) => {
    if (request.url !== '/health') {
      response.writeHead(404).end()
      return
    }
    response.setHeader('content-type', 'application/json')
    void readStates(producer).then((sources) => response.end(JSON.stringify({ sources })))
  })
  try {
    const { OTEL_EXPORTER_PROMETHEUS_HOST: host, HEALTH_PORT } = process.env
    server.listen({ host, port: Number(HEALTH_PORT) || 9465 })
    await once(server, 'listening')
  } catch (cause) {
    const { message } = /** @type {Error} */ (cause)
    throw new Error(`set HEALTH_PORT to another port: ${message}`, { cause })
  }
}
