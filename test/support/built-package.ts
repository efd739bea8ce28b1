import { cp, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, onTestFinished } from 'vitest'
import { repository, run } from './repository.js'

/** Makes a temporary folder, and has it removed, by default at the end of the test. */
export async function makeFolder(atEnd: (remove: () => Promise<void>) => void = onTestFinished) {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'replication-lag-')))
  atEnd(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A temporary folder, for all tests of a file. Call it at the top of the file. */
export const useFolder = () => makeFolder(afterAll)

/** A temporary folder with the built package. */
export interface BuiltPackage {
  readonly folder: string
  /** The file to `require`. */
  readonly implementation: string
}

/**
 * Makes a temporary folder look like the repository after `npm run build`, as far as examples and the demo need it: programs
 * in its `docs` find the package by its name. The `dist` of the repository is left alone, because it may be in use.
 * It is there for all tests of a file. Call it at the top of the file.
 */
export async function useBuiltPackage(): Promise<BuiltPackage> {
  const folder = await useFolder()
  for (const entry of ['package.json', 'docs/examples', 'docs/demo', 'test/servers']) {
    await cp(join(repository, entry), join(folder, entry), { recursive: true })
  }
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'))
  await run(folder, process.execPath, join(repository, 'build/bundle.mjs'))
  await run(folder, process.execPath, join(repository, 'build/facades.mjs'))
  return { folder, implementation: join(folder, 'dist/index.js') }
}

/** What `npm publish` would upload. */
export interface PackedPackage {
  readonly tarball: string
  readonly size: number
  /** The paths in it, sorted. */
  readonly files: readonly string[]
}

/**
 * Builds and packs the package in a copy of the repository's sources in `folder`, as `npm publish` does.
 * The `dist` of the repository is left alone, because it may be in use.
 */
export async function pack(folder: string): Promise<PackedPackage> {
  const copy = join(folder, 'sources')
  await mkdir(copy)
  // Some of it must not be packed.
  const entries = ['package.json', 'tsconfig.json', 'src', 'build', 'docs', 'README.md', 'LICENSE']
  for (const entry of entries) {
    await cp(join(repository, entry), join(copy, entry), { recursive: true })
  }
  await mkdir(join(copy, 'test'))
  await writeFile(join(copy, 'test/some.test.ts'), '')
  await symlink(join(repository, 'node_modules'), join(copy, 'node_modules'))

  const npm = await run(copy, 'npm', 'pack', '--json', '--pack-destination', folder)
  // The output of the build comes first.
  const [packed] = JSON.parse(npm.slice(npm.search(/^\[$/m))) as [
    { filename: string; size: number; files: { path: string }[] },
  ]
  return {
    tarball: join(folder, packed.filename),
    size: packed.size,
    files: packed.files.map(({ path }) => path).sort(),
  }
}

/** Makes a project with the package and the API installed by npm, and an SDK. Nothing is downloaded. */
export async function install(folder: string, tarball: string): Promise<void> {
  const packages = join(repository, 'node_modules/@opentelemetry')
  await mkdir(folder)
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true }))
  const options = ['--offline', '--install-links', '--ignore-scripts', '--no-audit', '--no-fund']
  const api = join(packages, 'api')
  await run(folder, 'npm', 'install', '--strict-peer-deps', ...options, tarball, api)
  // A link is enough: the SDK finds its own dependencies from its real place.
  const sdk = 'sdk-metrics'
  await symlink(join(packages, sdk), join(folder, 'node_modules/@opentelemetry', sdk))
}
