import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { collect, produce, START } from './fleet.mjs'
import { formatMillis, median, report, takeTurns } from './measure.mjs'

// 1,000 sources of 3 followers each, at the default interval of 5 seconds.

const SOURCES = 1000
const REPLICAS = ['replica-1', 'replica-2', 'replica-3']
const POLL_MILLIS = 5000

/** @param {number} i */
function createSource(i) {
  let leaderSeqno = START
  const read = async () => {
    // As if a server had answered.
    await sleep(1)
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
  {
    metric: 'CPU of polling them every 5 s',
    value: polling.cpu,
    unit: ' % of one core',
    detail: `${idle.cpu.toFixed(1)} % idle`,
  },
  {
    metric: 'event-loop delay (p99.9) meanwhile',
    value: polling.delay,
    unit: ' ms',
    detail: `${formatMillis(idle.delay)} idle`,
  },
)
