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
 * @param {Partial<Record<Name, () => void>>} [before] what happens before each call, and is not measured
 * @returns {Promise<Record<Name, number[]>>} milliseconds a call, of each round
 */
export async function measureBlocks(subjects, rounds, before = {}) {
  const names = /** @type {Name[]} */ (Object.keys(subjects))
  /** @type {Map<Name, number[]>} */
  const figures = new Map(names.map((name) => [name, []]))
  // The first two rounds warm up.
  for (let round = -2; round < rounds; round++) {
    for (const [name, millis] of figures) {
      collectGarbage()
      const took = await measureBlock(subjects[name], before[name])
      if (round >= 0) millis.push(took)
    }
  }
  return /** @type {Record<Name, number[]>} */ (Object.fromEntries(figures))
}

/**
 * @param {() => unknown} call
 * @param {() => void} [before]
 */
async function measureBlock(call, before) {
  const kept = []
  let calls = 0
  let took = 0
  while (took < BLOCK_MILLIS) {
    before?.()
    const startedAt = performance.now()
    kept[0] = await call()
    took += performance.now() - startedAt
    calls++
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
