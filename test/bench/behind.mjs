import { collect, fillGauge, FOLLOWERS, produce, SEQNOS_PER_SECOND, SHARDS } from './fleet.mjs'
import { START, takeOverTime } from './fleet.mjs'
import { median, ratio, report, takeTurns, timeOnce } from './measure.mjs'

// A fleet in which all followers are one to five minutes behind, and keep moving: sampling the leaders, which happens once a
// second, and collecting the lag in seconds.

const MIN_SECONDS_BEHIND = 60
const MAX_SECONDS_BEHIND = 300
const WARM_UP_SECONDS = MAX_SECONDS_BEHIND + 60
const SECONDS = 120

const { passSecond, runTimers } = takeOverTime()
const gauge = fillGauge(SHARDS)
const both = produce({ gauge })
const one = produce({ gauge, lagSeconds: false })
const pairs = SHARDS.map((shard, i) => {
  const seconds = MIN_SECONDS_BEHIND + (i % (MAX_SECONDS_BEHIND - MIN_SECONDS_BEHIND))
  const behind = BigInt(seconds) * SEQNOS_PER_SECOND
  return { leader: gauge.leader(shard), follower: gauge.applied(shard), behind }
})

let seqno = START
const ticks = []
for (let second = 0; second < WARM_UP_SECONDS + SECONDS; second++) {
  passSecond()
  seqno += SEQNOS_PER_SECOND
  for (const { leader, follower, behind } of pairs) {
    leader.store(seqno)
    if (seqno - behind > START) follower.store(seqno - behind)
  }
  const millis = timeOnce(runTimers)
  if (second >= WARM_UP_SECONDS) ticks.push(millis)
}

const age = gauge.lagSeconds('shard-0') ?? Number.NaN
if (Math.abs(age / MIN_SECONDS_BEHIND - 1) > 0.05)
  throw new Error(`expected a minute, got ${age} s`)
const [bothMillis, oneMillis] = await takeTurns(
  () => collect(both, 2 * FOLLOWERS),
  () => collect(one, FOLLOWERS),
)

report(
  ratio('collection of both lag metrics : of one, all behind', bothMillis, oneMillis, {
    atMost: 6,
  }),
  {
    metric: 'sampling the leaders once a second, all behind',
    value: median(ticks),
    unit: ' ms',
    atMost: 25,
  },
)
