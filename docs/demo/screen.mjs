import { styleText } from 'node:util'
import Table from 'cli-table3'
import sparkly from 'sparkly'

/** @typedef {import('opentelemetry-instrumentation-replication-lag').FollowerLag} FollowerLag */
/** @typedef {import('./history.mjs').History} History */

/** From how many seconds behind a follower is yellow, and red. */
export const THRESHOLDS = { yellow: 1, red: 5 }
export const LEGEND = `green: less than ${THRESHOLDS.yellow} s behind, yellow: less than ${THRESHOLDS.red} s, red: more, or not connected`

const PADDING = 2
/** How many seconds the sparklines show, if there is room. */
const LONGEST = 60
const SHORTEST = 10

/**
 * Draws a table of followers.
 *
 * @param {readonly FollowerLag[]} snapshot
 * @param {History} history
 * @param {{ unit: string, columns: number, colors: boolean }} options `columns` of the terminal
 * @returns {string[]} its lines
 */
export function renderTable(snapshot, history, { unit, columns, colors }) {
  const headings = ['REPLICA', unit.toUpperCase(), 'SECONDS', 'TO APPLY', 'CONNECTED']
  const rows = snapshot.map((lag) => [
    lag.replica ?? lag.shard,
    formatLag(lag.lagSeqno, unit),
    formatSeconds(lag.lagSeconds),
    formatToApply(lag, unit),
    lag.connected === undefined ? '-' : lag.connected ? 'yes' : 'no',
  ])
  const used = Math.max(...toLines(headings, rows).map((line) => line.length)) + PADDING
  const width = Math.min(LONGEST, columns - used)
  if (width >= SHORTEST) {
    headings.push(`LAST ${width} s`)
    for (const [index, { replica = '' }] of snapshot.entries()) {
      rows[index]?.push(chart(history.followers.get(replica)?.seconds ?? [], width))
    }
  }
  const lines = toLines(headings, rows)
  if (!colors) return lines
  return lines.map((line, index) => {
    const lag = snapshot[index - 1]
    return styleText(lag ? colorOf(lag) : 'bold', line, { validateStream: false })
  })
}

/**
 * @param {string[]} head
 * @param {string[][]} rows
 */
function toLines(head, rows) {
  const table = new Table({
    head,
    colAligns: ['left', 'right', 'right', 'right', 'left', 'left'],
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': PADDING },
    chars: NO_BORDERS,
  })
  table.push(...rows)
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
}

const NO_BORDERS = Object.fromEntries(
  ['top', 'bottom', 'left', 'right'].flatMap((side) =>
    ['', '-mid', '-left', '-right'].map((corner) => [`${side}${corner}`, '']),
  ),
)
Object.assign(NO_BORDERS, { mid: '', 'mid-mid': '', middle: '' })

/**
 * The same in one line, for output that is not a terminal.
 *
 * @param {readonly FollowerLag[]} snapshot
 * @param {string} unit
 */
export function renderLine(snapshot, unit) {
  const followers = snapshot.map(({ shard, replica = shard, lagSeqno, lagSeconds, connected }) => {
    const link = connected === false ? ' disconnected' : ''
    const count = unit === 'bytes' ? '' : ` ${unit}`
    return `${replica} ${formatLag(lagSeqno, unit)}${count} ${formatSeconds(lagSeconds)}${link}`
  })
  return followers.join('   ')
}

/**
 * A sparkline of the newest seconds, at least as high as the red threshold.
 *
 * @param {readonly (number | null)[]} seconds
 * @param {number} width
 */
function chart(seconds, width) {
  const shown = seconds.slice(-width).map((value) => value ?? NaN)
  const maximum = Math.max(THRESHOLDS.red, ...shown.filter((value) => !Number.isNaN(value)))
  return sparkly(shown, { minimum: 0, maximum })
}

/** @param {FollowerLag} lag */
function colorOf({ lagSeconds = 0, connected }) {
  if (connected === false || lagSeconds >= THRESHOLDS.red) return 'red'
  return lagSeconds >= THRESHOLDS.yellow ? 'yellow' : 'green'
}

/** @param {number | undefined} seconds */
export function formatSeconds(seconds) {
  return seconds === undefined ? '-' : `${seconds.toFixed(1)} s`
}

/**
 * What a follower has received and not applied.
 *
 * @param {FollowerLag} lag
 * @param {string} unit
 */
function formatToApply({ lagSeqno, receiveLagSeqno }, unit) {
  if (lagSeqno === undefined || receiveLagSeqno === undefined) return '-'
  return formatLag(lagSeqno - receiveLagSeqno, unit)
}

/**
 * @param {number | undefined} lag
 * @param {string} unit
 */
export function formatLag(lag, unit) {
  if (lag === undefined) return '-'
  if (unit !== 'bytes') return String(lag)
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = lag
  let index = 0
  // 999.95 and more would be shown as 1000.0.
  for (; Math.abs(value) >= 999.95 && index < units.length - 1; index++) value /= 1000
  return `${index === 0 ? value : value.toFixed(1)} ${units[index]}`
}
