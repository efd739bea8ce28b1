import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ReplicationLagInstrumentation } from 'opentelemetry-instrumentation-replication-lag'
import { expect, test } from 'vitest'
import { findAnchors, findLinks, readPages, type Page } from './docs/pages.js'
import { listFiles, readJson, readText, repository } from './support/repository.js'

const manifest = readJson('package.json') as Record<'name' | 'version' | 'homepage', string>
const lock = readJson('package-lock.json') as {
  version: string
  packages: Record<string, { resolved?: string; integrity?: string }>
}

test('the package reports its own name and version', () => {
  const instrumentation = new ReplicationLagInstrumentation({ enabled: false })
  expect(instrumentation.instrumentationName).toBe(manifest.name)
  expect(instrumentation.instrumentationVersion).toBe(manifest.version)
  expect(lock.version).toBe(manifest.version)
})

test('the lock file pins contents, and no addresses to download from', () => {
  const resolved = Object.values(lock.packages).map((entry) => entry.resolved ?? '')
  expect(resolved.filter((address) => /^\w+:/.test(address))).toEqual([])
  const unpinned = Object.entries(lock.packages).filter(
    ([path, { integrity }]) => path.includes('node_modules/') && integrity === undefined,
  )
  // The workspace of SDK 3 is a link.
  expect(unpinned.map(([path]) => path)).toEqual(['node_modules/replication-lag-test-sdk-3'])
})

test('no file names a path or a registry of one machine', () => {
  const patterns = [
    /(?<![\w.:/-])\/(?:root|home|Users|work|workspace|builds)\/[\w.-]/,
    /https?:\/\/[\w.-]*registry[\w.-]*/,
  ]
  const found = listFiles().filter((path) => {
    const text = readText(path)
    return patterns.some((pattern) => pattern.test(text))
  })
  expect(found).toEqual([])
})

test('no file of the sources is too long for one subject, and no page of the docs', () => {
  const isLong = (limit: number) => (path: string) =>
    readText(path).trimEnd().split('\n').length > limit
  expect(listFiles('src').filter(isLong(250))).toEqual([])
  const pages = listFiles('docs').filter((path) => path.endsWith('.md'))
  expect(pages.filter(isLong(150))).toEqual([])
  expect(['README.md'].filter(isLong(160))).toEqual([])
})

/** The address of a file or folder of the repository, up to its path. */
const files = new RegExp(`^${manifest.homepage.replace(/#.*/, '')}/(?:blob|tree|raw)/main/`)

/** Returns the path of a link to the repository, with its anchor. */
function pathOf(page: Page, target: string): string | undefined {
  if (files.test(target)) return target.replace(files, '')
  if (/^[a-z]+:/i.test(target)) return undefined
  return target.startsWith('#') ? page.path + target : join(dirname(page.path), decodeURI(target))
}

/** Returns the links of a page to files or headings of the repository that do not exist. */
function brokenLinks(page: Page, anchors: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const broken = findLinks(page).filter(({ target }) => {
    const [path, anchor] = pathOf(page, target)?.split('#') ?? []
    if (path === undefined) return false
    const linked = anchors.get(path)
    if (!linked) return path.startsWith('..') || !existsSync(join(repository, path))
    return anchor !== undefined && !linked.has(anchor)
  })
  return broken.map(({ line, target }) => `${page.path}:${line}: ${target}`)
}

test('the links of the documentation lead to files and headings that exist', () => {
  const pages = readPages()
  const anchors = new Map(pages.map((page) => [page.path, findAnchors(page)]))
  expect(pages.flatMap((page) => brokenLinks(page, anchors))).toEqual([])
  const path = 'docs/README.md'
  const wrong = { path, text: '[a](#none) [b](none.md) [c](../README.md#metrics)' }
  expect(brokenLinks(wrong, anchors)).toEqual([`${path}:1: #none`, `${path}:1: none.md`])
})
