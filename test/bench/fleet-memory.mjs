import { runInProcess } from './in-process.mjs'

/**
 * Bytes with all followers there and collected once, and after each tenth of the collections.
 *
 * @typedef {{ filled: number, churned: number[] }} Figures
 */

const FOLLOWERS = 65_536
const CHURNED = 65_536
const COLLECTIONS = 1000
/** The SDK's own growth is slow to measure: fewer followers and collections show the same. */
const OBSERVED = { followers: 2000, collections: 300 }
/** By how much the heap may differ from one measurement to the next, once the first tenth is over. */
const FLAT = 1.05

const PATHS = [
  { path: 'producer', title: 'producer' },
  { path: 'instrumentation', title: 'ObservableGauges of this package' },
  { path: 'observed', title: 'bare ObservableGauge' },
  { path: 'prom', title: 'prom-client' },
]

/**
 * Bytes a follower of 65,536, collected once: what holds the positions, and what the path to the reader keeps.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchFleetMemory() {
  return PATHS.map(({ path, title }) => {
    const { filled } = measure(path, FOLLOWERS, 0)
    return {
      metric: `Memory a follower, 65,536 shards, collected once, ${title}`,
      figure: `${Math.round(filled / FOLLOWERS)} bytes`,
    }
  })
}

/**
 * Memory over collections with 10 % of the followers replaced between each.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchChurn() {
  const { churned } = measure('producer', CHURNED, COLLECTIONS)
  const [first = Number.NaN] = churned
  const last = churned.at(-1) ?? Number.NaN
  const observed = measure('observed', OBSERVED.followers, OBSERVED.collections)
  const grown = (observed.churned.at(-1) ?? Number.NaN) - observed.filled
  const replaced = (OBSERVED.followers / 10) * OBSERVED.collections
  return [
    {
      metric:
        'Memory of 65,536 followers by the producer after 1,000 collections, 10 % replaced between each',
      figure: `${(last / first).toFixed(2)}× that after 100 (${mebibytes(last)}, ${mebibytes(first)})`,
      bar: `≤ ${FLAT}×`,
      met: last <= first * FLAT,
    },
    {
      metric:
        'Memory of 2,000 followers by an ObservableGauge after 300 collections, 10 % replaced between each',
      figure:
        `${mebibytes(observed.churned.at(-1) ?? Number.NaN)}, at first ${mebibytes(observed.filled)}: ` +
        `${Math.round(grown / replaced)} bytes for each that was replaced`,
    },
  ]
}

/**
 * @param {string} path
 * @param {number} followers
 * @param {number} collections
 */
function measure(path, followers, collections) {
  const args = [path, String(followers), String(collections)]
  return /** @type {Figures} */ (runInProcess('fleet-memory-once.mjs', args))
}

/** @param {number} bytes */
function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}
