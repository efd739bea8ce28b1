// Part of the build: gives each entry point in package.json an ES module facade that re-exports the CommonJS implementation
// by name. `import` and `require` share one copy.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, resolve } from 'node:path'

const require = createRequire(import.meta.url)

/** @type {unknown} */
const json = JSON.parse(readFileSync('package.json', 'utf8'))
const { exports } =
  /** @type {{ exports: Record<string, string | { import: string, require: string }> }} */ (json)

// The package itself is of type `module`.
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n')

for (const entryPoint of Object.values(exports)) {
  if (typeof entryPoint === 'string') continue
  const { import: facade, require: implementation } = entryPoint
  const from = `from './${basename(implementation)}'\n`
  /** @type {unknown} */
  const loaded = require(resolve(implementation))
  const names = Object.keys(/** @type {object} */ (loaded))
  writeFileSync(facade, `export { ${names.join(', ')} } ${from}`)
  writeFileSync(facade.replace(/\.mjs$/, '.d.mts'), `export * ${from}`)
}
