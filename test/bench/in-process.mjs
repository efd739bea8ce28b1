import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Runs a script of this directory in a process of its own, so that what else was measured leaves no trace in its heap,
 * nor in how V8 has laid out and optimised the code.
 *
 * @param {string} script it prints its figures as JSON
 * @param {readonly string[]} [args]
 * @returns {unknown} the figures
 */
export function runInProcess(script, args = []) {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const output = execFileSync(process.execPath, ['--expose-gc', path, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return JSON.parse(output)
}

/** Collects all garbage, also what V8 gives up only after some collections. */
export function collectGarbage() {
  if (!globalThis.gc) throw new Error('expected node --expose-gc')
  for (let i = 0; i < 5; i++) globalThis.gc()
}

/** Bytes on the heap and in shared memory, after garbage collection. */
export function usedBytes() {
  collectGarbage()
  // SharedArrayBuffers are counted in arrayBuffers, but not in external.
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
