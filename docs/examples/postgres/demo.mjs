import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { PostgresCluster } from './cluster.mjs'
import { inPlace } from './screen.mjs'
import { startService } from './service.mjs'
import { addSnapshot, renderLine, renderTable, takesColors } from './table.mjs'
import { until } from './until.mjs'
import { startSystem, systems } from '../systems/show.mjs'

/** @typedef {import('./node.mjs').PostgresNode} PostgresNode */

/**
 * What the demo shows: servers that are running, and a service that reports how far followers are behind.
 *
 * @typedef {object} Show
 * @property {string} servers what runs where, in one line
 * @property {string} unit of the lag
 * @property {number} followers how many
 * @property {{ gauge: import('opentelemetry-instrumentation-replication-lag').ReplicationLagGauge, url: string }} service
 * @property {() => Promise<unknown>} write writes a little
 * @property {() => Promise<unknown>} hold makes a follower fall behind
 * @property {() => Promise<unknown>} release lets it catch up
 * @property {string} held what is the matter while it falls behind
 * @property {() => Promise<void>} stop
 */

const usage = `Usage: npm run demo [-- --system NAME] [--duration SECONDS]

Starts a leader and two followers on this machine, writes to the leader, makes one follower
fall behind and catch up again, and shows how far each follower is behind.

  --system NAME       postgres, which needs nothing else, or one that is installed here:
                      ${Object.keys(systems).join(', ')}
  --duration SECONDS  end after this time instead of at Ctrl-C
  --help              show this
`

const holdMillis = 4000
const pollMillis = 1000
// About 1 MB of WAL a second.
const writeEveryMillis = 100
const rowsPerWrite = 10
const writesPerTruncate = 600

/** Ends the demo: aborted by Ctrl-C, at the end of the duration, and by a failure. */
const stop = new AbortController()
/** @type {unknown} */
let failure
/** Whether a follower is falling behind now. */
let isHeld = false

/** @param {unknown} error */
function fail(error) {
  // After the abort, everything fails because of it.
  if (!stop.signal.aborted) failure = error
  stop.abort()
}

async function main() {
  const parameters = parseParameters()
  if (!parameters) return
  const { system, duration } = parameters
  endOnSignals()
  /** @type {Show | undefined} */
  let show
  try {
    show = await (system === 'postgres' ? startPostgres() : startSystem(system, stop.signal, print))
    if (duration > 0) endAfter(duration)
    await Promise.all([repeat(show.write, writeEveryMillis), holdAndRelease(show), draw(show)])
  } catch (error) {
    fail(error)
  }
  print('Stopping …')
  await show?.stop().catch((/** @type {unknown} */ error) => (failure ??= error))
  if (failure === undefined) {
    print('All stopped, nothing left behind.')
    return
  }
  process.stderr.write(`The demo failed: ${describe(failure)}\n`)
  process.exitCode = 1
}

