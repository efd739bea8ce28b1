import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { PostgresCluster } from './cluster.mjs'
import { inPlace } from './screen.mjs'
import { startService } from './service.mjs'
import { addSnapshot, renderLine, renderTable, takesColors } from './table.mjs'
import { until } from './until.mjs'

/** @typedef {import('./node.mjs').PostgresNode} PostgresNode */
/** @typedef {Awaited<ReturnType<typeof startService>>} Service */

const usage = `Usage: npm run demo [-- --duration SECONDS]

Starts a PostgreSQL primary and two streaming standbys on this machine, writes to the
primary, pauses and resumes one standby, and shows how far each standby is behind.

  --duration SECONDS  end after this time instead of at Ctrl-C
  --help              show this
`

const pausedStandby = 'standby_2'
const pauseMillis = 4000
const pollMillis = 1000
// About 1 MB of WAL a second.
const writeEveryMillis = 100
const rowsPerWrite = 10
const writesPerTruncate = 600

/** Ends the demo: aborted by Ctrl-C, at the end of the duration, and by a failure. */
const stop = new AbortController()
/** @type {unknown} */
let failure
/** Whether replay is paused now. */
let isPaused = false

/** @param {unknown} error */
function fail(error) {
  // After the abort, everything fails because of it.
  if (!stop.signal.aborted) failure = error
  stop.abort()
}

async function main() {
  const duration = parseDuration()
  if (duration === undefined) return
  endOnSignals()
  /** @type {PostgresCluster | undefined} */
  let cluster
  /** @type {Service | undefined} */
  let service
  try {
    print('Starting PostgreSQL: a primary and two standbys …')
    cluster = await PostgresCluster.create({
      signal: stop.signal,
      onUnexpectedExit: (error) => {
        // Other failures are a consequence of this one.
        failure = error
        stop.abort()
      },
      // Limits the disk space, because the demo may run for long.
      conf: { wal_keep_size: '64MB', max_wal_size: '128MB' },
    })
    const { primary, standbys } = await startServers(cluster)
    service = await startService(primary.connectionConfig(), 'orders')
    if (duration > 0) endAfter(duration)
    await Promise.all([
      write(primary),
      pauseAndResume(standbys.find(({ name }) => name === pausedStandby)),
      show(service, [primary, ...standbys]),
    ])
  } catch (error) {
    fail(error)
  }
  print('Stopping …')
  await cleanUp(cluster, service)
  if (failure === undefined) {
    print('All stopped, nothing left behind.')
    return
  }
  process.stderr.write(`The demo failed: ${describe(failure)}\n`)
  process.exitCode = 1
}

/** @param {PostgresCluster} cluster */
async function startServers(cluster) {
  const primary = await cluster.startPrimary()
  const standbys = await Promise.all([
    // One is named by its slot, the other by its application_name.
    cluster.startStandby({ name: 'standby_1', of: primary, slot: 'standby_1' }),
    cluster.startStandby({ name: 'standby_2', of: primary }),
  ])
  return { primary, standbys }
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
async function write(primary) {
  let writes = 0
  await repeat(async () => {
    if (writes === 0) await primary.query('create table orders (id bigint, note text)')
    if (++writes % writesPerTruncate === 0) await primary.query('truncate orders')
    await primary.query(
      `insert into orders select i, (select string_agg(md5(random()::text || i || j), '') from generate_series(1, 320) j)
         from generate_series(1, $1::int) i`,
      [rowsPerWrite],
    )
  }, writeEveryMillis)
}

/** @param {PostgresNode | undefined} standby */
async function pauseAndResume(standby) {
  await repeat(async () => {
    await sleep(pauseMillis, undefined, { signal: stop.signal })
    if (isPaused) await standby?.resumeReplay()
    else await standby?.pauseReplay()
    isPaused = !isPaused
  }, 0)
}

/**
 * @param {Service} service
 * @param {PostgresNode[]} nodes
 */
async function show({ gauge, url }, nodes) {
  const isTerminal = process.stdout.isTTY && process.env['TERM'] !== 'dumb'
  const colors = takesColors(process.stdout, process.env)
  const draw = inPlace(process.stdout)
  const servers = nodes.map(({ name, port }) => `${name} ${port}`).join(', ')
  print(`PostgreSQL on 127.0.0.1: ${servers}\nMetrics: ${url}\n`)
  const areAllMeasured = () => gauge.collectMetrics().length === nodes.length - 1
  await until('all followers are measured', areAllMeasured, { signal: stop.signal }).catch(fail)
  /** @type {import('./table.mjs').Row[]} */
  let rows = []
  await repeat(() => {
    rows = addSnapshot(rows, gauge.collectMetrics())
    const state = isPaused
      ? `Replay is paused on ${pausedStandby}: it receives the log and does not apply it.`
      : 'Both standbys apply what they receive.'
    const time = new Date().toISOString().slice(11, 19)
    if (isTerminal) draw([...renderTable(rows, { colors }), '', state, 'Ctrl-C ends the demo.'])
    else
      print(`${time}  ${renderLine(rows)}   ${isPaused ? `${pausedStandby} paused` : ''}`.trimEnd())
  }, pollMillis)
}

/**
 * @param {PostgresCluster | undefined} cluster
 * @param {Service | undefined} service
 */
async function cleanUp(cluster, service) {
  // The service first, because it would log errors about a database that is gone.
  for (const part of [service, cluster]) {
    try {
      await part?.stop()
    } catch (error) {
      failure ??= error
    }
  }
}

/** @returns {number | undefined} in seconds, 0 for no limit; undefined if the demo is not to run */
function parseDuration() {
  try {
    const { values } = parseArgs({
      options: { duration: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    })
    if (values.help) {
      process.stdout.write(usage)
      return undefined
    }
    if (values.duration === undefined) return 0
    const seconds = Number(values.duration)
    // Timers of Node.js cannot wait longer than 24 days.
    if (values.duration.trim() !== '' && seconds > 0 && seconds <= 86_400) return seconds
    throw new Error(
      `--duration: expected seconds, more than 0 and up to 86400, got "${values.duration}"`,
    )
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
