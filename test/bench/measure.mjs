/** The real clock, also in a process in which `takeOverTime` has replaced it. */
const now = performance.now.bind(performance)

const ROUNDS = 7
const WARM_UP_ROUNDS = 2
const ROUND_MILLIS = 100

/**
 * A figure. Without a bar it is there for information.
 *
 * @typedef {{ atMost?: number, atLeast?: number }} Bar
 * @typedef {Bar & { metric: string, value: number, unit: string, detail?: string }} Result
 */

/**
 * Prints the results of a benchmark for run.mjs, and ends the process.
 *
 * @param {Result[]} results
 */
export function report(...results) {
  console.log(JSON.stringify(results))
  process.exit()
}

/**
 * Times calls in turn, so that whatever slows the machine down for a while slows all of them. Garbage is collected before
 * each turn, so that each pays for its own. The last result is kept while the next one is made, as an exporter keeps it.
 *
 * @template {(() => unknown)[]} Calls
 * @param {Calls} calls
 * @returns {Promise<{ [Call in keyof Calls]: number[] }>} of each call the milliseconds, one figure for each round
 */
export async function takeTurns(...calls) {
  const series = calls.map((call) => ({ call, millis: /** @type {number[]} */ ([]) }))
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    for (const { call, millis } of series) {
      collectGarbage()
      const took = await timeCalls(call)
      if (round >= 0) millis.push(took)
    }
  }
  return /** @type {{ [Call in keyof Calls]: number[] }} */ (series.map(({ millis }) => millis))
}

/** @param {() => unknown} call */
async function timeCalls(call) {
  const kept = []
  let calls = 0
  let took = 0
  while (took < ROUND_MILLIS) {
    const startedAt = now()
    kept[0] = await call()
    took += now() - startedAt
    calls++
  }
  return took / calls
}

/**
 * @param {() => void} call
 * @returns how long it takes, in milliseconds
 */
export function timeOnce(call) {
  const startedAt = now()
  call()
  return now() - startedAt
}

/** @param {readonly number[]} values at least one */
export function median(values) {
  return /** @type {number} */ (values.toSorted((a, b) => a - b)[values.length >> 1])
}

/**
 * How many times as large one series is as another: the median of the ratios of each round.
 *
 * @param {string} metric
 * @param {readonly number[]} ones milliseconds, as the others
 * @param {readonly number[]} others
 * @param {Bar} bar
 * @returns {Result}
 */
export function ratio(metric, ones, others, bar) {
  const value = median(ones.map((one, round) => one / /** @type {number} */ (others[round])))
  const detail = `${formatMillis(median(ones))} : ${formatMillis(median(others))}`
  return { metric, value, unit: '×', detail, ...bar }
}

/** @param {number} millis */
export function formatMillis(millis) {
  return millis < 0.001 ? `${formatNumber(millis * 1e6)} ns` : `${formatNumber(millis)} ms`
}

/** @param {number} value */
export function formatNumber(value) {
  return Number(value.toPrecision(3)).toLocaleString('en')
}

/** Bytes on the heap and in shared memory, after a garbage collection. */
export function usedBytes() {
  collectGarbage()
  // `arrayBuffers` includes SharedArrayBuffers, `external` does not.
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** Runs it several times: V8 frees some memory only then. */
function collectGarbage() {
  if (!globalThis.gc) throw new Error('expected node --expose-gc')
  for (let i = 0; i < 3; i++) globalThis.gc()
}
