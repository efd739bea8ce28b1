import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ReplicationLagGauge,
  ReplicationPoller,
} from 'opentelemetry-instrumentation-replication-lag'
import { collect, produce, START } from './fleet.mjs'
import { formatMillis, median, ratio, report, takeTurns } from './measure.mjs'

// 1,000 sources of 3 followers each, at the default interval of 5 seconds.

const SOURCES = 1000
const REPLICAS = ['replica-1', 'replica-2', 'replica-3']
const POLL_MILLIS = 5000

/**
 * @param {number} i
 * @param {number} answerMillis as if a server had answered
 */
function createSource(i, answerMillis = 1) {
  let leaderSeqno = START
  const read = async () => {
    if (answerMillis > 0) await sleep(answerMillis)
    leaderSeqno += 100n
    const followers = REPLICAS.map((replica, behind) => {
      return { replica, appliedSeqno: leaderSeqno - 10n * BigInt(behind) }
    })
    return { shards: [{ shard: `shard-${i}`, leaderSeqno, followers }] }
  }
  return { name: `source-${i}`, read }
}

/** CPU in percent of one core, then event-loop delay in milliseconds, during one interval each. */
async function measureHost() {
  const before = process.cpuUsage()
  await sleep(POLL_MILLIS)
  const { user, system } = process.cpuUsage(before)
  const delays = monitorEventLoopDelay({ resolution: 2 })
  delays.enable()
  await sleep(POLL_MILLIS)
  delays.disable()
  return { cpu: (user + system) / 10 / POLL_MILLIS, delay: delays.percentile(99.9) / 1e6 }
}

const READS = 2000
const ROUNDS = 5

/**
 * The CPU time of one read, in milliseconds, when sources are read in turn, one each millisecond.
 *
 * @param {number} count how many sources there are
 */
async function measureRead(count) {
  let reads = 0
  const sources = Array.from({ length: count }, (_, i) => {
    const { name, read } = createSource(i, 0)
    return { name, read: () => (reads++, read()) }
  })
  const poller = new ReplicationPoller({
    gauge: new ReplicationLagGauge(),
    sources,
    pollIntervalMillis: count,
  })
  poller.start()
  while (reads < count) await sleep(10)
  const [first, before] = [reads, process.cpuUsage()]
  while (reads < first + READS) await sleep(10)
  const { user, system } = process.cpuUsage(before)
  poller.stop()
  return (user + system) / 1000 / (reads - first)
}

/** @type {number[]} */
const among = []
/** @type {number[]} */
const alone = []
for (let round = 0; round < ROUNDS; round++) {
  among.push(await measureRead(SOURCES))
  alone.push(await measureRead(1))
}

const idle = await measureHost()
const sources = Array.from({ length: SOURCES }, (_, i) => createSource(i))
const reader = produce({ sources, pollIntervalMillis: POLL_MILLIS })
// Two readings of each source, so that the code is compiled and all followers are known.
await sleep(2 * POLL_MILLIS + 1000)
const polling = await measureHost()
const points = SOURCES * (3 * REPLICAS.length + 2)
const [millis] = await takeTurns(() => collect(reader, points))

report(
  {
    metric: 'collection of 1,000 sources with 3 followers each',
    value: median(millis),
    unit: ' ms',
    atMost: 3,
  },
  ratio('CPU of a read among 1,000 sources : with one source', among, alone, {
    atMost: 1.25,
  }),
  {
    metric: 'CPU of polling 1,000 sources every 5 s',
    value: polling.cpu,
    unit: ' % of one core',
    detail: `${idle.cpu.toFixed(1)} % idle`,
  },
  {
    metric: 'event-loop delay (p99.9) while 1,000 sources are polled',
    value: polling.delay,
    unit: ' ms',
    detail: `${formatMillis(idle.delay)} idle`,
  },
)
