import { benchBothMetrics } from './both-metrics.mjs'
import { benchCollection } from './collect.mjs'
import { benchFleetCollection } from './fleet-collect.mjs'
import { benchChurn, benchFleetMemory } from './fleet-memory.mjs'
import { benchGrowth } from './growth.mjs'
import { benchHistoryMemory } from './history-memory.mjs'
import { benchHostStall } from './host-stall.mjs'
import { benchHttp } from './http.mjs'
import { benchMemory } from './memory.mjs'
import { markdown, writeRows } from './report.mjs'
import { benchSampling } from './sampling.mjs'
import { benchUpdates } from './update.mjs'

// npm run bench [-- --all] [--write] [--only=<name>,…]: measures what docs/performance.md claims, on the Node that runs it.
// Without --all it leaves out what takes minutes. --write puts the figures into that page, in place of those of the same
// name; with --all, in place of all of them.
// A missed bar is shown and is no failure: the figures depend on the machine and on what else it does.

/** @typedef {import('./report.mjs').Row} Row */

/**
 * Memory after the updates: the fleets that it builds would leave the peers with less specialised code.
 *
 * @type {Record<string, { run: () => Row[] | Promise<Row[]>, takesMinutes?: true }>}
 */
const BENCHES = {
  updates: { run: async () => [...(await benchUpdates(1)), ...(await benchUpdates(1000))] },
  collection: { run: () => [benchCollection(10), benchCollection(1000)] },
  memory: { run: benchMemory },
  bothMetrics: { run: benchBothMetrics },
  sampling: { run: benchSampling },
  historyMemory: { run: benchHistoryMemory },
  fleetCollection: { run: benchFleetCollection },
  fleetMemory: { run: benchFleetMemory },
  http: { run: benchHttp },
  growth: { run: benchGrowth, takesMinutes: true },
  churn: { run: benchChurn, takesMinutes: true },
  hostStall: { run: benchHostStall, takesMinutes: true },
}

const only = process.argv
  .find((argument) => argument.startsWith('--only='))
  ?.slice(7)
  .split(',')
const all = process.argv.includes('--all')
/** @type {Row[]} */
const rows = []
for (const [name, { run, takesMinutes }] of Object.entries(BENCHES)) {
  const isAsked = only === undefined ? all || !takesMinutes : only.includes(name)
  if (isAsked) rows.push(...(await run()))
}
console.log(markdown(rows))

const missed = rows.filter(({ met }) => met === false)
for (const { metric, figure, bar } of missed) console.log(`MISSED ${metric}: ${figure}, bar ${bar}`)
if (missed.length === 0) console.log('All bars are met.')

if (process.argv.includes('--write')) writeRows(rows, all && only === undefined)
