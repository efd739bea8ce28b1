import { cp, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { repository, run } from './repository.js'

/**
 * Makes an empty folder look like the repository after `npm run build`, as far as examples and the demo need it: programs
 * in its `docs` find the package by its name. The `dist` of the repository is left alone, because it may be in use.
 */
async function buildPackage(folder: string): Promise<void> {
  for (const entry of ['package.json', 'docs/examples', 'docs/demo', 'test/servers']) {
    await cp(join(repository, entry), join(folder, entry), { recursive: true })
  }
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'))
  await run(folder, process.execPath, join(repository, 'build/bundle.mjs'))
  await run(folder, process.execPath, join(repository, 'build/facades.mjs'))
}

/** A temporary folder with the built package, see {@link buildPackage}. */
export interface BuiltPackage {
  readonly folder: string
  /** The file to `require`. */
  readonly implementation: string
  remove(): Promise<void>
}

/** Builds the package in a temporary folder. Call `remove` at the end. */
async function buildTemporaryPackage(): Promise<BuiltPackage> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'replication-lag-')))
  await buildPackage(folder)
  return {
    folder,
    implementation: join(folder, 'dist/index.js'),
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

/** The built package for all tests of a file. Call it at the top of the file. */
export async function useBuiltPackage(): Promise<BuiltPackage> {
  const built = await buildTemporaryPackage()
  afterAll(() => built.remove())
  return built
}
