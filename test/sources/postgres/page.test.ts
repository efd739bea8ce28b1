import { expect, test } from 'vitest'
import { listFiles, readText } from '../../support/repository.js'

test('each situation in docs/sources/postgres.md is a test of its name, and each such test is on the page', () => {
  const [table = ''] = readText('docs/sources/postgres.md').split('\n\n## ')
  const rows = table.split('\n').filter((line) => line.startsWith('| '))
  const documented = rows.slice(2).map((row) => row.split('|')[1]?.trim())
  const files = listFiles('test/sources/postgres').filter((path) => path.includes('situations'))
  const tests = files.flatMap((path) => [
    ...readText(path).matchAll(/\bit(?:(?:From|UpTo)\d+|\.skipIf\([^)]*\))?\('([^']+)'/g),
  ])
  expect(documented.length).toBeGreaterThan(20)
  expect(documented.sort()).toEqual(tests.map(([, name]) => name).sort())
})
