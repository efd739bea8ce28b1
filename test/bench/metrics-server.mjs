import { once } from 'node:events'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import promClient from 'prom-client'
import { fillGauge, METRIC, observeBare, shardNames } from './fleet.mjs'

/**
 * Ways to serve the lag of a fleet at /metrics: one series a shard, one label a series. Each returns what answers a
 * request.
 *
 * @typedef {(shards: readonly string[]) => import('node:http').RequestListener} Path
 */

/** The labels of scope and target are the SDK's own addition, which prom-client has not. */
const EXPORTER_OPTIONS = {
  preventServerStart: true,
  withoutScopeInfo: true,
  withoutTargetInfo: true,
}

/** @satisfies {Record<string, Path>} */
export const PATHS = {
  producer: (shards) => serveProducer(fillGauge(shards)),
  instrumentation: (shards) => {
    const exporter = new PrometheusExporter(EXPORTER_OPTIONS)
    const views = [{ instrumentName: METRIC, aggregationCardinalityLimit: 10_000_000 }]
    const gauge = fillGauge(shards)
    new ReplicationLagInstrumentation({ gauge, lagSeconds: false }).setMeterProvider(
      new MeterProvider({ readers: [exporter], views }),
    )
    return (request, response) => exporter.getMetricsRequestHandler(request, response)
  },
  observed: (shards) => {
    const exporter = new PrometheusExporter(EXPORTER_OPTIONS)
    const lags = new Map(shards.map((shard, i) => [shard, i]))
    const attributes = new Map(shards.map((shard) => [shard, { shard }]))
    observeBare(exporter, lags, attributes)
    return (request, response) => exporter.getMetricsRequestHandler(request, response)
  },
  prom: (shards) => {
    const register = new promClient.Registry()
    const gauge = new promClient.Gauge({
      name: METRIC,
      help: 'The same series.',
      labelNames: ['shard'],
      registers: [register],
    })
    for (const [i, shard] of shards.entries()) gauge.set({ shard }, i)
    return (_, response) => {
      void register.metrics().then((text) => {
        response.setHeader('content-type', register.contentType)
        response.end(text)
      })
    }
  },
}

/**
 * The producer's path, of any lag map.
 *
 * @param {import('opentelemetry-instrumentation-replication-lag').ReplicationLagGauge} gauge
 * @returns {import('node:http').RequestListener}
 */
export function serveProducer(gauge) {
  const producer = new ReplicationLagMetricProducer(gauge, { lagSeconds: false })
  const exporter = new PrometheusExporter({ ...EXPORTER_OPTIONS, metricProducers: [producer] })
  new MeterProvider({ readers: [exporter] })
  return (request, response) => exporter.getMetricsRequestHandler(request, response)
}

/**
 * Serves on a free port.
 *
 * @param {import('node:http').RequestListener} listener
 * @returns {Promise<number>} the port
 */
export async function listen(listener) {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return /** @type {import('node:net').AddressInfo} */ (server.address()).port
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [path = '', count] = process.argv.slice(2)
  const create = new Map(Object.entries(PATHS)).get(path)
  if (!create) throw new Error(`expected one of ${Object.keys(PATHS).join(', ')}, got ${path}`)
  // It ends with the process that asks it.
  process.once('disconnect', () => process.exit())
  process.send?.(await listen(create(shardNames(Number(count)))))
}
