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

const PAGE = new URL('../../docs/performance.md', import.meta.url)
const NODE_MAJOR = process.versions.node.split('.')[0]

/**
 * @param {readonly Row[]} rows
 * @returns {string} what it ran on, and a Markdown table as Prettier would align it
 */
export function markdown(rows) {
  const cells = rows.map(({ metric, figure, bar = '', met }) => [
    metric,
    figure,
    bar,
    met === undefined ? '' : met ? 'yes' : '**no**',
  ])
  const table = [['metric', 'figure', 'bar', 'met?'], ...cells]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => width(row, column))))
  const lines = table.map((row) => line(row, widths, ' '))
  lines.splice(1, 0, line(['', '', '', ''], widths, '-'))
  const cpu = cpus()[0]?.model ?? 'unknown CPU'
  return `Node ${process.version}, ${availableParallelism()} × ${cpu}\n\n${lines.join('\n')}\n`
}

/**
 * Puts the table into the page's section for this major version of Node.
 *
 * @param {string} section
 */
export function writeSection(section) {
  const start = `<!-- bench node ${NODE_MAJOR}: start -->\n`
  const end = `<!-- bench node ${NODE_MAJOR}: end -->`
  const page = readFileSync(PAGE, 'utf8')
  const from = page.indexOf(start)
  const to = page.indexOf(end, from)
  if (from === -1 || to === -1) {
    throw new Error(`docs/performance.md: expected ${start.trim()} and ${end}`)
  }
  writeFileSync(PAGE, `${page.slice(0, from)}${start}\n${section}\n${page.slice(to)}`)
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
