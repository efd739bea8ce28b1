import { runInProcess } from './in-process.mjs'

/**
 * Bytes a shard, while its follower is behind and when it has caught up.
 *
 * @typedef {{ behind: number, caughtUp: number }} Figures
 */

const CASES = [
  { title: 'a minute', shards: 16_384, seconds: 60, bar: 1500 },
  { title: 'a day', shards: 1024, seconds: 86_400, bar: 5000 },
]

/** Less than the smallest object for each shard is nothing that is kept for it, but what else came to the heap meanwhile. */
const SMALLEST_OBJECT_BYTES = 16

/**
 * What the history by which lag is measured in seconds adds to the heap for each shard.
 *
 * @returns {import('./report.mjs').Row[]}
 */
export function benchHistoryMemory() {
  return CASES.flatMap(({ title, shards, seconds, bar }) => {
    const args = [shards, seconds].map(String)
    const run = /** @type {Figures} */ (runInProcess('history-memory-once.mjs', args))
    return [
      {
        metric: `Memory of a shard's history, ${title} behind`,
        figure: `${run.behind} bytes`,
        bar: `≤ ${bar.toLocaleString('en')} bytes`,
        met: run.behind <= bar,
      },
      {
        metric: `Memory of a shard's history, caught up after ${title}`,
        figure: `${Math.max(0, run.caughtUp)} bytes`,
        bar: `0 (< ${SMALLEST_OBJECT_BYTES}) bytes`,
        met: run.caughtUp < SMALLEST_OBJECT_BYTES,
      },
    ]
  })
}
