import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import promClient from 'prom-client'
import { BenchReader } from './bench-reader.mjs'
import { measureInTurn, median, medianRatio } from './statistics.mjs'

const UPDATES = 1000
const PROM_BAR = 4
const SDK_BAR = 20

/** Where seqnos start: a log that has been written for a while, past what fits into 32 bits. */
const START = 2 ** 40

/**
 * Updates with a seqno that is new each time, to so many shards in turn.
 *
 * @param {number} shardCount
 * @returns {Promise<import('./report.mjs').Row[]>}
 */
export async function benchUpdates(shardCount) {
  const nanos = await measureInTurn(subjects(shardCount))
  const where = shardCount === 1 ? 'one shard' : `${shardCount.toLocaleString('en')} shards`
  return [
    compare(`bound handle, bigint, ${where}`, nanos.bigint, PROM_BAR, SDK_BAR),
    compare(`bound handle, number, ${where}`, nanos.number, PROM_BAR, SDK_BAR),
    compare(`by name, bigint, ${where}`, nanos.byName),
  ].flat()

  /**
   * @param {string} what
   * @param {number[]} own
   * @param {number} [promBar]
   * @param {number} [sdkBar]
   */
  function compare(what, own, promBar, sdkBar) {
    return [
      row(what, own, 'prom-client bound child', nanos.prom, promBar),
      row(what, own, 'SDK synchronous gauge', nanos.sdk, sdkBar),
    ]
  }
}

/** @param {number} shardCount */
function subjects(shardCount) {
  const gauge = new ReplicationLagGauge()
  const promGauge = new promClient.Gauge({
    name: 'replication_lag_seqno',
    help: 'The same series.',
    labelNames: ['shard'],
    registers: [new promClient.Registry()],
  })
  // Without a reader the SDK has nowhere to record to.
  const provider = new MeterProvider({ readers: [new BenchReader()] })
  const sdkGauge = provider.getMeter('bench').createGauge('replication_lag_seqno')

  const updates = Array.from({ length: UPDATES }, (_, i) => {
    const shard = `shard-${i % shardCount}`
    return {
      handle: gauge.leader(shard),
      child: promGauge.labels(shard),
      attributes: { shard },
      shard,
      seqno: START + i,
      bigintSeqno: BigInt(START + i),
    }
  })
  return {
    bigint: () => {
      for (const { handle, bigintSeqno } of updates) handle.store(bigintSeqno)
    },
    number: () => {
      for (const { handle, seqno } of updates) handle.store(seqno)
    },
    byName: () => {
      for (const { shard, bigintSeqno } of updates) gauge.updateLeaderSeqno(shard, bigintSeqno)
    },
    prom: () => {
      for (const { child, seqno } of updates) child.set(seqno)
    },
    sdk: () => {
      for (const { attributes, seqno } of updates) sdkGauge.record(seqno, attributes)
    },
  }
}

/**
 * @param {string} what
 * @param {number[]} own nanoseconds
 * @param {string} peerName
 * @param {number[]} peer nanoseconds
 * @param {number} [bar]
 * @returns {import('./report.mjs').Row}
 */
function row(what, own, peerName, peer, bar) {
  const ratio = medianRatio(peer, own)
  const nanos = (/** @type {number[]} */ figures) => `${(median(figures) / UPDATES).toFixed(1)} ns`
  return {
    metric: `Update, ${what}, beside ${peerName}`,
    figure: `${ratio.toFixed(1)}× faster (${nanos(own)}, ${nanos(peer)})`,
    ...(bar !== undefined && { bar: `≥ ${bar}×`, met: ratio >= bar }),
  }
}
