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

/**
 * @param {readonly Row[]} rows
 * @returns {string} what it ran on, and a Markdown table
 */
export function markdown(rows) {
  const cells = rows.map(({ metric, figure, bar = '', met }) => [
    metric,
    figure,
    bar,
    met === undefined ? '' : met ? 'yes' : '**no**',
  ])
  return section([['metric', 'figure', 'bar', 'met?'], ...cells])
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
 * Puts the table into the section of docs/performance.md for this major version of Node.
 *
 * @param {string} section
 */
export function writeSection(section) {
  writeBetween('performance.md', `bench node ${NODE_MAJOR}`, section)
}

/**
 * Replaces what is between two marks in a page of the documentation.
 *
 * @param {string} page
 * @param {string} mark
 * @param {string} section
 */
export function writeBetween(page, mark, section) {
  const path = new URL(`../../docs/${page}`, import.meta.url)
  const start = `<!-- ${mark}: start -->\n`
  const end = `<!-- ${mark}: end -->`
  const text = readFileSync(path, 'utf8')
  const from = text.indexOf(start)
  const to = text.indexOf(end, from)
  if (from === -1 || to === -1) throw new Error(`docs/${page}: expected ${start.trim()} and ${end}`)
  writeFileSync(path, `${text.slice(0, from)}${start}\n${section}\n${text.slice(to)}`)
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
