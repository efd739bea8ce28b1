import { setTimeout as sleep } from 'node:timers/promises'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { produce, START } from './fleet.mjs'
import { formatMillis, median, report, takeTurns } from './measure.mjs'

// What polling costs this process: 1,000 sources of 3 followers each, at the default interval of 5 seconds, and one poll of
// PostgreSQL without the database's own time.

const SOURCES = 1000
const REPLICAS = ['replica-1', 'replica-2', 'replica-3']
const POLL_MILLIS = 5000
const [FEW, MANY] = [3, 100]

/** A source that answers after a millisecond, as if a server had. @param {number} i */
function createSource(i) {
  let leaderSeqno = START
  const read = async () => {
    await sleep(1)
    leaderSeqno += 100n
    const followers = REPLICAS.map((replica, behind) => {
      return { replica, appliedSeqno: leaderSeqno - 10n * BigInt(behind) }
    })
    return { shards: [{ shard: `shard-${i}`, leaderSeqno, followers }] }
  }
  return { name: `source-${i}`, read }
}

/** CPU in percent of one core, during one interval. */
async function measureCpu() {
  const before = process.cpuUsage()
  await sleep(POLL_MILLIS)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 10 / POLL_MILLIS
}

/** Polls a PostgreSQL whose client answers at once, as a server did. @param {number} followers */
function pollPostgres(followers) {
  const rows = Array.from({ length: followers }, (_, i) => ({
    role_name: 'monitor',
    in_recovery: 'false',
    leader: '1000',
    system_identifier: '7712205833477952562',
    timeline: '1',
    restart_timeline: '1',
    started: '1795638037718737',
    connection: `${i} 1795638043464581`,
    state: 'streaming',
    application_name: `standby_${i}`,
    client_addr: '10.0.0.1',
    slot_name: `standby_${i}`,
    slot_type: 'physical',
    connected: 'true',
    receives_only: 'false',
    wal_status: 'reserved',
    lost: null,
    applied: '900',
    received: '950',
    retained: '950',
    reply: '1795638043706317',
  }))
  const client = { query: () => Promise.resolve({ rows }) }
  const source = postgresSource({ client, shard: 'orders' })
  return async () => {
    const { shards } = await source.read(new AbortController().signal)
    const count = shards.reduce((sum, shard) => sum + shard.followers.length, 0)
    if (count !== followers) throw new Error(`expected ${followers} followers, got ${count}`)
  }
}

const [few, many] = await takeTurns(pollPostgres(FEW), pollPostgres(MANY))
const idle = await measureCpu()
const sources = Array.from({ length: SOURCES }, (_, i) => createSource(i))
produce({ sources, pollIntervalMillis: POLL_MILLIS })
// Two readings of each source, so that the code is compiled and all followers are known.
await sleep(2 * POLL_MILLIS + 1000)
const polling = await measureCpu()

report(
  {
    metric: 'CPU of polling 1,000 sources every 5 s',
    value: polling,
    unit: ' % of one core',
    detail: `${idle.toFixed(1)} % idle`,
  },
  {
    metric: `one poll of PostgreSQL, ${MANY} followers`,
    value: median(many),
    unit: ' ms',
    detail: `${formatMillis(median(few))} with ${FEW}`,
  },
)
