// Part of the build: removes the declarations that no entry point in package.json leads to.
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import ts from 'typescript'
import { readManifest } from './entry-points.mjs'

const { entryPoints } = readManifest('.')
const used = new Set(entryPoints.map(({ require }) => normalize(require.replace(/\.js$/, '.d.ts'))))
// What is added to a set while it is iterated is visited too.
for (const file of used) {
  const { importedFiles } = ts.preProcessFile(readFileSync(file, 'utf8'))
  for (const { fileName } of importedFiles) {
    if (fileName.startsWith('.')) used.add(join(dirname(file), fileName.replace(/\.js$/, '.d.ts')))
  }
}
for (const name of readdirSync('dist', { recursive: true, encoding: 'utf8' })) {
  const file = join('dist', name)
  if (file.endsWith('.d.ts') && !used.has(file)) rmSync(file)
}
