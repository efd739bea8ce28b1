import { runInProcess } from './in-process.mjs'
import { median, medianRatio } from './statistics.mjs'

const ROUNDS = 5
const NO_SCRAPE_BAR = 2
const PRODUCER_BAR = 8
const STORES_BAR = 0.9

/**
 * Of each round: the 99.9th percentile of the event loop's delay, and the stores in a second.
 *
 * @typedef {'none' | 'worker' | 'producer' | 'prom' | 'observed'} Mode
 * @typedef {Record<Mode, { delayMillis: number[], storesPerSecond: number[] }>} Figures
 */

/**
 * What a scrape of 65,536 shards every second does to the thread that stores seqnos all the while.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchHostStall() {
  const figures = /** @type {Figures} */ (runInProcess('host-stall-once.mjs', [String(ROUNDS)]))
  const { none, worker, producer } = figures
  /** @param {Mode} mode */
  const delay = (mode) => `${median(figures[mode].delayMillis).toFixed(1)} ms`
  const beside = medianRatio(worker.delayMillis, none.delayMillis)
  const less = medianRatio(producer.delayMillis, worker.delayMillis)
  const stores = medianRatio(worker.storesPerSecond, none.storesPerSecond)
  const perSecond = [worker, none].map(
    (mode) => `${(median(mode.storesPerSecond) / 1e6).toFixed(1)} M/s`,
  )
  const what = "The event loop's delay (99.9th percentile) while scraped"
  return [
    {
      metric: `${what}, worker exporter, beside no scrape`,
      figure: `${beside.toFixed(2)}× (${delay('worker')}, ${delay('none')})`,
      bar: `≤ ${NO_SCRAPE_BAR}×`,
      met: beside <= NO_SCRAPE_BAR,
    },
    {
      metric: `${what}, worker exporter, beside the producer in the same thread`,
      figure: `1/${less.toFixed(1)} (${delay('worker')}, ${delay('producer')})`,
      bar: `≤ 1/${PRODUCER_BAR}`,
      met: less >= PRODUCER_BAR,
    },
    { metric: `${what}, ObservableGauge in the same thread`, figure: delay('observed') },
    { metric: `${what}, prom-client in the same thread`, figure: delay('prom') },
    {
      metric: 'Stores while the worker exporter is scraped, beside no scrape',
      figure: `${(stores * 100).toFixed(0)} % (${perSecond.join(', ')})`,
      bar: `≥ ${STORES_BAR * 100} %`,
      met: stores >= STORES_BAR,
    },
  ]
}
