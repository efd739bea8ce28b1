import { runInProcess } from './in-process.mjs'
import { median, medianRatio } from './statistics.mjs'

const PROCESSES = 3
const BAR = 2.2

const CASES = [
  { title: '1,000 shards, ObservableGauge', path: 'gauge', shards: 1000 },
  { title: '65,536 shards, producer', path: 'producer', shards: 65_536 },
]

/** The last is the worst case: every follower is a minute behind and moves, so each age is looked up in a history. */
const WHERE = [
  { who: 'caught-up', where: 'nobody behind', hasBar: true },
  { who: 'behind', where: 'all behind for a minute', hasBar: true },
  { who: 'moving', where: 'all a minute behind and moving', hasBar: false },
]

/**
 * Collection of the lag in seqnos and in seconds, beside that of the lag in seqnos alone.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchBothMetrics() {
  return CASES.flatMap(({ title, path, shards }) =>
    WHERE.map(({ who, where, hasBar }) => {
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
      return {
        metric: `Collection of both metrics, beside that of one, ${title}, ${where}`,
        figure: `${ratio.toFixed(2)}× its time (${both.toFixed(2)} ms, ${one.toFixed(2)} ms)`,
        ...(hasBar && { bar: `≤ ${BAR}×`, met: ratio <= BAR }),
      }
    }),
  )
}
