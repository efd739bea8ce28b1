import { runInProcess } from './in-process.mjs'
import { median, medianRatio } from './statistics.mjs'

const BAR_MILLIS = 10

/**
 * What one process measured.
 *
 * @typedef {Record<'caughtUp' | 'behind' | 'loop', number[]>} Ticks milliseconds
 * @typedef {{ millis: Ticks, off: { ticks: number, timers: number, bytes: number } }} Figures
 */

/**
 * One look at where 65,536 leaders are, to measure lag in seconds by, which happens once a second.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchSampling() {
  const { millis, off } = /** @type {Figures} */ (runInProcess('sampling-once.mjs'))
  const isOff = off.ticks === 0 && off.timers <= 0
  return [
    row('nobody behind', millis.caughtUp),
    row('all behind for 5 minutes', millis.behind),
    {
      metric: 'Sampling, with `lagSeconds: false`',
      figure: `${off.ticks} ticks, ${Math.max(0, off.timers)} timers in 1.5 s`,
      bar: 'nothing',
      met: isOff,
    },
  ]

  /**
   * @param {string} who
   * @param {number[]} ticks
   */
  function row(who, ticks) {
    const tick = median(ticks)
    const most = percentile(ticks, 0.99)
    const ratio = medianRatio(ticks, millis.loop)
    const loop = `a loop over a Map of as many numbers: ${median(millis.loop).toFixed(2)} ms`
    return {
      metric: `Sampling 65,536 shards, a tick, ${who}`,
      figure: `${tick.toFixed(1)} ms, 99th percentile ${most.toFixed(1)} ms (${loop}, ${ratio.toFixed(1)}×)`,
      bar: `≤ ${BAR_MILLIS} ms`,
      met: tick <= BAR_MILLIS,
    }
  }
}

/**
 * @param {readonly number[]} values
 * @param {number} part
 */
function percentile(values, part) {
  const sorted = values.toSorted((a, b) => a - b)
  return /** @type {number} */ (sorted[Math.ceil(sorted.length * part) - 1])
}