/** @returns {Promise<Show>} */
async function startPostgres() {
  print('Starting PostgreSQL: a primary and two standbys …')
  const cluster = await PostgresCluster.create({
    signal: stop.signal,
    onUnexpectedExit: (error) => {
      // Other failures are a consequence of this one.
      failure = error
      stop.abort()
    },
    // Limits the disk space, because the demo may run for long.
    conf: { wal_keep_size: '64MB', max_wal_size: '128MB' },
  })
  try {
    const primary = await cluster.startPrimary()
    const [first, second] = await Promise.all([
      // One is named by its slot, the other by its application_name.
      cluster.startStandby({ name: 'standby_1', of: primary, slot: 'standby_1' }),
      cluster.startStandby({ name: 'standby_2', of: primary }),
    ])
    const service = await startService(primary.connectionConfig(), 'orders')
    const nodes = [primary, first, second].map(({ name, port }) => `${name} ${port}`)
    return {
      servers: `PostgreSQL on 127.0.0.1: ${nodes.join(', ')}`,
      unit: 'bytes',
      followers: 2,
      service,
      write: createWriter(primary),
      hold: () => second.pauseReplay(),
      release: () => second.resumeReplay(),
      held: 'Replay is paused on standby_2: it receives the log and does not apply it.',
      async stop() {
        // The service first, because it would log errors about a database that is gone.
        await service.stop().finally(() => cluster.stop())
      },
    }
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

/**
 * Repeats a step until the demo ends. If the step fails, the demo ends.
 *
 * @param {() => unknown} step may be asynchronous
 * @param {number} everyMillis
 */
async function repeat(step, everyMillis) {
  try {
    while (!stop.signal.aborted) {
      await step()
      await sleep(everyMillis, undefined, { signal: stop.signal })
    }
  } catch (error) {
    fail(error)
  }
}

/** @param {PostgresNode} primary */
function createWriter(primary) {
  let writes = 0
  return async () => {
    if (writes === 0) await primary.query('create table orders (id bigint, note text)')
    if (++writes % writesPerTruncate === 0) await primary.query('truncate orders')
    await primary.query(
      `insert into orders select i, (select string_agg(md5(random()::text || i || j), '') from generate_series(1, 320) j)
         from generate_series(1, $1::int) i`,
      [rowsPerWrite],
    )
  }
}

/** @param {Show} show */
async function holdAndRelease({ hold, release }) {
  await repeat(async () => {
    await sleep(holdMillis, undefined, { signal: stop.signal })
    await (isHeld ? release() : hold())
    isHeld = !isHeld
  }, 0)
}

/** @param {Show} show */
async function draw({ servers, unit, followers, service: { gauge, url }, held }) {
  const isTerminal = process.stdout.isTTY && process.env['TERM'] !== 'dumb'
  const colors = takesColors(process.stdout, process.env)
  const drawLines = inPlace(process.stdout)
  print(`${servers}\nMetrics: ${url}\n`)
  const areAllMeasured = () => gauge.collectMetrics().length === followers
  await until('all followers are measured', areAllMeasured, { signal: stop.signal }).catch(fail)
  /** @type {import('./table.mjs').Row[]} */
  let rows = []
  await repeat(() => {
    rows = addSnapshot(rows, gauge.collectMetrics())
    const state = isHeld ? held : 'All followers apply what they receive.'
    const time = new Date().toISOString().slice(11, 19)
    if (isTerminal)
      drawLines([...renderTable(rows, { colors, unit }), '', state, 'Ctrl-C ends the demo.'])
    else print(`${time}  ${renderLine(rows, unit)}   ${isHeld ? held.split(':')[0] : ''}`.trimEnd())
  }, pollMillis)
}

/** @returns the duration in seconds, 0 for no limit; undefined if the demo is not to run */
function parseParameters() {
  try {
    const { values } = parseArgs({
      options: {
        system: { type: 'string', default: 'postgres' },
        duration: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help) {
      process.stdout.write(usage)
      return undefined
    }
    const { system, duration = '0' } = values
    if (system !== 'postgres' && !Object.hasOwn(systems, system)) {
      throw new Error(`--system: expected one of those below, got "${system}"`)
    }
    const seconds = Number(duration)
    // Timers of Node.js cannot wait longer than 24 days.
    if (
      values.duration === undefined ||
      (duration.trim() !== '' && seconds > 0 && seconds <= 86_400)
    ) {
      return { system, duration: seconds }
    }
    throw new Error(`--duration: expected seconds, more than 0 and up to 86400, got "${duration}"`)
  } catch (error) {
    process.stderr.write(`${describe(error)}\n\n${usage}`)
    process.exitCode = 2
    return undefined
  }
}

/** @param {number} seconds */
function endAfter(seconds) {
  const timer = setTimeout(() => stop.abort(), seconds * 1000)
  stop.signal.addEventListener('abort', () => clearTimeout(timer))
}

function endOnSignals() {
  let firstAt = 0
  for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(name, () => {
      firstAt ||= performance.now()
      // A second Ctrl-C ends the demo at once, and the cluster cleans up at exit. But npm may send one Ctrl-C twice.
      if (stop.signal.aborted && performance.now() - firstAt > 300) process.exit(130)
      stop.abort()
    })
  }
  process.stdout.on('error', (/** @type {NodeJS.ErrnoException} */ error) => {
    // Nobody reads the output any more, as with `| head`.
    if (error.code === 'EPIPE') stop.abort()
    else fail(error)
  })
  process.stderr.on('error', () => stop.abort())
}

/** @param {string} text */
function print(text) {
  process.stdout.write(`${text}\n`)
}

/** @param {unknown} error */
function describe(error) {
  return error instanceof Error ? error.message : String(error)
}

await main()
