import { setImmediate as nextTurn } from 'node:timers/promises'
import { collect, fillGauge, FOLLOWERS, produce, SEQNOS_PER_SECOND } from './fleet.mjs'
import { shardNames, START, takeOverTime } from './fleet.mjs'
import { report, usedBytes } from './measure.mjs'

// Memory of a follower with its leader and its name, and of the history of a shard that is behind.

const DAY_SECONDS = 86_400
const HISTORIES = 1024

const { passSecond, runTimers } = takeOverTime()

function historyBytes() {
  const shards = shardNames(HISTORIES)
  const gauge = fillGauge(shards)
  const leaders = shards.map((shard) => gauge.leader(shard))
  const followers = shards.map((shard) => gauge.applied(shard))
  gauge.lagSeconds('shard-0')
  let seqno = START
  const pass = (/** @type {number} */ seconds, /** @type {boolean} */ areBehind) => {
    for (let second = 0; second < seconds; second++) {
      passSecond()
      seqno += SEQNOS_PER_SECOND
      for (const leader of leaders) leader.store(seqno)
      if (!areBehind) for (const follower of followers) follower.store(seqno)
      runTimers()
    }
  }
  // Compiles the code, which takes memory too.
  pass(DAY_SECONDS / 24, true)
  pass(1, false)
  const before = usedBytes()
  pass(DAY_SECONDS, true)
  const age = gauge.lagSeconds('shard-0') ?? Number.NaN
  if (Math.abs(age / DAY_SECONDS - 1) > 0.05) throw new Error(`expected a day, got ${age} s`)
  const behind = usedBytes() - before
  pass(1, false)
  const caughtUp = usedBytes() - before
  return { behind: behind / HISTORIES, caughtUp: Math.max(0, Math.round(caughtUp / HISTORIES)) }
}

async function followerBytes() {
  const before = usedBytes()
  const reader = produce({ gauge: fillGauge(shardNames(FOLLOWERS)) })
  const collectAndForget = async () => {
    await collect(reader, 2 * FOLLOWERS)
  }
  // The least of several: Node 24 sometimes keeps the points of the last collection for a while.
  let bytes = Infinity
  for (let i = 0; i < 5; i++) {
    await collectAndForget()
    await nextTurn()
    bytes = Math.min(bytes, usedBytes() - before)
  }
  // The reader is in use until here.
  await collectAndForget()
  return bytes / FOLLOWERS
}

const { behind, caughtUp } = historyBytes()
const follower = await followerBytes()

report(
  { metric: 'memory per follower', value: follower, unit: ' bytes', atMost: 480 },
  { metric: 'history of a shard a day behind', value: behind, unit: ' bytes', atMost: 6000 },
  { metric: 'history after it has caught up', value: caughtUp, unit: ' bytes', atMost: 0 },
)
