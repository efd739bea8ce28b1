import { cp, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publint } from 'publint'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readJson, repository } from '../support/repository.js'
import { DOCUMENTS, install, pack, run, runTool, sourceNames } from './packed.js'
import type { Manifest, PackedPackage } from './packed.js'

const folder = await realpath(await mkdtemp(join(tmpdir(), 'replication-lag-package-')))
afterAll(() => rm(folder, { recursive: true, force: true }))

let packed: PackedPackage
beforeAll(async () => {
  packed = await pack(folder)
}, 120_000)

const manifest = readJson('package.json') as Manifest
const entryPoints = Object.keys(manifest.exports).filter((path) => path !== './package.json')

describe('the packed package', () => {
  test('holds both builds and the documents, and nothing else', () => {
    const builds = sourceNames().flatMap((name) =>
      ['cjs', 'esm'].flatMap((build) => [`dist/${build}/${name}.js`, `dist/${build}/${name}.d.ts`]),
    )
    const expected = [...builds, 'dist/cjs/package.json', 'package.json', ...DOCUMENTS]
    expect(packed.files).toEqual(expected.sort())
  })

  test('is smaller than 100 kB', () => {
    expect(packed.size).toBeLessThan(100_000)
  })

  test('brings no dependency and asks for the API alone', () => {
    expect(packed.manifest.dependencies).toBeUndefined()
    expect(packed.manifest.optionalDependencies).toBeUndefined()
    expect(packed.manifest.peerDependencies).toEqual({ '@opentelemetry/api': '^1.9.0' })
    expect(packed.manifest.peerDependenciesMeta).toBeUndefined()
  })

  test('lets bundlers drop what is unused', () => {
    expect(packed.manifest.sideEffects).toBe(false)
  })

  test('runs nothing when it is installed', () => {
    const scripts = Object.keys(packed.manifest.scripts)
    expect(scripts.filter((name) => /^(?:pre|post)?install$/.test(name))).toEqual([])
  })

  test('has nothing that publint objects to', async () => {
    const tarball = await readFile(packed.tarball)
    const { messages } = await publint({ strict: true, pack: { tarball: tarball.buffer } })
    expect(messages).toEqual([])
  })

  test('has types that resolve under every module resolution, the old node10 included', async () => {
    const checked = runTool(folder, 'attw', '--no-definitely-typed', '--no-color', packed.tarball)
    await expect(checked).resolves.toContain('No problems found')
  })
})

describe.each([
  { sdk: 'SDK 2', packages: 'node_modules/@opentelemetry' },
  { sdk: 'SDK 3', packages: 'test/sdk/v3/node_modules/@opentelemetry' },
])('installed with npm beside the packages of $sdk', ({ sdk, packages }) => {
  const project = join(folder, sdk)
  beforeAll(() => install(project, packed.tarball, join(repository, packages)))

  test.each(entryPoints)('exports the same by import and by require: %s', async (entryPoint) => {
    const specifier = JSON.stringify(join(manifest.name, entryPoint))
    const print = 'console.log(JSON.stringify(Object.keys(loaded).sort()))'
    const [required, imported] = await Promise.all([
      evaluate(project, `const loaded = require(${specifier}); ${print}`),
      evaluate(project, `import(${specifier}).then((loaded) => ${print})`),
    ])
    expect(required).toContainEqual(expect.stringMatching(/^[a-z]+Source$|^ReplicationLagGauge$/))
    expect(imported).toEqual(required)
  })

  test('reports from a map of the other build', async () => {
    await cp(join(import.meta.dirname, 'mixed-builds.mjs'), join(project, 'mixed-builds.mjs'))
    await expect(run(project, process.execPath, 'mixed-builds.mjs')).resolves.toBe('')
  })
})

describe('a TypeScript program that uses the package', () => {
  const project = join(folder, 'typescript')
  beforeAll(() => install(project, packed.tarball, join(repository, 'node_modules/@opentelemetry')))

  test.each([
    { name: 'commonjs', sources: ['consumer.ts'], options: { module: 'commonjs' } },
    {
      name: 'commonjs before TypeScript 6',
      sources: ['consumer.ts'],
      options: { module: 'commonjs', moduleResolution: 'node10', ignoreDeprecations: '6.0' },
    },
    { name: 'node16', sources: ['consumer.cts', 'consumer.mts'], options: { module: 'node16' } },
    {
      name: 'nodenext',
      sources: ['consumer.cts', 'consumer.mts'],
      options: { module: 'nodenext' },
    },
    { name: 'bundler', sources: ['consumer.mts'], options: { module: 'preserve' } },
  ])('compiles and runs with modules as in $name', async ({ name, sources, options }) => {
    const compilerOptions = {
      ...options,
      target: 'es2022',
      strict: true,
      // Checks the types of the package and the API too; those of the language alone are taken as they are.
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
    await runTool(project, 'tsc', '-p', config)

    for (const source of sources) {
      const program = `./${name}/${source.replace(/ts$/, 'js')}`
      const print = 'console.log(JSON.stringify([lagSeqno, replicas, names]))'
      await expect(
        evaluate(project, `import('${program}').then(({ lagSeqno, replicas, names }) => ${print})`),
      ).resolves.toEqual([30, ['berlin'], ['constant', 'postgres:main']])
    }
  })
})

/** What a piece of JavaScript prints as JSON when it is run in a folder. */
async function evaluate(cwd: string, code: string): Promise<unknown> {
  return JSON.parse(await run(cwd, process.execPath, '--eval', code))
}
