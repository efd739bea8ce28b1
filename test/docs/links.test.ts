import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { readJson, repository } from '../support/repository.js'
import { findAnchors, findLinks, readPages, type Page } from './markdown.js'

const manifest = readJson('package.json') as {
  readonly homepage: string
}
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
  const wrong = {
    path: 'docs/README.md',
    text: '[a](#none) [b](none.md) [c](../README.md#metrics)',
  }
  expect(brokenLinks(wrong, anchors)).toEqual([
    'docs/README.md:1: #none',
    'docs/README.md:1: none.md',
  ])
})
