import { runInProcess } from './in-process.mjs'
import { median, medianRatio } from './statistics.mjs'

const PROCESSES = 1
const BAR = 1.5

/**
 * Nanoseconds a follower, of each round: at 10,000 followers with the newest result kept, or with as many results kept as
 * come to a million points; and at a million.
 *
 * @typedef {Record<'small' | 'smallKept' | 'large', number[]>} Nanos
 */

/**
 * What a follower costs in a collection of 1,000,000, beside what it costs in one of 10,000. A million points that are
 * alive at once cost V8 more to allocate than 10,000 do, whoever builds them: so the bar is for the same number of points
 * alive, and the rest is there beside what a bare loop shows.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchGrowth() {
  const runs = Array.from(
    { length: PROCESSES },
    () => /** @type {Record<'producer' | 'loop', Nanos>} */ (runInProcess('growth-once.mjs')),
  )
  /**
   * @param {'producer' | 'loop'} side
   * @param {'small' | 'smallKept'} peer
   */
  const grown = (side, peer) => {
    const ratio = median(runs.map((run) => medianRatio(run[side].large, run[side][peer])))
    /** @param {keyof Nanos} kind */
    const nanos = (kind) => `${median(runs.map((run) => median(run[side][kind]))).toFixed(0)} ns`
    return { ratio, text: `${ratio.toFixed(2)}× (${nanos('large')}, ${nanos(peer)})` }
  }
  const fair = grown('producer', 'smallKept')
  const what = 'A follower in a collection of 1,000,000, beside one in a collection of 10,000'
  return [
    {
      metric: `${what}, as many points kept`,
      figure: `${fair.text}; a bare loop: ${grown('loop', 'smallKept').text}`,
      bar: `≤ ${BAR}×`,
      met: fair.ratio <= BAR,
    },
    {
      metric: `${what}, one result kept`,
      figure: `${grown('producer', 'small').text}; a bare loop: ${grown('loop', 'small').text}`,
    },
  ]
}
