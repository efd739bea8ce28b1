import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  ReplicationLagGauge,
  ReplicationLagInstrumentation,
} from 'opentelemetry-instrumentation-replication-lag'
import { Follower } from './follower.mjs'
import { Leader } from './leader.mjs'
import { ship, Transport } from './shipping.mjs'

const port = Number(process.env['PORT'] ?? 9464)

// The lag map, and a /metrics endpoint that reports it.
const gauge = new ReplicationLagGauge()
const exporter = new PrometheusExporter({ host: '127.0.0.1', port, preventServerStart: true })
const provider = new MeterProvider({ readers: [exporter] })
new ReplicationLagInstrumentation({ gauge }).setMeterProvider(provider)
await exporter.startServer().catch((/** @type {unknown} */ error) => {
  const { message } = /** @type {Error} */ (error)
  console.error(`set PORT to another port: ${message}`)
  process.exit(1)
})

// A leader and a follower, each with a handle for its position.
const folder = await mkdtemp(join(tmpdir(), 'wal-shipping-'))
const leader = await Leader.open(join(folder, 'leader'), gauge.leader('orders'))
const follower = await Follower.open(join(folder, 'follower'), gauge.applied('orders'))
const transport = new Transport((stream, after) => void ship(leader.log, stream, after))
follower.connect(transport)

for (let order = 1; order <= 100; order++) await leader.append({ [`order-${order}`]: 'paid' })
await print('the leader has written 100 segments')

await follower.apply(50)
await print('the follower has applied half of them')

await follower.apply(50)
await print('the follower has applied all of them')

transport.close()
await provider.shutdown()
await rm(folder, { recursive: true })

/** @param {string} moment */
async function print(moment) {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  console.log(`# ${moment}`)
  console.log(text.split('\n').find((line) => line.startsWith('replication_lag_seqno{')))
}
