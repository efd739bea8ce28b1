import { readdir } from 'node:fs/promises'

// Takes the servers of one system through incidents, and prints what this package and plain commands show beside the truth,
// as a Markdown table: `npm run compare -- SYSTEM`, and options of that system.

const files = await readdir(new URL('.', import.meta.url))
const systems = files.map((file) => file.replace('.mjs', '')).filter((name) => name !== 'compare')
const [system = ''] = process.argv.splice(2, 1)
if (systems.includes(system)) await import(`./${system}.mjs`)
else {
  console.error(`npm run compare -- SYSTEM, which is one of: ${systems.join(', ')}`)
  process.exitCode = 2
}
