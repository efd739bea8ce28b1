import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { etcd, etcd36 } from '../servers/etcd.mjs'
import { Servers } from '../servers/servers.mjs'

// `npm run compare -- etcd`, or `-- etcd --seconds 20` for how long each incident lasts.

/** @typedef {{ entries?: number | undefined, seconds?: number | undefined, connected?: boolean | undefined }} Lag */

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '10' } } })
const incidentMillis = Number(values.seconds) * 1000

/** Writes about 50 entries a second, and knows when each was written. */
class Load {
  isBusy = true
  /** @type {{ position: bigint, at: number }[]} */
  #written = []
  #isOver = false
  /** @type {Promise<void>} */
  #running

  /** @param {import('../servers/etcd.mjs').EtcdCluster} cluster */
  constructor(cluster) {
    this.#running = this.#run(cluster)
  }

  /** @param {import('../servers/etcd.mjs').EtcdCluster} cluster */
  async #run(cluster) {
    while (!this.#isOver) {
      const write = async () => {
        await cluster.write(1)
        this.#written.push({ position: await cluster.position(), at: performance.now() })
      }
      if (this.isBusy) await write().catch(() => undefined)
      await sleep(20)
    }
  }

  async stop() {
    this.#isOver = true
    await this.#running
  }

  /** @param {bigint} position @returns {Lag} how far a member is behind that has applied so much */
  lag(position) {
    const [newest] = this.#written.slice(-1)
    const missing = this.#written.find((each) => each.position > position)
    if (!newest || !missing) return { entries: 0, seconds: 0 }
    const seconds = (performance.now() - missing.at) / 1000
    return { entries: Number(newest.position - position), seconds }
  }
}

/** @param {Lag} lag */
function format({ entries, seconds, connected }) {
  const parts = [
    seconds === undefined ? undefined : `${seconds.toFixed(1)} s`,
    entries === undefined ? undefined : `${entries}`,
    connected === false ? 'not connected' : undefined,
  ]
  return parts.filter((part) => part !== undefined).join(', ') || 'nothing'
}

const servers = await Servers.create()
try {
  const cluster = await ((await etcd36.isInstalled()) ? etcd36 : etcd).start(servers)
  const { source } = await cluster.connect()
  const [first, second] = cluster.followers
  const load = new Load(cluster)
  servers.onStop(() => load.stop())
  const producer = new ReplicationLagMetricProducer({ sources: [source], pollIntervalMillis: 1000 })
  servers.onStop(() => producer.shutdown())
  /** @type {Map<string, bigint>} */
  const known = new Map()

  /** @param {string} name @returns {Promise<Lag>} what the member itself says, or has said when it last answered */
  const readTruth = async (name) => {
    const late = sleep(500).then(() => known.get(name))
    const own = cluster.status(name).then(({ raftAppliedIndex }) => BigInt(raftAppliedIndex))
    const position = await Promise.race([own.catch(() => late), late])
    if (position === undefined) return {}
    known.set(name, position)
    return load.lag(position)
  }
  /** @param {string} name @returns {Lag} */
  const readMonitor = (name) => {
    const found = producer.gauge.collectMetrics().find(({ replica }) => replica === name)
    return { entries: found?.lagSeqno, seconds: found?.lagSeconds, connected: found?.connected }
  }
  /** @param {string} name @returns {Promise<Lag>} the status that `etcdctl` shows, asked one after the other as it does */
  const readPlain = async (name) => {
    const members = [name, cluster.leader]
    const indexes = []
    for (const member of members) {
      indexes.push(Number((await cluster.status(member)).raftAppliedIndex))
    }
    return { entries: Number(indexes[1]) - Number(indexes[0]) }
  }

  console.log('| incident | truth | this package, each second | `etcdctl endpoint status` |')
  console.log('| --- | --- | --- | --- |')
  /** @param {string} title @param {string} name @param {() => unknown} [begin] */
  const incident = async (title, name, begin) => {
    await readTruth(name)
    await begin?.()
    await sleep(incidentMillis)
    const plain = await readPlain(name).catch(() => ({}))
    const shown = [await readTruth(name), readMonitor(name), plain]
    console.log(`| ${title} | ${shown.map(format).join(' | ')} |`)
  }

  await incident('healthy and busy', first)
  await incident('one member frozen', first, () => cluster.pause(first))
  await incident('the same: the healthy member', second)
  await incident('thawed', first, () => cluster.resume(first))
  await incident('one member cut off', first, () => cluster.cut(first))
  await incident('its link is back', first, () => cluster.mend())
  await incident('a member killed', second, () => cluster.kill(second))
  await incident('it is back', second, () => cluster.restart(second))
  const former = cluster.leader
  await incident('the leader killed and started: it follows', former, () => cluster.failOver())
  await incident('a learner added', 'learner', () => cluster.addFollower())
  await incident('it is removed', 'learner', async () => {
    await cluster.removeFollower('learner')
    known.delete('learner')
  })
  await incident('cut off, nobody writes', cluster.followers[0], async () => {
    load.isBusy = false
    await cluster.cut(cluster.followers[0])
  })
} finally {
  await servers.stop()
}
process.exit()
