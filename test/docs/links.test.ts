import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { repository } from '../support/repository.js'
import { findAnchors, findLinks, readPages, type Page } from './markdown.js'

/** Returns the relative links of a page whose target does not exist. */
function brokenLinks(page: Page, pages: readonly Page[]): string[] {
  const broken = findLinks(page).filter(({ target }) => {
    if (/^[a-z]+:/i.test(target)) return false
    const [file = '', anchor] = decodeURI(target).split('#')
    const path = file === '' ? page.path : join(dirname(page.path), file)
    const linked = pages.find((other) => other.path === path)
    if (!linked) return path.startsWith('..') || !existsSync(join(repository, path))
    return anchor !== undefined && !findAnchors(linked).has(anchor)
  })
  return broken.map(({ line, target }) => `${page.path}:${line}: ${target}`)
}

describe('the links of the documentation', () => {
  const pages = readPages()
  test('lead to files and headings that exist', () => {
    expect(pages.flatMap((page) => brokenLinks(page, pages))).toEqual([])
  })

  test('are reported as broken when the file or the heading does not exist', () => {
    const text = [
      '# A `code` title, twice',
      '[a](#a-code-title-twice) [b](README.md#no-such-heading) ![c](no/such.png "title")',
      '# A code title, twice',
      '[d](../package.json) [e](#a-code-title-twice-1) [f](https://example.com/g) `[h](code)`',
      '```text',
      '[i](code)',
      '```',
      '[j]: ./missing.md',
      '[k](../../outside)',
    ].join('\n')
    const page = { path: 'docs/page.md', text }
    const readme = { path: 'docs/README.md', text: '' }
    expect(brokenLinks(page, [page, readme])).toEqual([
      'docs/page.md:2: README.md#no-such-heading',
      'docs/page.md:2: no/such.png',
      'docs/page.md:8: ./missing.md',
      'docs/page.md:9: ../../outside',
    ])
  })
})
