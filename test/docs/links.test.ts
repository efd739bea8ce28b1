import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
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

describe('the links of the documentation', () => {
  const pages = readPages()
  const anchors = new Map(pages.map((page) => [page.path, findAnchors(page)]))
  test('lead to files and headings that exist', () => {
    expect(pages.flatMap((page) => brokenLinks(page, anchors))).toEqual([])
  })

  test('are reported as broken when the file or the heading does not exist', () => {
    const home = manifest.homepage.replace(/#.*/, '')
    const text = [
      '# A `code` title, twice',
      '[a](#a-code-title-twice) [b](README.md#no-such-heading) ![c](no/such.png "title")',
      '# A code title, twice',
      '[d](../package.json) [e](#a-code-title-twice-1) [f](https://example.com/g) `[h](code)`',
      '```text',
      '[i](code)',
      '```',
      '[j]: ./missing.md',
      '[k](../../outside) [docs/undefined.md]',
      `[l](${home}/blob/main/docs/page.md#no-such-heading) [m](${home}/blob/main/LICENSE)`,
    ].join('\n')
    const page = { path: 'docs/page.md', text }
    const known = new Map([
      ['docs/page.md', findAnchors(page)],
      ['docs/README.md', new Set<string>()],
    ])
    expect(brokenLinks(page, known)).toEqual([
      'docs/page.md:2: README.md#no-such-heading',
      'docs/page.md:2: no/such.png',
      'docs/page.md:8: ./missing.md',
      'docs/page.md:9: ../../outside',
      'docs/page.md:9: [docs/undefined.md]',
      `docs/page.md:10: ${home}/blob/main/docs/page.md#no-such-heading`,
    ])
  })
})
