import { cp, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import ts from 'typescript'
import { afterAll } from 'vitest'
import { repository } from './repository.js'
import { run } from './run.js'

/**
 * Makes an empty folder look like the repository after `npm run build`, as far as examples and the demo need it: programs
 * in its `docs` find the package by its name. The `dist` of the repository is left alone, because it may be in use.
 */
async function buildPackage(folder: string): Promise<void> {
  for (const entry of ['package.json', 'docs/examples', 'docs/demo', 'test/servers']) {
    await cp(join(repository, entry), join(folder, entry), { recursive: true })
  }
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'))
  await compile(join(repository, 'src'), join(folder, 'dist'))
  await run(folder, process.execPath, join(repository, 'build/facades.mjs'))
}

/** Does what `tsc` does, without types, which take most of the time. */
async function compile(source: string, target: string): Promise<void> {
  const config = ts.readConfigFile(join(source, 'tsconfig.json'), (path) => {
    return ts.sys.readFile(path)
  })
  const { fileNames, options } = ts.parseJsonConfigFileContent(config.config, ts.sys, source)
  for (const fileName of fileNames) {
    const text = await readFile(fileName, 'utf8')
    const { outputText } = ts.transpileModule(text, { fileName, compilerOptions: options })
    const path = join(target, relative(source, fileName).replace(/\.ts$/, '.js'))
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, outputText)
  }
}

/** A temporary folder with the built package, see {@link buildPackage}. */
export interface BuiltPackage {
  readonly folder: string
  /** The file to `require`. */
  readonly implementation: string
  remove(): Promise<void>
}

/** Builds the package in a temporary folder. Call `remove` at the end. */
export async function buildTemporaryPackage(): Promise<BuiltPackage> {
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
