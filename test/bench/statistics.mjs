import { measure } from 'mitata'

const ROUNDS = 11
const ROUND_CPU_NANOS = 100e6

/**
 * Measures each in turn, several times over, so that what slows the machine down for a while slows all of them.
 *
 * Each brings a loop of its own that is timed as a whole. mitata's own loop, which it generates around shorter calls,
 * is optimised by chance one way or another: the same store took 18 ns or 23 ns in it.
 *
 * @template {string} Name
 * @param {Record<Name, () => void>} subjects
 * @returns {Promise<Record<Name, number[]>>} nanoseconds a call, of each round: the median of its calls
 */
export async function measureInTurn(subjects) {
  const names = /** @type {Name[]} */ (Object.keys(subjects))
  /** @type {Map<Name, number[]>} */
  const figures = new Map(names.map((name) => [name, []]))
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, rounds] of figures) {
      const { p50 } = await measure(subjects[name], {
        min_cpu_time: ROUND_CPU_NANOS,
        batch_threshold: 0,
      })
      // The first round warms up.
      if (round > 0) rounds.push(p50)
    }
  }
  return /** @type {Record<Name, number[]>} */ (Object.fromEntries(figures))
}

/**
 * @param {readonly number[]} values at least one
 * @returns {number} the middle one; of an even number of them, the lower
 */
export function median(values) {
  return /** @type {number} */ (values.toSorted((a, b) => a - b)[(values.length - 1) >> 1])
}

/**
 * The median of the ratios of two series that were measured in turn.
 *
 * @param {readonly number[]} numerators
 * @param {readonly number[]} denominators
 * @returns {number}
 */
export function medianRatio(numerators, denominators) {
  return median(numerators.map((value, i) => value / /** @type {number} */ (denominators[i])))
}
