import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'

/**
 * One line of the table. Without a bar it is there for information.
 *
 * @typedef {object} Row
 * @property {string} metric
 * @property {string} figure
 * @property {string} [bar]
 * @property {boolean} [met]
 */

const NODE_MAJOR = process.versions.node.split('.')[0]

const HEAD = ['metric', 'figure', 'bar', 'met?']

/**
 * @param {readonly Row[]} rows
 * @returns {string} what it ran on, and a Markdown table
 */
export function markdown(rows) {
  return section([HEAD, ...rows.map(cells)])
}

/** @param {Row} row */
function cells({ metric, figure, bar = '', met }) {
  return [metric, figure, bar, met === undefined ? '' : met ? 'yes' : '**no**']
}

/**
 * @param {readonly (readonly string[])[]} table its first row is the head
 * @returns {string} what it ran on, and the table as Prettier would align it
 */
export function section(table) {
  const columns = Array.from(table[0] ?? [])
  const widths = columns.map((_, column) => Math.max(...table.map((row) => width(row, column))))
  const lines = table.map((row) => line(row, widths, ' '))
  lines.splice(
    1,
    0,
    line(
      columns.map(() => ''),
      widths,
      '-',
    ),
  )
  const cpu = cpus()[0]?.model ?? 'unknown CPU'
  return `Node ${process.version}, ${availableParallelism()} × ${cpu}\n\n${lines.join('\n')}\n`
}

/**
 * Puts rows into the table of docs/performance.md for this major version of Node.
 *
 * @param {readonly Row[]} rows
 * @param {boolean} areAll whether the rows of other names are to go
 */
export function writeRows(rows, areAll) {
  const mark = `bench node ${NODE_MAJOR}`
  const table = new Map(areAll ? [] : readTable('performance.md', mark))
  for (const row of rows) table.set(row.metric, cells(row))
  writeBetween('performance.md', mark, section([HEAD, ...table.values()]))
}

/**
 * @param {string} page
 * @param {string} mark
 * @returns {[string, string[]][]} the rows of a table but its head, by their first cell
 */
function readTable(page, mark) {
  const { text, from, to } = findBetween(page, mark)
  const lines = text
    .slice(from, to)
    .split('\n')
    .filter((line) => line.startsWith('| '))
  return lines.slice(2).map((line) => {
    const row = line
      .slice(1, -1)
      .split(' | ')
      .map((cell) => cell.trim())
    return [row[0] ?? '', row]
  })
}

/**
 * Replaces what is between two marks in a page of the documentation.
 *
 * @param {string} page
 * @param {string} mark
 * @param {string} section
 */
export function writeBetween(page, mark, section) {
  const { path, text, from, to } = findBetween(page, mark)
  writeFileSync(path, `${text.slice(0, from)}\n${section}\n${text.slice(to)}`)
}

/**
 * @param {string} page
 * @param {string} mark
 */
function findBetween(page, mark) {
  const path = new URL(`../../docs/${page}`, import.meta.url)
  const [start, end] = [`<!-- ${mark}: start -->\n`, `<!-- ${mark}: end -->`]
  const text = readFileSync(path, 'utf8')
  const from = text.indexOf(start)
  const to = text.indexOf(end, from)
  if (from === -1 || to === -1) throw new Error(`docs/${page}: expected ${start.trim()} and ${end}`)
  return { path, text, from: from + start.length, to }
}

/**
 * @param {readonly string[]} row
 * @param {number} column
 */
function width(row, column) {
  return row[column]?.length ?? 0
}

/**
 * @param {readonly string[]} row
 * @param {readonly number[]} widths
 * @param {string} filler
 */
function line(row, widths, filler) {
  return `| ${widths.map((width, column) => (row[column] ?? '').padEnd(width, filler)).join(' | ')} |`
}
