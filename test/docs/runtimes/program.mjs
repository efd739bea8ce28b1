import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, MessageChannel, parentPort, Worker, workerData } from 'node:worker_threads'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
  ReplicationLagMetricProducer,
} from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'

/** @import { ThreadPort } from 'opentelemetry-instrumentation-replication-lag' */

// runtimes.slow.test.ts runs this on several runtimes and SDKs, with the packed package. It reports followers of a source, of the
// application and of a worker, prints them as Prometheus sees them, and ends by itself.

const host = '127.0.0.1'
const ports = [process.env['PRODUCER_PORT'], process.env['INSTRUMENTATION_PORT']].map(Number)
if (isMainThread) await report()
else apply(workerData)

function apply(/** @type {unknown} */ port) {
  const gauge = new ReplicationLagGauge()
  gauge.publish(/** @type {ThreadPort} */ (port))
  const applied = gauge.applied('log', 'worker')
  applied.store(2n ** 64n - 11n)
  parentPort?.on('message', () => applied.store(2n ** 64n - 5n))
  parentPort?.postMessage('started')
}

async function report() {
  const pool = new pg.Pool({ connectionTimeoutMillis: 3000 })
  pool.on('error', () => undefined)
  const gauge = new ReplicationLagGauge()
  const producer = new ReplicationLagMetricProducer({
    gauge,
    sources: [postgresSource({ client: pool, shard: 'database' })],
    pollIntervalMillis: 200,
  })

  const exporters = ports.map((port, index) => {
    const metricProducers = index === 0 ? [producer] : []
    return new PrometheusExporter({ host, port, metricProducers, preventServerStart: true })
  })
  const providers = exporters.map((exporter) => new MeterProvider({ readers: [exporter] }))
  new ReplicationLagInstrumentation({ gauge }).setMeterProvider(
    /** @type {MeterProvider} */ (providers[1]),
  )
  for (const exporter of exporters) await exporter.startServer()

  gauge.leader('log').store(2n ** 64n - 1n)
  gauge.applied('log', 'here').store(2n ** 64n - 3n)
  const { port1, port2 } = new MessageChannel()
  gauge.subscribe(port1)
  const worker = new Worker(new URL(import.meta.url), {
    workerData: port2,
    transferList: [port2],
  })
  await once(worker, 'message')
  await untilReported(/^replication_follower_connected \S*worker 1$/m)
  worker.postMessage('store')
  await untilReported(/^replication_lag_seqno \S*worker 4$/m)
  await worker.terminate()

  for (const port of ports) {
    console.log(await untilReported(/^replication_follower_connected \S*worker 0$/m, port))
  }
  for (const provider of providers) await provider.shutdown()
  await pool.end()
}

/** Scrapes until the source was read, the lag in seconds is known and a line is there. Returns the lines of followers. */
async function untilReported(/** @type {RegExp} */ line, port = ports[0]) {
  for (;;) {
    const response = await fetch(`http://${host}:${port}/metrics`)
    const lines = [...(await response.text()).matchAll(/^(\w+)\{(.*)\} (\S+)$/gm)]
      .filter(([, , labels]) => labels?.includes('shard='))
      .map(([, name, labels = '', value]) => {
        const [shard, replica] = ['shard', 'replica'].map(
          (label) => new RegExp(`${label}="([^"]*)"`).exec(labels)?.[1],
        )
        return `${name} ${shard}/${replica} ${name?.endsWith('_seconds') ? '…' : value}`
      })
    const text = lines.sort().join('\n')
    const isComplete = ['log/here', 'log/worker', 'database/standby_1'].every((follower) =>
      text.includes(`replication_lag_seconds ${follower}`),
    )
    if (isComplete && line.test(text)) return text
    await sleep(50)
  }
}
