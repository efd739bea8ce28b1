import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { median } from './statistics.mjs'

/**
 * What one process measured; each bare gauge with how many times as long as it the instrumentation takes.
 *
 * @typedef {{ millis: number, ratio: number }} Peer
 * @typedef {{ millis: number, kept: Peer, fresh: Peer }} Figures
 */

const PROCESSES = 9
const BAR = 1.15
const ONCE = fileURLToPath(new URL('collect-once.mjs', import.meta.url))

/**
 * One collection of 1,000 shards, beside a bare ObservableGauge whose callback loops over a `Map<string, number>`. There
 * are two ways to write that callback, and the one that turns out faster is the peer.
 *
 * In several processes, because in each of them V8 lays out and optimises the code in its own way for good.
 *
 * @returns {import('./report.mjs').Row}
 */
export function benchCollection() {
  const runs = Array.from({ length: PROCESSES }, runOnce)
  const own = median(runs.map(({ millis }) => millis))
  const kept = summary(runs.map((run) => run.kept))
  const fresh = summary(runs.map((run) => run.fresh))
  const peer = kept.millis <= fresh.millis ? kept : fresh
  const attributes = peer === kept ? 'kept attributes' : 'new attributes'
  return {
    metric: `Collection of 1,000 shards, beside a bare ObservableGauge (${attributes})`,
    figure: `${peer.ratio.toFixed(2)}× its time (${own.toFixed(2)} ms, ${peer.millis.toFixed(2)} ms)`,
    bar: `≤ ${BAR}×`,
    met: peer.ratio <= BAR,
  }
}

/** @returns {Figures} */
function runOnce() {
  /** @type {unknown} */
  const figures = JSON.parse(execFileSync(process.execPath, [ONCE], { encoding: 'utf8' }))
  return /** @type {Figures} */ (figures)
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
