import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { publint } from 'publint'
import { beforeAll, describe, expect, test } from 'vitest'
import { describeApi } from '../../build/api.mjs'
import { install, pack, useFolder, type PackedPackage } from '../support/built-package.js'
import { readJson, readText, repository, run } from '../support/repository.js'

const manifest = readJson('package.json') as {
  readonly name: string
  readonly files: readonly string[]
  readonly exports: Readonly<Record<string, string | { import: string }>>
}

/** What users import or require, and the ES module that they get. */
const entryPoints = Object.entries(manifest.exports).flatMap(([path, files]) =>
  typeof files === 'string'
    ? []
    : { specifier: join(manifest.name, path), facade: files.import.replace(/^\.\//, '') },
)

/** The exports that are no modules: the rules, the dashboard and package.json. */
const otherExports = Object.entries(manifest.exports).flatMap(([path, file]) =>
  typeof file === 'string'
    ? { path, specifier: join(manifest.name, path), file: file.replace(/^\.\//, '') }
    : [],
)

const folder = await useFolder()
/** A project of a user, with the package installed. */
const project = join(folder, 'project')

let packed: PackedPackage
beforeAll(async () => {
  packed = await pack(folder)
  await install(project, packed.tarball)
}, 120_000)

describe('the packed package', () => {
  test('holds the build and the documents, and nothing else', () => {
    const files = entryPoints.flatMap(({ facade }) =>
      ['.mjs', '.js', '.d.mts'].map((ending) => facade.replace('.mjs', ending)),
    )
    const documents = [
      ...['package.json', 'README.md', 'LICENSE'],
      ...manifest.files.filter((file) => file !== 'dist'),
    ]
    const command = ['dist/cli/index.js', 'dist/cli/table.js']
    const expected = [...files, ...command, 'dist/package.json', ...documents]
    const isOther = (file: string) => /^dist\/(?:chunks\/[a-z-]+\.js|.*\.d\.ts)$/.test(file)
    expect(packed.files.filter((file) => !isOther(file))).toEqual(expected.sort())
    expect(packed.files).toContain('dist/chunks/lag-map.js')
    // Of the declarations, only what an entry point leads to.
    const internal = /^dist\/(?:cli|lag-map\/(?:collect|feed|feeds)|polling\/poll-loop)/
    expect(packed.files.filter((file) => file.endsWith('.d.ts') && internal.test(file))).toEqual([])
  })

  test('is smaller than 100 kB', () => {
    expect(packed.size).toBeLessThan(100_000)
  })

  test('satisfies publint', async () => {
    const tarball = await readFile(packed.tarball)
    const { messages } = await publint({ strict: true, pack: { tarball: tarball.buffer } })
    expect(messages).toEqual([])
  })

  test('has types that resolve with every module resolution, the old node10 included', async () => {
    const options = ['--no-definitely-typed', '--no-color', '--exclude-entrypoints']
    const notModules = otherExports.map(({ path }) => path)
    const checked = run(folder, 'attw', packed.tarball, ...options, ...notModules)
    await expect(checked).resolves.toContain('No problems found')
  })

  // After a change: npm run api
  test('declares what docs/api.md says', () => {
    const root = join(project, 'node_modules', manifest.name)
    expect(describeApi(root)).toBe(readText('docs/api.md'))
  })
})

describe('the installed package', () => {
  test.each(entryPoints)('is one copy for import and require: $specifier', async (entryPoint) => {
    const specifier = JSON.stringify(entryPoint.specifier)
    const print = `console.log(JSON.stringify([
      Object.keys(required).sort(), Object.keys(imported).sort(),
      Object.keys(required).filter((name) => imported[name] !== required[name])]))`
    const [required, imported, different] = (await evaluate(
      `const required = require(${specifier}); import(${specifier}).then((imported) => ${print})`,
    )) as string[][]
    expect(required).not.toEqual([])
    expect(imported).toEqual(required)
    expect(different).toEqual([])
  })

  test.each(otherExports)('has a file for other programs: $specifier', async (other) => {
    const code = `console.log(import.meta.resolve(${JSON.stringify(other.specifier)}))`
    const url = await run(project, process.execPath, '--input-type=module', '--eval', code)
    const path = join(project, 'node_modules', manifest.name, other.file)
    expect(url.trim()).toBe(pathToFileURL(path).href)
    await expect(readFile(path, 'utf8')).resolves.toBe(readText(other.file))
  })

  test('reports a gauge from require through an instrumentation from import', async () => {
    const program = 'import-and-require.mjs'
    await cp(join(import.meta.dirname, program), join(project, program))
    await expect(run(project, process.execPath, program)).resolves.toBe('')
  })
})

const EITHER = ['consumer.cts', 'consumer.mts']

describe("a user's TypeScript program", () => {
  test.each([
    { typescript: 'typescript-4.9', sources: ['consumer.ts'], module: 'commonjs' },
    { typescript: 'typescript-4.9', sources: EITHER, module: 'node16' },
    { typescript: 'typescript-7', sources: ['consumer.ts'], module: 'commonjs' },
    { typescript: 'typescript-7', sources: EITHER, module: 'node16' },
    { typescript: 'typescript-7', sources: ['consumer.mts'], module: 'preserve' },
  ])('compiles with $typescript and module: $module', async ({ typescript, sources, module }) => {
    const name = `${typescript}-${module}`
    const compilerOptions = {
      module,
      target: 'es2022',
      strict: true,
      // Checks the types of the package and the API too, without those of Node.
      skipLibCheck: false,
      skipDefaultLibCheck: true,
      types: [],
      outDir: name,
    }
    for (const source of sources) {
      await cp(join(import.meta.dirname, 'consumer.ts'), join(project, source))
    }
    const config = join(project, `tsconfig.${name}.json`)
    await writeFile(config, JSON.stringify({ compilerOptions, files: sources }))
    const tsc = join(repository, 'node_modules', typescript, 'bin/tsc')
    await run(project, process.execPath, tsc, '-p', config)

    for (const source of sources) {
      const program = JSON.stringify(`./${name}/${source.replace(/ts$/, 'js')}`)
      await expect(
        evaluate(`import(${program}).then(({ result }) => console.log(JSON.stringify(result)))`),
      ).resolves.toEqual([30, ['berlin'], true, true, null, null])
    }
  })
})

/** Runs a piece of JavaScript in the project, and returns what it prints as JSON. */
async function evaluate(code: string): Promise<unknown> {
  return JSON.parse(await run(project, process.execPath, '--eval', code))
}
