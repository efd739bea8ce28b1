import type { FollowerLag } from '../lag-map/follower-lag.js'

/** How to draw a table. */
export interface TableOptions {
  /** How many columns the terminal has. */
  readonly columns: number
  readonly colors: boolean
  /** The shards whose seqnos are bytes. */
  readonly byteShards: ReadonlySet<string>
  /** The lag in seconds of each follower in the last minute, by its name, a value for each second. */
  readonly history?: ReadonlyMap<string, readonly (number | undefined)[]>
}

/** From how many seconds behind a follower is yellow, and red. */
const YELLOW = 1
const RED = 5

const HEADINGS = ['REPLICA', 'LAG', 'SECONDS', 'NOT RECEIVED', 'CONNECTED']
const GAP = '  '
const SHORTEST_CHART = 10
const LONGEST_CHART = 60
const SHORTEST_NAME = 8

/** Draws a table of followers. No line is longer than the terminal is wide. */
export function renderTable(followers: readonly FollowerLag[], options: TableOptions): string[] {
  const { columns, colors, byteShards, history } = options
  const cells = followers.map((lag) => [
    nameOf(lag),
    formatSeqnos(lag.lagSeqno, byteShards.has(lag.shard)),
    formatSeconds(lag.lagSeconds),
    formatSeqnos(lag.receiveLagSeqno, byteShards.has(lag.shard)),
    lag.connected === undefined ? '-' : lag.connected ? 'yes' : 'no',
  ])
  const widths = HEADINGS.map((heading, index) =>
    Math.max(heading.length, ...cells.map((row) => row[index]?.length ?? 0)),
  )
  const rest = widths.slice(1).reduce((sum, width) => sum + GAP.length + width, 0)
  const nameWidth = Math.max(SHORTEST_NAME, Math.min(widths[0] ?? 0, columns - rest))
  const chartWidth = Math.min(LONGEST_CHART, columns - nameWidth - rest - GAP.length)
  const hasChart = history !== undefined && chartWidth >= SHORTEST_CHART
  const draw = (row: readonly string[], chart: string) =>
    row
      .map((cell, index) => {
        if (index === 0) return shorten(cell, nameWidth).padEnd(nameWidth)
        const width = widths[index] ?? 0
        return index < HEADINGS.length - 1 ? cell.padStart(width) : cell.padEnd(width)
      })
      .concat(hasChart ? [chart] : [])
      .join(GAP)
      .trimEnd()
      .slice(0, columns)
  const heading = paint('bold', draw(HEADINGS, `LAST ${chartWidth} s`), colors)
  const rows = followers.map((lag, index) => {
    const chart = hasChart ? sparkline(history.get(keyOf(lag)) ?? [], chartWidth) : ''
    return paint(colorOf(lag), draw(cells[index] ?? [], chart), colors)
  })
  return [heading, ...rows]
}

/** Names one follower among all. */
export function keyOf({ shard, replica }: FollowerLag): string {
  return JSON.stringify([shard, replica])
}

/** The name of a follower for people. */
export function nameOf({ shard, replica }: FollowerLag): string {
  return printable(replica === undefined ? shard : `${shard}/${replica}`)
}

/** Breaks a string into lines that fit the terminal, between words. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of printable(text).split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line)
      line = `  ${word}`
    } else line = line === '' ? word : `${line} ${word}`
    for (; line.length > columns; line = line.slice(columns)) lines.push(line.slice(0, columns))
  }
  return [...lines, line]
}

/** A name of a server, or an error of it, must not move the cursor. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?')
}

function shorten(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`
}

/** A chart of the newest values, at least as high as the red threshold. */
function sparkline(values: readonly (number | undefined)[], width: number): string {
  const shown = values.slice(-width)
  const top = Math.max(RED, ...shown.map((value) => value ?? 0))
  const bars = '▁▂▃▄▅▆▇█'
  return shown
    .map((value) => (value === undefined ? ' ' : bars[Math.min(7, Math.floor((value / top) * 8))]))
    .join('')
}

function formatSeconds(seconds: number | undefined): string {
  return seconds === undefined ? '-' : `${seconds.toFixed(1)} s`
}

/** Formats a distance in the log. */
function formatSeqnos(seqnos: number | undefined, isBytes: boolean): string {
  if (seqnos === undefined) return '-'
  if (!isBytes) return String(seqnos)
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = seqnos
  let index = 0
  // 999.95 and more would be shown as 1000.0.
  for (; Math.abs(value) >= 999.95 && index < units.length - 1; index++) value /= 1000
  return `${index === 0 ? value : value.toFixed(1)} ${units[index]}`
}

type Color = 'bold' | 'green' | 'yellow' | 'red'
const CODES: Readonly<Record<Color, number>> = { bold: 1, green: 32, yellow: 33, red: 31 }

function colorOf({ lagSeconds, lagSeqno, connected }: FollowerLag): Color {
  if (connected === false || (lagSeconds ?? 0) >= RED) return 'red'
  const isKnown = lagSeconds !== undefined && lagSeqno !== undefined
  return isKnown && lagSeconds < YELLOW ? 'green' : 'yellow'
}

export function paint(color: Color, text: string, colors: boolean): string {
  return colors ? `\u001b[${CODES[color]}m${text}\u001b[0m` : text
}
