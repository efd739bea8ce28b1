/**
 * A follower and its last lags, the newest last.
 * @typedef {{ readonly shard: string, readonly replica?: string, readonly lags: readonly number[] }} Row
 */

const historyLength = 30
const barLength = 20
const sparks = '▁▂▃▄▅▆▇█'
// Below this, a bar would make a mountain of what is in flight between any two healthy servers.
const smallestScale = 1024 * 1024

/**
 * Adds a reading to the rows; a follower that is in it no more leaves the table.
 *
 * @param {readonly Row[]} rows
 * @param {readonly { shard: string, replica?: string, lagSeqno: number }[]} reading what `gauge.collectMetrics()` returns
 * @returns {Row[]}
 */
export function addReading(rows, reading) {
  const rowsNow = reading.map(({ shard, replica, lagSeqno }) => {
    const past = rows.find((row) => row.shard === shard && row.replica === replica)?.lags ?? []
    const lags = [...past, lagSeqno].slice(-historyLength)
    return replica === undefined ? { shard, lags } : { shard, replica, lags }
  })
  // A follower keeps its line: the order of a reading is the order in which they were first seen.
  const name = (/** @type {Row} */ { shard, replica = '' }) => `${shard} ${replica}`
  return rowsNow.sort((a, b) => name(a).localeCompare(name(b)))
}

/**
 * @param {readonly Row[]} rows
 * @param {{ colors?: boolean }} [options]
 * @returns {string[]} the lines of the table, a heading first
 */
export function renderTable(rows, { colors = false } = {}) {
  const scale = Math.max(smallestScale, ...rows.flatMap(({ lags }) => lags))
  const heading = ['SHARD', 'REPLICA', 'LAG', ''.padEnd(barLength), 'TREND']
  const cells = rows.map(({ shard, replica = '-', lags }) => {
    const bar = '█'.repeat(share(latest(lags), scale, barLength))
    return [
      shard,
      replica,
      formatBytes(latest(lags)),
      bar.padEnd(barLength, '░'),
      trend(lags, scale),
    ]
  })
  const widths = heading.map((name, column) =>
    Math.max(name.length, ...cells.map((line) => line[column]?.length ?? 0)),
  )
  const lines = [heading, ...cells].map((line) =>
    line
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return column === 2 ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd(),
  )
  if (!colors) return lines
  return lines.map((line, index) => {
    const row = rows[index - 1]
    return row ? paint(line, severity(latest(row.lags), scale)) : paint(line, 'bold')
  })
}

/**
 * The same in one line, for a log: the shard's followers and their lags.
 *
 * @param {readonly Row[]} rows
 */
export function renderLine(rows) {
  return rows
    .map(({ shard, replica, lags }) => {
      const name = replica === undefined ? shard : `${shard}/${replica}`
      return `${name} ${formatBytes(latest(lags)).padStart(9)} ${arrow(lags)}`
    })
    .join('   ')
}

/**
 * @param {number} bytes may be negative
 * @returns {string} `3.2 MiB`
 */
export function formatBytes(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let value = bytes
  let unit = 0
  // 1023.95 and more would be shown as 1024.0.
  for (; Math.abs(value) >= 1023.95 && unit < units.length - 1; unit++) value /= 1024
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`
}

/**
 * Whether a stream takes colours: a terminal, unless the user wants none (https://no-color.org).
 *
 * @param {{ isTTY?: boolean }} stream
 * @param {NodeJS.ProcessEnv} env
 */
export function takesColors(stream, env) {
  return stream.isTTY === true && !env['NO_COLOR']
}

/**
 * @param {readonly number[]} lags
 * @param {number} scale
 */
function trend(lags, scale) {
  const spark = lags.map((lag) => sparks.charAt(share(lag, scale, sparks.length - 1)))
  return `${spark.join('').padStart(historyLength)} ${arrow(lags)}`
}

/** @param {readonly number[]} lags */
function arrow(lags) {
  const change = latest(lags) - (lags.at(-2) ?? latest(lags))
  return change > 0 ? '↑' : change < 0 ? '↓' : '→'
}

/** @param {readonly number[]} lags */
function latest(lags) {
  return lags.at(-1) ?? 0
}

/**
 * The steps of `steps` that a lag takes: none for a follower that is (more than) caught up, at least one otherwise.
 *
 * @param {number} lag
 * @param {number} scale the lag that takes all of them
 * @param {number} steps
 */
function share(lag, scale, steps) {
  return lag <= 0 ? 0 : Math.max(1, Math.round((lag / scale) * steps))
}

/**
 * @param {number} lag
 * @param {number} scale
 */
function severity(lag, scale) {
  return lag < smallestScale / 4 ? 'green' : lag < scale / 2 ? 'yellow' : 'red'
}

const codes = { bold: 1, red: 31, green: 32, yellow: 33 }

/**
 * @param {string} text
 * @param {keyof typeof codes} style
 */
function paint(text, style) {
  return `\u001B[${codes[style]}m${text}\u001B[0m`
}
