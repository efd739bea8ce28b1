import { setTimeout as sleep } from 'node:timers/promises'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { fillGauge, shardNames, START } from './fleet.mjs'
import { usedBytes } from './in-process.mjs'

// One process of sampling.mjs: prints the milliseconds of each tick as JSON.

const SHARDS = 65_536
const WARM_UP_TICKS = 20
const TICKS = 300

const shards = shardNames(SHARDS)
/** Numbers that a bare loop goes over instead. */
const numbers = new Map(shards.map((shard, i) => [shard, i]))
let seconds = 0
let seqno = START + BigInt(SHARDS)

/** @param {boolean} isBehind whether the followers stay where they are while the leaders go on */
function ticksOf(isBehind) {
  const gauge = fillGauge(shards, { clock: () => seconds * 1000 })
  return {
    advance: () => {
      for (const shard of shards) {
        gauge.updateLeaderSeqno(shard, seqno)
        if (!isBehind) gauge.updateAppliedSeqno(shard, seqno)
      }
    },
    tick: () => gauge.sample(true),
  }
}

let sum = 0
const subjects = {
  caughtUp: ticksOf(false),
  behind: ticksOf(true),
  loop: {
    advance: () => {
      for (const shard of shards) numbers.set(shard, seconds)
    },
    tick: () => {
      for (const number of numbers.values()) sum += number
    },
  },
}

/** @type {import('./sampling.mjs').Ticks} */
const millis = { caughtUp: [], behind: [], loop: [] }
for (let tick = 0; tick < WARM_UP_TICKS + TICKS; tick++) {
  seconds++
  seqno += 100n
  for (const name of /** @type {const} */ (['caughtUp', 'behind', 'loop'])) {
    const { advance, tick: sample } = subjects[name]
    advance()
    const startedAt = performance.now()
    sample()
    if (tick >= WARM_UP_TICKS) millis[name].push(performance.now() - startedAt)
  }
}
if (Number.isNaN(sum)) throw new Error('numbers were summed up')

/** What a second costs in which nothing is asked of the producer. */
async function costOfIdling() {
  const gauge = fillGauge(shards)
  let ticks = 0
  const sample = gauge.sample.bind(gauge)
  gauge.sample = (withUnseen) => {
    ticks++
    sample(withUnseen)
  }
  const bytes = usedBytes()
  const timers = countTimers()
  const producer = new ReplicationLagMetricProducer(gauge, { lagSeconds: false })
  await sleep(1500)
  const idling = { ticks, timers: countTimers() - timers, bytes: usedBytes() - bytes }
  await producer.collect()
  return idling
}

function countTimers() {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
}

/** @type {import('./sampling.mjs').Figures} */
const figures = { millis, off: await costOfIdling() }
console.log(JSON.stringify(figures))
