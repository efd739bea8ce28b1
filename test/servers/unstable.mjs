import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from './servers.mjs'

/**
 * Finds a program that unpack-unstable.sh has unpacked.
 *
 * @param {string} package_ the package of Debian: `redis-server`
 * @param {string} path of the program in it: `usr/bin/redis-server`
 * @returns {{ root: string, program: string, parameters: string[] } | undefined} what to run, and the parameters before its
 *   own: its own loader and libraries, because those of this machine can be older
 */
export function findUnstable(package_, path) {
  const root = cacheFolder(join('replication-lag-e2e/unstable', package_))
  const program = join(root, path)
  if (!existsSync(program)) return undefined
  const library = join(root, 'usr/lib/x86_64-linux-gnu')
  return {
    root,
    program: join(root, 'usr/lib64/ld-linux-x86-64.so.2'),
    parameters: ['--library-path', library, program],
  }
}
