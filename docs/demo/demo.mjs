import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { until } from '../../test/servers/postgres/processes.mjs'
import { Director } from './director.mjs'
import { CALM, History } from './history.mjs'
import { servePage } from './page.mjs'
import { startSystem, SYSTEMS } from './system.mjs'
import { LEGEND, listenToKeys, renderLine, renderTable, Terminal } from './terminal.mjs'

/** @typedef {import('./system.mjs').Show} Show */

const usage = `Usage: npm run demo [-- --system NAME] [--duration SECONDS]

Starts a leader and two followers on this machine, writes to the leader, breaks one thing after
another, and shows how far each follower is behind: here, and on a page for a browser.

  --system NAME       one of ${SYSTEMS.join(', ')}.
                      All but the first must be installed here.
  --duration SECONDS  end after this time instead of at Ctrl-C; 0 is no limit
  --help              show this
`

const SAMPLE_MILLIS = 1000
const WRITE_MILLIS = 100

/** Ends the demo: aborted by Ctrl-C, at the end of the duration, and by a failure. */
const stop = new AbortController()
/** @type {unknown} */
let failure

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
    show = await startSystem(system, { signal: stop.signal, print })
    if (duration > 0) endAfter(duration)
    await play(show)
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

/** @param {Show} show */
async function play(show) {
  const director = new Director(show.scenes, stop.signal, fail)
  const history = new History()
  const page = await servePage(show, history)
  const addresses = `${show.servers}\nMetrics: ${show.url}\nIn a browser: ${page.url}\n`
  /** @type {(() => void) | undefined} */
  let stopListening
  try {
    const isMeasured = () =>
      show.gauge.collectMetrics().filter(({ lagSeqno }) => lagSeqno !== undefined).length ===
      show.followers.length
    await until('all followers are measured', isMeasured, { signal: stop.signal })
    // Not before: a follower that is killed by then would never be measured.
    stopListening = listenToKeys((key) => {
      if (key === 'q' || key === 'ctrl-c') stop.abort()
      else director.press(key)
    })
    await Promise.all([
      repeat(() => write(show, director), WRITE_MILLIS),
      director.run(),
      watch(show, director, history, addresses),
    ])
  } finally {
    stopListening?.()
    await page.stop()
  }
}

/** @param {Show} show @param {Director} director */
async function write(show, director) {
  const mayWrite = () => !director.isBusy && !director.current?.isIdle
  // A leader may be stopped while it is written to.
  if (mayWrite())
    await show.write().catch((/** @type {unknown} */ error) => mayWrite() && fail(error))
}

/**
 * Collects once a second, and shows what was found.
 *
 * @param {Show} show
 * @param {Director} director
 * @param {History} history
 * @param {string} addresses shown above the table
 */
async function watch({ gauge, unit, scenes }, director, history, addresses) {
  const { isTTY, rows } = process.stdout
  // Some terminals, such as those of build servers, have no size. Nothing can be redrawn there.
  const isTerminal = isTTY && rows > 0 && process.env['TERM'] !== 'dumb'
  const terminal = isTerminal ? new Terminal() : undefined
  if (!isTerminal) print(addresses)
  const colors = isTerminal && !process.env['NO_COLOR']
  const keys = scenes.map(({ key, name }) => `${key} ${name}`).join('  ')
  const draw = async () => {
    const snapshot = gauge
      .collectMetrics()
      .sort((a, b) => (a.replica ?? '').localeCompare(b.replica ?? ''))
    const scene = director.current
    history.add(snapshot, scene?.title)
    const lag = snapshot.find(({ replica }) => replica === scene?.replica)
    // Servers may be down at the moment.
    const what = await scene?.describe(lag).catch(() => scene.name)
    history.sentence = director.isBusy ? 'One moment …' : (what ?? CALM)
    if (terminal) {
      const hint = process.stdin.isTTY
        ? `Keys: ${keys}  (again: mend)  q quit`
        : 'Ctrl-C ends the demo.'
      const { sentence } = history
      terminal.draw(() => {
        const { columns } = process.stdout
        const table = renderTable(snapshot, history, { unit, columns, colors })
        return [addresses, ...table, '', sentence, '', LEGEND, hint].join('\n')
      })
    } else {
      const time = new Date().toISOString().slice(11, 19)
      print(
        `${time}  ${renderLine(snapshot)}   ${scene ? history.sentence.replace('\n', ' ') : ''}`.trimEnd(),
      )
    }
  }
  await repeat(draw, SAMPLE_MILLIS)
  terminal?.close()
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

/** @returns the duration in seconds, 0 for no limit; undefined if the demo is not to run */
function parseParameters() {
  try {
    const { values } = parseArgs({
      options: {
        system: { type: 'string', default: 'postgres' },
        duration: { type: 'string', default: '0' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help) {
      process.stdout.write(usage)
      return undefined
    }
    const { system, duration } = values
    if (!SYSTEMS.includes(system)) {
      throw new Error(`--system: expected one of those below, got "${system}"`)
    }
    // Timers of Node.js cannot wait longer than 24 days.
    if (!(Number(duration) >= 0 && Number(duration) <= 86_400)) {
      throw new Error(`--duration: expected seconds, from 0 to 86400, got "${duration}"`)
    }
    return { system, duration: Number(duration) }
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
      // A second Ctrl-C ends the demo immediately, and what runs here is cleaned up at exit. But npm may send one Ctrl-C twice.
      if (stop.signal.aborted && performance.now() - firstAt > 300) process.exit(130)
      stop.abort()
    })
  }
  process.stdout.on('error', (/** @type {NodeJS.ErrnoException} */ error) => {
    // The output is no longer read, as with `| head`.
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
