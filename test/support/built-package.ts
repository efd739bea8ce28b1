import { execFile } from 'node:child_process'
import { cp, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { repository } from './repository.js'

/**
 * Makes a folder what the repository is after `npm run build`, as far as examples need it: programs below its `docs`
 * find the package by its name. The `dist` of the repository is left alone: somebody may be building or using it.
 *
 * @param folder one that is empty
 */
export async function buildPackage(folder: string): Promise<void> {
  for (const entry of ['package.json', 'docs/examples']) {
    await cp(join(repository, entry), join(folder, entry), { recursive: true })
  }
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'))
  const tsc = join(repository, 'node_modules/typescript/bin/tsc')
  const project = join(repository, 'src/tsconfig.json')
  // The types are checked elsewhere, and take most of the time.
  const options = ['--noCheck', '--outDir', join(folder, 'dist/esm')]
  await promisify(execFile)(process.execPath, [tsc, '--project', project, ...options])
}

/** Makes a folder that worker threads can be started from, which cannot load TypeScript: the programs in test/threads. */
export async function buildThreads(folder: string): Promise<void> {
  await buildPackage(folder)
  await cp(join(repository, 'test/threads'), join(folder, 'test/threads'), { recursive: true })
}
