import { benchCollection } from './collect.mjs'
import { benchMemory } from './memory.mjs'
import { markdown, writeSection } from './report.mjs'
import { benchUpdates } from './update.mjs'

// npm run bench [-- --write]: measures what docs/performance.md claims, on the Node that runs it.
// A missed bar is shown and is no failure: the figures depend on the machine and on what else it does.

// Memory last: the fleets that it builds would leave the peers with less specialised code.
const rows = [
  ...(await benchUpdates(1)),
  ...(await benchUpdates(1000)),
  benchCollection(),
  ...benchMemory(),
]
const section = markdown(rows)
console.log(section)

const missed = rows.filter(({ met }) => met === false)
for (const { metric, figure, bar } of missed) console.log(`MISSED ${metric}: ${figure}, bar ${bar}`)
if (missed.length === 0) console.log('All bars are met.')

if (process.argv.includes('--write')) writeSection(section)
