import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readText, repository } from '../support/repository.js'

const MOST_BYTES = 150_000
const PNG = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')

describe.each(['dashboard', 'incidents'])('the picture %s', (name) => {
  test.each(['light', 'dark'])('is a small PNG: %s', (theme) => {
    const path = join(repository, `docs/monitoring/${name}-${theme}.png`)
    expect(readFileSync(path).subarray(0, PNG.length)).toEqual(PNG)
    expect(statSync(path).size).toBeLessThan(MOST_BYTES)
  })

  test('is in the docs, in the theme of the reader', () => {
    const page = readText('docs/monitoring/README.md')
    expect(page).toContain(`(prefers-color-scheme: dark)" srcset="${name}-dark.png"`)
    expect(page).toContain(`src="${name}-light.png"`)
  })
})
