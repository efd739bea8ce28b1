// Part of the build: writes one declaration file for each entry point in package.json. It contains only what users can import.
import { generateDtsBundle } from 'dts-bundle-generator'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'

/** @type {unknown} */
const json = JSON.parse(readFileSync('package.json', 'utf8'))
const { exports } = /** @type {{ exports: Record<string, string | { require: string }> }} */ (json)

const files = Object.values(exports).flatMap((entryPoint) =>
  typeof entryPoint === 'string' ? [] : entryPoint.require.replace(/\.js$/, '.d.ts'),
)
const bundles = generateDtsBundle(
  files.map((file) => ({
    filePath: resolve(file.replace(/^\.\/dist\/(.*)\.d\.ts$/, 'src/$1.ts')),
    output: { noBanner: true, exportReferencedTypes: false },
  })),
  { preferredConfigPath: 'src/tsconfig.json' },
)

const [main = ''] = bundles
const exported = main.matchAll(/^export (?:declare class|interface|type) (\w+)/gm)
const shared = new Set([...exported].map(([, name]) => name))

for (const [index, file] of files.entries()) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, importShared(bundles[index] ?? '', relative(dirname(file), 'dist/index.js')))
}

/**
 * Replaces copies of declarations by imports: two copies of a class are two types.
 * @param {string} bundle @param {string} from
 */
function importShared(bundle, from) {
  /** @type {string[]} */
  const names = []
  const declaration = /^(?:declare class|interface|type) (\w+).*(?:;|\{(?:\n\t.*)*\n\};?)\n/gm
  const rest = bundle.replace(declaration, (copy, /** @type {string} */ name) => {
    if (!shared.has(name)) return copy
    names.push(name)
    return ''
  })
  const used = names.filter((name) => new RegExp(`\\b${name}\\b`).test(rest))
  return used.length === 0 ? bundle : `import type { ${used.join(', ')} } from '${from}';\n${rest}`
}
