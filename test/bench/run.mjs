import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { formatNumber } from './measure.mjs'

// npm run bench [-- --write | -- <name> …]: measures all that is claimed about speed, with the Node that runs it. --write puts
// what readers want into docs/performance.md. A missed bar is shown and is no failure: figures depend on the machine and what
// else it does.

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

/** What docs/performance.md shows. */
const ON_PAGE = [
  "prom-client's bound child : store through a handle, one shard",
  'collection by ObservableGauge : by producer',
  'collection of both lag metrics : of one, all behind',
  'memory per follower',
  'history of a shard a day behind',
  'event-loop delay (p99.9) while a worker serves : the thread itself',
  'CPU of polling 1,000 sources every 5 s',
  'one poll of PostgreSQL, 100 followers',
]

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
 * Writes between the marks of the page.
 *
 * @param {string} text
 */
function write(text) {
  const page = new URL('../../docs/performance.md', import.meta.url)
  const before = readFileSync(page, 'utf8')
  const after = before.replace(
    /(?<=<!-- bench: start -->\n).*(?=<!-- bench: end -->)/s,
    () => `\n${text}\n\n`,
  )
  writeFileSync(page, after)
}

/** @param {readonly Result[]} shown */
const toText = (shown) => `${machine}\n\n${table(shown.map(row))}`

const asked = process.argv.slice(2).filter((argument) => !argument.startsWith('-'))
const results = Object.entries(BENCHMARKS)
  .filter(([name]) => asked.length === 0 || asked.includes(name))
  .flatMap(([name, times]) => medianResults(Array.from({ length: times }, () => run(name))))
const machine = `Node ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown CPU'}`
console.log(toText(results))
if (process.argv.includes('--write') && asked.length === 0) {
  write(toText(results.filter(({ metric }) => ON_PAGE.includes(metric))))
}
