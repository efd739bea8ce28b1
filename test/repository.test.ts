import { statSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, test } from 'vitest'
import { VERSION } from '../src/version.js'
import { listEntries, listFiles, readJson, readText, repository } from './support/repository.js'

interface Manifest {
  readonly version: string
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, { default: string }>>>>
}

interface Lock {
  readonly version: string
  readonly packages: Readonly<
    Record<string, { readonly resolved?: string; readonly integrity?: string }>
  >
}

const manifest = readJson('package.json') as Manifest
const lock = readJson('package-lock.json') as Lock

describe('the top level', () => {
  test('holds just what belongs there', () => {
    const allowed = [
      ...['README.md', 'CHANGELOG.md', 'LICENSE', '.gitignore', '.ci', 'src', 'test', 'docs'],
      ...['package.json', 'package-lock.json', 'tsconfig.json'],
      ...['eslint.config.js', 'vitest.config.ts'],
    ]
    const names = listEntries().map(({ name }) => name)
    expect(names.filter((name) => !allowed.includes(name))).toEqual([])
  })

  test('has a program for CI', () => {
    expect(statSync(join(repository, '.ci/run')).mode & 0o111).toBe(0o111)
  })
})

describe('the version', () => {
  test('is the same wherever it is written', () => {
    expect(VERSION).toBe(manifest.version)
    expect(lock.version).toBe(manifest.version)
  })
})

describe('the lock file', () => {
  test('pins contents, not addresses to download from', () => {
    const resolved = Object.values(lock.packages).map((entry) => entry.resolved ?? '')
    expect(resolved.filter((address) => /^\w+:/.test(address))).toEqual([])
    const unpinned = Object.entries(lock.packages).filter(
      ([path, { integrity }]) => path.includes('node_modules/') && integrity === undefined,
    )
    // The workspace of SDK 3 is a link.
    expect(unpinned.map(([path]) => path)).toEqual(['node_modules/replication-lag-test-sdk-3'])
  })
})

describe('every file', () => {
  test('is free of paths and hosts of one machine', () => {
    const strangers = [
      /(?<![\w.:/-])\/(?:root|home|Users|work|workspace|builds)\/[\w.-]/,
      /https?:\/\/[\w.-]*registry[\w.-]*/,
    ]
    const found = listFiles().filter((path) => {
      const text = readText(path)
      return strangers.some((pattern) => pattern.test(text))
    })
    expect(found).toEqual([])
  })
})

describe('every source file', () => {
  test('is used by what the package exports', () => {
    const entryPoints = Object.values(manifest.exports).flatMap((conditions) =>
      typeof conditions === 'string' ? [] : [conditions['import']?.default ?? ''],
    )
    const used = new Set<string>()
    const use = (path: string) => {
      if (used.has(path)) return
      used.add(path)
      for (const [, specifier = ''] of readText(path).matchAll(/ from '(\.[^']*)\.js'/g)) {
        use(posix.join(posix.dirname(path), `${specifier}.ts`))
      }
    }
    for (const path of entryPoints) use(path.replace(/^\.\/dist\/esm\/(.*)\.js$/, 'src/$1.ts'))

    const sources = listFiles('src').filter((path) => path.endsWith('.ts'))
    expect([...used].sort()).toEqual(sources)
  })
})
