import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { createServer } from 'node:http'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'

// A process of a replicated system that knows its own side only. Its parent says by message what it stores:
// { leader: { shard: seqno }, applied: { shard: { replica: seqno } }, remove: [shard] }.

const producer = new ReplicationLagMetricProducer({ positions: true, lagSeconds: false })
const exporter = new PrometheusExporter({ preventServerStart: true, metricProducers: [producer] })
new MeterProvider({ readers: [exporter] })
const { gauge } = producer

process.on('message', (message) => {
  const {
    leader = {},
    applied = {},
    remove = [],
  } = /** @type {{ leader?: Record<string, number>, applied?: Record<string, Record<string, number>>, remove?: string[] }} */ (
    message
  )
  for (const [shard, seqno] of Object.entries(leader)) gauge.updateLeaderSeqno(shard, seqno)
  for (const [shard, replicas] of Object.entries(applied)) {
    for (const [replica, seqno] of Object.entries(replicas)) {
      gauge.updateAppliedSeqno(shard, seqno, replica)
    }
  }
  for (const shard of remove) gauge.remove(shard)
  process.send?.('stored')
})
process.on('disconnect', () => process.exit())

const server = createServer((request, response) => {
  exporter.getMetricsRequestHandler(request, response)
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined })
})
