import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { formatNumber } from './measure.mjs'

// npm run bench [-- --write | -- <name> …]: measures what docs/performance.md claims, with the Node that runs it. --write
// puts the table into that page. A missed bar is shown and is no failure: figures depend on the machine and what else it does.

/** @typedef {import('./measure.mjs').Result} Result */

/** In how many processes each benchmark runs. V8 optimizes code a little differently each time: the median counts. */
const BENCHMARKS = {
  updates: 3,
  collection: 3,
  behind: 1,
  threads: 3,
  memory: 1,
  'host-delay': 1,
  polling: 1,
  sources: 1,
}

/** @param {string} name */
function run(name) {
  const script = fileURLToPath(new URL(`${name}.mjs`, import.meta.url))
  const output = execFileSync(process.execPath, ['--expose-gc', script], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  /** @type {unknown} */
  const results = JSON.parse(output)
  return /** @type {Result[]} */ (results)
}

/**
 * Of each metric, the result of the process whose value is the median.
 *
 * @param {readonly Result[][]} processes
 */
function medianResults(processes) {
  return (processes[0] ?? []).map(({ metric }) => {
    const results = processes.flat().filter((result) => result.metric === metric)
    results.sort((a, b) => a.value - b.value)
    return /** @type {Result} */ (results[results.length >> 1])
  })
}

/** @param {Result} result */
function row({ metric, value, unit, detail, atMost, atLeast }) {
  const figure = formatNumber(value) + unit + (detail ? ` (${detail})` : '')
  if (atMost !== undefined) {
    return [metric, figure, `≤ ${formatNumber(atMost)}${unit}`, value <= atMost ? 'yes' : '**no**']
  }
  if (atLeast !== undefined) {
    return [
      metric,
      figure,
      `≥ ${formatNumber(atLeast)}${unit}`,
      value >= atLeast ? 'yes' : '**no**',
    ]
  }
  return [metric, figure, '', '']
}

/**
 * A Markdown table, as Prettier aligns it.
 *
 * @param {readonly string[][]} rows
 */
function table(rows) {
  const all = [['metric', 'figure', 'bar', 'met?'], ...rows]
  const widths = [0, 1, 2, 3].map((i) => Math.max(...all.map((row) => row[i]?.length ?? 0)))
  const lines = [...all, widths.map((width) => '-'.repeat(width))].map(
    (row) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`,
  )
  lines.splice(1, 0, ...lines.splice(-1))
  return lines.join('\n')
}

/**
 * Writes between the marks of this major version of Node.
 *
 * @param {string} text
 */
function write(text) {
  const page = new URL('../../docs/performance.md', import.meta.url)
  const mark = `bench node ${process.versions.node.split('.')[0]}`
  const between = new RegExp(`(?<=<!-- ${mark}: start -->\\n).*(?=<!-- ${mark}: end -->)`, 's')
  const before = readFileSync(page, 'utf8')
  if (!between.test(before)) throw new Error(`docs/performance.md: expected the marks of ${mark}`)
  writeFileSync(
    page,
    before.replace(between, () => `\n${text}\n\n`),
  )
}

const asked = process.argv.slice(2).filter((argument) => !argument.startsWith('-'))
const results = Object.entries(BENCHMARKS)
  .filter(([name]) => asked.length === 0 || asked.includes(name))
  .flatMap(([name, times]) => medianResults(Array.from({ length: times }, () => run(name))))
const machine = `Node ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown CPU'}`
const text = `${machine}\n\n${table(results.map(row))}`
console.log(text)
if (process.argv.includes('--write') && asked.length === 0) write(text)
