import { runInProcess } from './in-process.mjs'
import { median } from './statistics.mjs'

/**
 * What one process measured; each bare gauge with how many times as long as it the instrumentation takes.
 *
 * @typedef {{ millis: number, ratio: number }} Peer
 * @typedef {{ millis: number, kept: Peer, fresh: Peer }} Figures
 */

const PROCESSES = 9
const BAR = 1.15

/**
 * One collection of so many shards, beside a bare ObservableGauge whose callback loops over a `Map<string, number>`. There
 * are two ways to write that callback, and the one that turns out faster is the peer.
 *
 * In several processes, because in each of them V8 lays out and optimises the code in its own way for good.
 *
 * @param {number} shards
 * @returns {import('./report.mjs').Row}
 */
export function benchCollection(shards) {
  const runs = Array.from(
    { length: PROCESSES },
    () => /** @type {Figures} */ (runInProcess('collect-once.mjs', [String(shards)])),
  )
  const own = median(runs.map(({ millis }) => millis))
  const kept = summary(runs.map((run) => run.kept))
  const fresh = summary(runs.map((run) => run.fresh))
  const peer = kept.millis <= fresh.millis ? kept : fresh
  const attributes = peer === kept ? 'kept attributes' : 'new attributes'
  return {
    metric: `Collection of ${shards.toLocaleString('en')} shards, beside a bare ObservableGauge (${attributes})`,
    figure: `${peer.ratio.toFixed(2)}× its time (${own.toFixed(3)} ms, ${peer.millis.toFixed(3)} ms)`,
    // What the SDK does for each metric weighs more where the shards are few: the package has more of them.
    ...(shards >= 1000 && { bar: `≤ ${BAR}×`, met: peer.ratio <= BAR }),
  }
}

/**
 * @param {readonly Peer[]} runs
 * @returns {Peer}
 */
function summary(runs) {
  return {
    millis: median(runs.map(({ millis }) => millis)),
    ratio: median(runs.map(({ ratio }) => ratio)),
  }
}
