import { createRequire } from 'node:module'

/** @typedef {import('opentelemetry-instrumentation-replication-lag').FollowerLag} FollowerLag */
/** @typedef {import('./history.mjs').History} History */

/** The table of the command, which `npm run build:js` has built. @type {unknown} */
const built = createRequire(import.meta.url)('../../dist/cli/table.js')
const table = /** @type {typeof import('../../src/cli/table.js')} */ (built)

export const LEGEND =
  'green: less than 1 s behind, yellow: less than 5 s, red: more, or not connected'

/**
 * Draws a table of followers.
 *
 * @param {readonly FollowerLag[]} snapshot
 * @param {History} history
 * @param {{ unit: string, columns: number, colors: boolean }} options `columns` of the terminal
 * @returns {string[]} its lines
 */
export function renderTable(snapshot, history, { unit, columns, colors }) {
  const byteShards = new Set(unit === 'bytes' ? snapshot.map(({ shard }) => shard) : [])
  const seconds = snapshot.map((lag) => {
    const values = history.followers.get(lag.replica ?? '')?.seconds ?? []
    return /** @type {const} */ ([table.keyOf(lag), values.map((value) => value ?? undefined)])
  })
  return table.renderTable(snapshot, { columns, colors, byteShards, history: new Map(seconds) })
}

/** The same in one line, for output that is not a terminal. @param {readonly FollowerLag[]} snapshot */
export function renderLine(snapshot) {
  const followers = snapshot.map((lag) => {
    const link = lag.connected === false ? ' disconnected' : ''
    return `${table.nameOf(lag)} ${formatSeconds(lag.lagSeconds)}${link}`
  })
  return followers.join('   ')
}

/** @param {number | undefined} seconds */
export function formatSeconds(seconds) {
  return seconds === undefined ? '-' : `${seconds.toFixed(1)} s`
}
