import { writeBetween, section } from './report.mjs'
import { runInProcess } from './in-process.mjs'
import { startServer } from './scrape.mjs'
import { median } from './statistics.mjs'

// npm run bench:costs [-- --write]: what fleets of 100 to 1,000,000 followers cost, for the table in docs/large-fleets.md.

const FLEETS = [100, 1000, 10_000, 100_000, 1_000_000]
const PATHS = ['producer', 'instrumentation', 'prom']
const WARM_UP_ROUNDS = 6
/** Many for small fleets, whose scrape takes a moment; a few for large ones. */
const roundsOf = (/** @type {number} */ followers) =>
  Math.max(7, Math.min(50, 1_000_000 / followers))

/**
 * One row: scrapes of all paths in turn, and what each holds in memory.
 *
 * @param {number} followers
 */
async function measureFleet(followers) {
  const servers = await Promise.all(PATHS.map((path) => startServer(path, followers)))
  const millis = PATHS.map(() => /** @type {number[]} */ ([]))
  let bodyBytes = 0
  try {
    for (let round = -WARM_UP_ROUNDS; round < roundsOf(followers); round++) {
      for (const [path, server] of servers.entries()) {
        const scraped = await server.scrape()
        if (round >= 0) millis[path]?.push(scraped.millis)
        if (path === 0) bodyBytes = scraped.bytes
      }
    }
  } finally {
    for (const server of servers) server.stop()
  }
  const cells = PATHS.map((path, i) => {
    const { filled } = /** @type {import('./fleet-memory.mjs').Figures} */ (
      runInProcess('fleet-memory-once.mjs', [path, String(followers), '0'])
    )
    return `${time(median(millis[i] ?? []))}, ${size(filled)}`
  })
  const { tickMillis } = /** @type {{ tickMillis: number }} */ (
    runInProcess('costs-tick.mjs', [String(followers)])
  )
  return [followers.toLocaleString('en'), size(bodyBytes), ...cells, time(tickMillis)]
}

/** @param {number} millis */
function time(millis) {
  return millis < 10_000 ? `${digits(millis)} ms` : `${digits(millis / 1000)} s`
}

/** @param {number} bytes */
function size(bytes) {
  return bytes < 1e6 ? `${digits(bytes / 1e3)} kB` : `${digits(bytes / 1e6)} MB`
}

/**
 * Two digits, or all before the point.
 *
 * @param {number} value
 */
function digits(value) {
  if (value >= 10) return Math.round(value).toLocaleString('en')
  return String(Number(value.toPrecision(2)))
}

const rows = [
  ['followers', 'text', 'producer', 'instrumentation', 'prom-client', 'a tick for seconds'],
]
for (const followers of FLEETS) rows.push(await measureFleet(followers))
const table = section(rows)
console.log(table)
if (process.argv.includes('--write')) writeBetween('large-fleets.md', 'bench costs', table)
