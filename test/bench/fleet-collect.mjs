import { runInProcess } from './in-process.mjs'
import { median, medianRatio } from './statistics.mjs'

const PROCESSES = 3
const OBSERVED_BAR = 30
const LOOP_BAR = 3

/** @typedef {Record<'producer' | 'observed' | 'fresh' | 'kept', number[]>} Millis */

/**
 * One collection of 65,536 followers by the producer: beside an ObservableGauge whose limit of series is raised, and
 * beside loops that only build the same points. Seqnos only, without lag in seconds.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchFleetCollection() {
  const runs = Array.from(
    { length: PROCESSES },
    () => /** @type {Millis} */ (runInProcess('fleet-collect-once.mjs')),
  )
  /** @param {keyof Millis} name */
  const millis = (name) => median(runs.map((run) => median(run[name])))
  /**
   * @param {keyof Millis} one
   * @param {keyof Millis} other
   */
  const ratio = (one, other) => median(runs.map((run) => medianRatio(run[one], run[other])))
  /** @param {keyof Millis} peer */
  const figures = (peer) => `(${millis('producer').toFixed(1)} ms, ${millis(peer).toFixed(1)} ms)`
  const faster = ratio('observed', 'producer')
  const what = 'Collection of 65,536 followers by the producer'
  return [
    {
      metric: `${what}, beside an ObservableGauge with its limit raised`,
      figure: `${faster.toFixed(1)}× faster ${figures('observed')}`,
      bar: `≥ ${OBSERVED_BAR}×`,
      met: faster >= OBSERVED_BAR,
    },
    loopRow('fresh', 'over a Map, new attributes'),
    loopRow('kept', 'over an array, kept attributes'),
  ]

  /**
   * @param {'fresh' | 'kept'} peer
   * @param {string} how
   */
  function loopRow(peer, how) {
    const times = ratio('producer', peer)
    return {
      metric: `${what}, beside a loop that builds the same points (${how})`,
      figure: `${times.toFixed(2)}× its time ${figures(peer)}`,
      bar: `≤ ${LOOP_BAR}×`,
      met: times <= LOOP_BAR,
    }
  }
}
