import { runInProcess } from './in-process.mjs'
import { median, medianRatio } from './statistics.mjs'

const PROCESSES = 3
const BAR = 2.2

const CASES = [
  { title: '1,000 shards, ObservableGauge', path: 'gauge', shards: 1000 },
  { title: '65,536 shards, producer', path: 'producer', shards: 65_536 },
]

/**
 * Collection of the lag in seqnos and in seconds, beside that of the lag in seqnos alone.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchBothMetrics() {
  return CASES.flatMap(({ title, path, shards }) =>
    ['caught-up', 'behind'].map((who) => {
      const args = [path, String(shards), who]
      const runs = Array.from(
        { length: PROCESSES },
        () =>
          /** @type {Record<'both' | 'one', number[]>} */ (
            runInProcess('both-metrics-once.mjs', args)
          ),
      )
      const ratio = median(runs.map(({ both, one }) => medianRatio(both, one)))
      const both = median(runs.map((run) => median(run.both)))
      const one = median(runs.map((run) => median(run.one)))
      const where = who === 'behind' ? 'all behind for a minute' : 'nobody behind'
      return {
        metric: `Collection of both metrics, beside that of one, ${title}, ${where}`,
        figure: `${ratio.toFixed(2)}× its time (${both.toFixed(2)} ms, ${one.toFixed(2)} ms)`,
        bar: `≤ ${BAR}×`,
        met: ratio <= BAR,
      }
    }),
  )
}
