import { fillGauge, shardNames } from './fleet.mjs'
import { usedBytes } from './in-process.mjs'

// One process of history-memory.mjs: prints bytes a shard as JSON. Its arguments: shards, seconds behind.

const LEADER_PER_SECOND = 100n

const [count = 0, ticks = 0] = process.argv.slice(2).map(Number)
const shards = shardNames(count)
let seconds = 0
let seqno = 2n ** 40n + BigInt(count)
const gauge = fillGauge(shards, { clock: () => seconds * 1000 })
const leaders = shards.map((shard) => gauge.leader(shard))
const followers = shards.map((shard) => gauge.applied(shard))

/** @param {boolean} isBehind */
function tick(isBehind) {
  seconds++
  // A pace that never rests: a leader that is idle now and then takes fewer samples.
  seqno += LEADER_PER_SECOND
  for (const leader of leaders) leader.store(seqno)
  if (!isBehind) for (const follower of followers) follower.store(seqno)
  gauge.sample(true)
}

// Warms up, so that the code is compiled and the newest sample of each leader is there.
for (let i = 0; i < 120; i++) tick(true)
for (let i = 0; i < 20; i++) tick(false)
const before = usedBytes()
for (let i = 0; i < ticks; i++) tick(true)
const behind = usedBytes()
const age = gauge.lagSeconds('shard-0') ?? Number.NaN
if (Math.abs(age / ticks - 1) > 0.05) throw new Error(`expected ${ticks} s, got ${age} s`)
tick(false)
const caughtUp = usedBytes()

/** @type {import('./history-memory.mjs').Figures} */
const figures = {
  behind: Math.round((behind - before) / count),
  caughtUp: Math.round((caughtUp - before) / count),
}
console.log(JSON.stringify(figures))
