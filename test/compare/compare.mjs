import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { Servers } from '../servers/servers.mjs'
import { SYSTEMS } from './systems.mjs'

// Takes the servers of one system through incidents, and prints what this package and plain commands show next to the truth, as
// a Markdown table: `npm run compare -- SYSTEM`, or `-- SYSTEM --seconds 20` for how long each incident lasts.

/**
 * How far a follower is behind, in the unit of its system and in seconds.
 * @typedef {{ count?: number | undefined, seconds?: number | undefined, connected?: boolean | undefined }} Lag
 */

/**
 * What the file of a system starts. Followers are known by the names that the source gives them.
 * @typedef {object} Comparison
 * @property {string} command the command that the last column is about
 * @property {import('opentelemetry-instrumentation-replication-lag').ReplicationSource} source
 * @property {() => Promise<bigint>} write writes one entry, and returns where the leader is then
 * @property {(follower: string) => Promise<bigint>} position where a follower is, as itself says
 * @property {(follower: string, load: Load) => MaybePromise<Lag | undefined>} [truth] where the position does not say it
 * @property {(follower: string) => Promise<Lag>} plain what the command shows
 * @property {(count: number) => string} [format]
 * @property {(run: Run) => Promise<void>} run runs the incidents
 */

/**
 * @template T
 * @typedef {T | Promise<T>} MaybePromise
 */

/**
 * @typedef {object} Run
 * @property {(title: string, follower: string, begin?: () => unknown) => Promise<void>} incident prints a row
 * @property {Load} load
 * @property {() => Promise<void>} restartMonitor
 */

/** Writes about 50 entries a second, and knows when each was written. */
export class Load {
  isBusy = true
  /** @type {{ position: bigint, at: number }[]} */
  #written = []
  #isOver = false
  /** @type {Promise<void>} */
  #running

  /** @param {() => Promise<bigint>} write */
  constructor(write) {
    this.#running = this.#run(write)
  }

  /** @param {() => Promise<bigint>} write */
  async #run(write) {
    while (!this.#isOver) {
      const add = (/** @type {bigint} */ position) =>
        this.#written.push({ position, at: performance.now() })
      if (this.isBusy) await write().then(add, () => undefined)
      await sleep(20)
    }
  }

  async stop() {
    this.#isOver = true
    await this.#running
  }

  /** @param {bigint} position @returns {Lag} how far a follower is behind that has applied so much */
  lag(position) {
    const [newest] = this.#written.slice(-1)
    const missing = this.#written.find((each) => each.position > position)
    if (!newest || !missing) return { count: 0, seconds: 0 }
    const seconds = (performance.now() - missing.at) / 1000
    return { count: Number(newest.position - position), seconds }
  }
}

/** @param {Comparison} comparison @param {Servers} servers @param {number} incidentMillis */
async function compare(comparison, servers, incidentMillis) {
  const { command, source, write, position, plain, format: formatCount = String } = comparison
  const load = new Load(write)
  servers.onStop(() => load.stop())
  const startMonitor = () =>
    new ReplicationLagMetricProducer({ sources: [source], pollIntervalMillis: 1000 })
  let monitor = startMonitor()
  servers.onStop(() => monitor.shutdown())
  const restartMonitor = async () => {
    await monitor.shutdown()
    monitor = startMonitor()
  }

  /** @type {Map<string, bigint>} */
  const known = new Map()
  /** @param {string} name @returns {Promise<Lag>} what the follower itself says, or has said when it last answered */
  const readTruth = async (name) => {
    const other = await comparison.truth?.(name, load)
    if (other) return other
    const late = sleep(500).then(() => known.get(name))
    const found = await Promise.race([position(name).catch(() => late), late])
    if (found === undefined) return {}
    known.set(name, found)
    return load.lag(found)
  }
  /** @param {string} name @returns {Lag} */
  const readMonitor = (name) => {
    const found = monitor.gauge.collectMetrics().find(({ replica }) => replica === name)
    return { count: found?.lagSeqno, seconds: found?.lagSeconds, connected: found?.connected }
  }
  /** @param {Lag} lag */
  const format = ({ count, seconds, connected }) => {
    const parts = [
      seconds === undefined ? undefined : `${seconds.toFixed(1)} s`,
      count === undefined ? undefined : formatCount(count),
      connected === false ? 'not connected' : undefined,
    ]
    return parts.filter((part) => part !== undefined).join(', ') || 'nothing'
  }

  console.log(`| incident | truth | this package, each second | ${command} |`)
  console.log('| --- | --- | --- | --- |')
  /** @type {Run['incident']} */
  const incident = async (title, name, begin) => {
    await readTruth(name)
    await begin?.()
    await sleep(incidentMillis)
    // A node that hangs answers no command.
    const late = sleep(1000).then(() => ({}))
    const ofCommand = await Promise.race([plain(name).catch(() => ({})), late])
    const shown = [await readTruth(name), readMonitor(name), ofCommand]
    console.log(`| ${title} | ${shown.map(format).join(' | ')} |`)
  }
  await comparison.run({ incident, load, restartMonitor })
}

const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string', default: '10' } },
  allowPositionals: true,
})
const start = SYSTEMS[positionals[0] ?? '']
if (start) {
  const servers = await Servers.create()
  try {
    await compare(await start(servers), servers, Number(values.seconds) * 1000)
  } finally {
    await servers.stop()
  }
  process.exit()
}
console.error(`npm run compare -- SYSTEM, which is one of: ${Object.keys(SYSTEMS).join(', ')}`)
process.exitCode = 2
