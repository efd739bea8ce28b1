import { median, medianRatio } from './statistics.mjs'
import { collectGarbage } from './in-process.mjs'

const BLOCK_MILLIS = 100

/**
 * Measures calls that make much garbage. Each side in turn is called over and over for a while, so that it pays for its
 * own garbage, after that of the other sides was collected. What a call returns is kept until the next, as an exporter
 * keeps it while it sends it.
 *
 * @template {string} Name
 * @param {Record<Name, () => unknown>} subjects
 * @param {number} rounds
 * @returns {Promise<Record<Name, number[]>>} milliseconds a call, of each round
 */
export async function measureBlocks(subjects, rounds) {
  const names = /** @type {Name[]} */ (Object.keys(subjects))
  /** @type {Map<Name, number[]>} */
  const figures = new Map(names.map((name) => [name, []]))
  // The first two rounds warm up.
  for (let round = -2; round < rounds; round++) {
    for (const [name, millis] of figures) {
      collectGarbage()
      const took = await measureBlock(subjects[name])
      if (round >= 0) millis.push(took)
    }
  }
  return /** @type {Record<Name, number[]>} */ (Object.fromEntries(figures))
}

/** @param {() => unknown} call */
async function measureBlock(call) {
  const kept = []
  let calls = 0
  const startedAt = performance.now()
  let took = 0
  while (took < BLOCK_MILLIS) {
    kept[0] = await call()
    calls++
    took = performance.now() - startedAt
  }
  return took / calls
}

/**
 * The medians, and how many times as long one side takes as another.
 *
 * @param {number[]} own
 * @param {number[]} peer
 */
export function compare(own, peer) {
  return { own: median(own), peer: median(peer), ratio: medianRatio(own, peer) }
}
