import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readJson, repository, run } from '../support/repository.js'

/** The `package.json` of the package, as far as tests read it. */
export interface Manifest {
  readonly name: string
  readonly version: string
  readonly files: readonly string[]
  readonly sideEffects?: readonly string[]
  readonly scripts: Readonly<Record<string, string>>
  readonly exports: Readonly<
    Record<string, string | { readonly import: string; readonly require: string }>
  >
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}

export const manifest = readJson('package.json') as Manifest

/** What users import or require, the ES module that they get, and its types. */
export const entryPoints = Object.entries(manifest.exports).flatMap(([path, files]) =>
  typeof files === 'string'
    ? []
    : {
        specifier: join(manifest.name, path),
        facade: files.import.replace(/^\.\//, ''),
        types: files.require.replace(/^\.\/(.*)\.js$/, '$1.d.ts'),
      },
)

/** The exports that are no modules: the rules, the dashboard and package.json. */
export const otherExports = Object.entries(manifest.exports).flatMap(([path, file]) =>
  typeof file === 'string'
    ? { path, specifier: join(manifest.name, path), file: file.replace(/^\.\//, '') }
    : [],
)

/** What `npm publish` would upload. */
export interface PackedPackage {
  readonly tarball: string
  readonly size: number
  /** The paths in it, sorted. */
  readonly files: readonly string[]
}

/** What is packed besides the build. */
export const documents = [
  ...['package.json', 'README.md', 'LICENSE'],
  ...manifest.files.filter((file) => file !== 'dist'),
]

/**
 * Builds and packs the package in a copy of the repository's sources in `folder`, as `npm publish` does.
 * The `dist` of the repository is left alone, because it may be in use.
 */
export async function pack(folder: string): Promise<PackedPackage> {
  const copy = join(folder, 'sources')
  await mkdir(copy)
  // Some of it must not be packed.
  for (const entry of [
    'package.json',
    'tsconfig.json',
    'src',
    'build',
    'docs',
    'README.md',
    'LICENSE',
  ]) {
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
