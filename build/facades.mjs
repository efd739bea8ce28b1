// Part of the build: gives each entry point in package.json an ES module facade that re-exports the CommonJS implementation
// by name. `import` and `require` share one copy.
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, resolve } from 'node:path'
import { readManifest } from './entry-points.mjs'

const require = createRequire(import.meta.url)

// The package itself is of type `module`.
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n')

for (const { import: facade, require: implementation } of readManifest('.').entryPoints) {
  const from = `from './${basename(implementation)}'\n`
  /** @type {unknown} */
  const loaded = require(resolve(implementation))
  const names = Object.keys(/** @type {object} */ (loaded))
  writeFileSync(facade, `export { ${names.join(', ')} } ${from}`)
  writeFileSync(facade.replace(/\.mjs$/, '.d.mts'), `export * ${from}`)
}
