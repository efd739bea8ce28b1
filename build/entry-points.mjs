import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** @typedef {{ name: string, bin: Record<string, string>, exports: Record<string, string | { import: string, require: string }> }} Manifest */

/** Reads the package.json of a folder, and its entry points that are modules. @param {string} folder */
export function readManifest(folder) {
  /** @type {unknown} */
  const json = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const { name, bin, exports } = /** @type {Manifest} */ (json)
  const entryPoints = Object.entries(exports).flatMap(([path, files]) =>
    typeof files === 'string' ? [] : { path, ...files },
  )
  return { name, bin, entryPoints }
}
