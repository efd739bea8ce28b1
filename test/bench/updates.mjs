import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import promClient from 'prom-client'
import { shardNames, START } from './fleet.mjs'
import { ratio, report, takeTurns } from './measure.mjs'

// Storing a seqno, next to setting a gauge of prom-client through the child that `gauge.labels(shard)` returns.

const UPDATES = 10_000

/** @param {number} shardCount how many shards are updated in turn */
async function measure(shardCount) {
  const gauge = new ReplicationLagGauge()
  const promGauge = new promClient.Gauge({
    name: 'replication_lag_seqno',
    help: 'The same series.',
    labelNames: ['shard'],
    registers: [new promClient.Registry()],
  })
  const series = shardNames(shardCount).map((shard) => {
    return { shard, handle: gauge.leader(shard), child: promGauge.labels(shard) }
  })
  const updates = Array.from({ length: UPDATES }, (_, i) => {
    const { shard, handle, child } = /** @type {typeof series[0]} */ (series[i % shardCount])
    return { shard, handle, child, seqno: START + BigInt(i), number: Number(START) + i }
  })
  const millis = await takeTurns(
    () => {
      for (const { child, number } of updates) child.set(number)
    },
    () => {
      for (const { handle, seqno } of updates) handle.store(seqno)
    },
    () => {
      for (const { handle, number } of updates) handle.store(number)
    },
    () => {
      for (const { shard, seqno } of updates) gauge.updateLeaderSeqno(shard, seqno)
    },
    () => {
      for (const { shard, seqno } of updates) gauge.updateAppliedSeqno(shard, seqno, 'replica-1')
    },
  )
  const each = millis.map((rounds) => rounds.map((round) => round / UPDATES))
  const [prom = [], handle = [], number = [], name = [], replica = []] = each
  const where = shardCount === 1 ? 'one shard' : `${shardCount.toLocaleString('en')} shards`
  const what = `prom-client's bound child : store`
  return [
    ratio(`${what} through a handle, ${where}`, prom, handle, { atLeast: 4 }),
    ratio(`${what} of a number through a handle, ${where}`, prom, number, { atLeast: 4 }),
    ratio(`${what} by shard, ${where}`, prom, name, { atLeast: 3 }),
    ratio(`${what} by shard and replica, ${where}`, prom, replica, { atLeast: 3 }),
  ]
}

report(...(await measure(1)), ...(await measure(1000)))
