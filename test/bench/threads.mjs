import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, MessageChannel, parentPort, Worker, workerData } from 'node:worker_threads'
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
import { collect, fillGauge, FOLLOWERS, produce, SHARDS, START } from './fleet.mjs'
import { median, ratio, report, takeTurns, timeOnce } from './measure.mjs'

// Publishing to another thread, and a collection of followers that four workers publish and whose leaders are here.

const WORKERS = 4
const PUBLISHED_TIMES = 7

if (isMainThread) await measure()
else publishFollowers(workerData)

/** @typedef {{ port: import('node:worker_threads').MessagePort, index: number }} WorkerData */

/** @param {unknown} workerData */
function publishFollowers(workerData) {
  const { port, index } = /** @type {WorkerData} */ (workerData)
  const gauge = new ReplicationLagGauge()
  const each = FOLLOWERS / WORKERS
  for (const shard of SHARDS.slice(index * each, (index + 1) * each)) {
    gauge.updateAppliedSeqno(shard, START)
  }
  gauge.publish(port)
  // Keeps the thread running.
  parentPort?.on('message', () => undefined)
}

function subscribeToWorkers() {
  const gauge = new ReplicationLagGauge()
  for (const shard of SHARDS) gauge.updateLeaderSeqno(shard, START)
  for (let index = 0; index < WORKERS; index++) {
    const { port1, port2: port } = new MessageChannel()
    gauge.subscribe(port1)
    new Worker(new URL(import.meta.url), { workerData: { port, index }, transferList: [port] })
  }
  return gauge
}

async function measure() {
  const gauge = fillGauge(SHARDS)
  const publishing = Array.from({ length: PUBLISHED_TIMES }, () => {
    const { port1 } = new MessageChannel()
    const millis = timeOnce(() => gauge.publish(port1))
    port1.close()
    return millis
  })
  const subscribed = subscribeToWorkers()
  while (!subscribed.collectMetrics().every(({ connected }) => connected)) await sleep(100)
  const threads = produce({ gauge: subscribed, lagSeconds: false })
  const own = produce({ gauge, lagSeconds: false })
  const [threadsMillis, ownMillis] = await takeTurns(
    // With whether each follower is connected.
    () => collect(threads, 2 * FOLLOWERS),
    () => collect(own, FOLLOWERS),
  )
  report(
    {
      metric: 'publishing 65,536 leaders and as many followers',
      value: median(publishing),
      unit: ' ms',
      atMost: 150,
    },
    ratio('collection of followers from four workers : of one feed', threadsMillis, ownMillis, {
      atMost: 2,
    }),
  )
}
