import { fillGauge, shardNames, START } from './fleet.mjs'
import { median } from './statistics.mjs'

// One process of costs.mjs: prints the milliseconds of a look at where so many leaders are as JSON; nobody is behind.

const TICKS = 60
const WARM_UP_TICKS = 20

const shards = shardNames(Number(process.argv[2]))
let seconds = 0
const gauge = fillGauge(shards, { clock: () => seconds * 1000 })
let seqno = START + BigInt(shards.length)
/** @type {number[]} */
const millis = []
for (let tick = 0; tick < WARM_UP_TICKS + TICKS; tick++) {
  seconds++
  seqno += 100n
  for (const shard of shards) {
    gauge.updateLeaderSeqno(shard, seqno)
    gauge.updateAppliedSeqno(shard, seqno)
  }
  const startedAt = performance.now()
  gauge.sample(true)
  if (tick >= WARM_UP_TICKS) millis.push(performance.now() - startedAt)
}
console.log(JSON.stringify({ tickMillis: median(millis) }))
