/**
 * A follower as it was last collected, and its last lags, the newest last.
 *
 * @typedef {object} Row
 * @property {string} shard
 * @property {string} [replica]
 * @property {number} [seconds] absent where the lag in seconds is not known
 * @property {boolean} [connected]
 * @property {readonly number[]} lags
 */

const historyLength = 30
const sparks = '▁▂▃▄▅▆▇█'
/**
 * Smaller lags are normal between healthy servers, so they do not fill the chart.
 *
 * @param {string} unit
 */
const smallestScale = (unit) => (unit === 'bytes' ? 1024 * 1024 : 100)

/**
 * Adds a snapshot to the rows. A follower that is not in the snapshot leaves the table.
 *
 * @param {readonly Row[]} rows
 * @param {readonly Pick<import('opentelemetry-instrumentation-replication-lag').FollowerLag, 'shard' | 'replica' | 'lagSeqno' | 'lagSeconds' | 'connected'>[]} snapshot
 *   from `gauge.collectMetrics()`
 * @returns {Row[]} sorted by name
 */
export function addSnapshot(rows, snapshot) {
  const added = snapshot.map(({ shard, replica, lagSeqno, lagSeconds, connected }) => {
    const past = rows.find((row) => row.shard === shard && row.replica === replica)?.lags ?? []
    /** @type {Row} */
    const row = { shard, lags: [...past, lagSeqno].slice(-historyLength) }
    if (replica !== undefined) row.replica = replica
    if (lagSeconds !== undefined) row.seconds = lagSeconds
    if (connected !== undefined) row.connected = connected
    return row
  })
  const name = (/** @type {Row} */ { shard, replica = '' }) => `${shard} ${replica}`
  return added.sort((a, b) => name(a).localeCompare(name(b)))
}

/**
 * @param {readonly Row[]} rows
 * @param {{ colors?: boolean, unit?: string }} [options] `unit` of the lags, default: bytes
 * @returns {string[]} the lines of the table, a heading first
 */
export function renderTable(rows, { colors = false, unit = 'bytes' } = {}) {
  const smallest = smallestScale(unit)
  const scale = Math.max(smallest, ...rows.flatMap(({ lags }) => lags))
  const heading = ['SHARD', 'REPLICA', 'LAG', 'SECONDS', 'CONNECTED', 'TREND']
  const cells = rows.map(({ shard, replica = '-', seconds, connected, lags }) => [
    shard,
    replica,
    formatLag(latest(lags), unit),
    seconds === undefined ? '-' : `${seconds.toFixed(1)} s`,
    connected === undefined ? '-' : connected ? 'yes' : 'no',
    trend(lags, scale),
  ])
  const widths = heading.map((name, column) =>
    Math.max(name.length, ...cells.map((line) => line[column]?.length ?? 0)),
  )
  const isNumber = (/** @type {number} */ column) => column === 2 || column === 3
  const lines = [heading, ...cells].map((line) =>
    line
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return isNumber(column) ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd(),
  )
  if (!colors) return lines
  return lines.map((line, index) => {
    const row = rows[index - 1]
    return row ? paint(line, severity(row, smallest, scale)) : paint(line, 'bold')
  })
}

/**
 * The same in one line, for output that is not a terminal.
 *
 * @param {readonly Row[]} rows
 * @param {string} [unit] of the lags
 */
export function renderLine(rows, unit = 'bytes') {
  return rows
    .map(({ shard, replica, seconds, connected, lags }) => {
      const name = replica === undefined ? shard : `${shard}/${replica}`
      const time = seconds === undefined ? '' : ` ${seconds.toFixed(1)} s`
      const link = connected === false ? ' disconnected' : ''
      return `${name} ${formatLag(latest(lags), unit).padStart(10)}${time} ${arrow(lags)}${link}`
    })
    .join('   ')
}

/**
 * @param {number} lag
 * @param {string} unit
 */
function formatLag(lag, unit) {
  return unit === 'bytes' ? formatBytes(lag) : `${lag} ${unit}`
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
 * Whether to write colors to a stream: to a terminal, unless the user has set NO_COLOR (https://no-color.org).
 *
 * @param {{ isTTY?: boolean }} stream
 * @param {NodeJS.ProcessEnv} env
 */
export function takesColors(stream, env) {
  return stream.isTTY === true && !env['NO_COLOR']
}

/**
 * A chart of the lags, and an arrow.
 *
 * @param {readonly number[]} lags
 * @param {number} scale the lag that fills the height
 */
function trend(lags, scale) {
  const highest = sparks.length - 1
  // A follower that is behind, by however little, never looks like one that has caught up.
  const height = (/** @type {number} */ lag) =>
    lag <= 0 ? 0 : Math.max(1, Math.round((lag / scale) * highest))
  const chart = lags.map((lag) => sparks.charAt(height(lag)))
  return `${chart.join('').padStart(historyLength)} ${arrow(lags)}`
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
 * @param {Row} row
 * @param {number} smallest the smallest scale of a chart
 * @param {number} scale
 */
function severity({ connected, lags }, smallest, scale) {
  if (connected === false) return 'red'
  const lag = latest(lags)
  return lag < smallest / 4 ? 'green' : lag < scale / 2 ? 'yellow' : 'red'
}

const codes = { bold: 1, red: 31, green: 32, yellow: 33 }

/**
 * @param {string} text
 * @param {keyof typeof codes} style
 */
function paint(text, style) {
  return `\u001B[${codes[style]}m${text}\u001B[0m`
}
