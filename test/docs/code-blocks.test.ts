import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { repository } from '../support/repository.js'
import { isProgram, problemsOfPrograms, problemsOfText } from './code-blocks.js'
import { findBlocks, readPages, type Block } from './markdown.js'

const SDK_3 = join(repository, 'test/sdk/v3')

const pages = readPages()
const blocks = pages.flatMap(findBlocks)
const programs = blocks.filter(isProgram)
const texts = blocks.filter((block) => !isProgram(block))

describe('the documentation', () => {
  const readme = pages.filter(({ path }) => path === 'README.md')
  test.runIf(readme.length > 0)('shows a program in README.md', () => {
    expect(readme.flatMap(findBlocks).filter(isProgram)).not.toEqual([])
  })

  test.each(texts)('$page:$line is a correct block of $language', (block) => {
    expect(problemsOfText(block)).toEqual([])
  })

  describe.each([
    { line: 'SDK 2', openTelemetryFrom: repository },
    { line: 'SDK 3', openTelemetryFrom: SDK_3 },
  ])('compiles with the types of $line', ({ openTelemetryFrom }) => {
    const problems = problemsOfPrograms(programs, openTelemetryFrom)
    test.each(programs)('$page:$line', (block) => {
      expect(problems.get(block)).toEqual([])
    })
  })
})

describe('a wrong block', () => {
  const page = (text: string) => findBlocks({ path: 'docs/page.md', text })
  const problems = (text: string) => [...problemsOfPrograms(page(text)).values()].flat()
  const name = 'opentelemetry-instrumentation-replication-lag'

  test.each([
    ['```\nwithout a language\n```', 'expected ts, '],
    ['```text\nnot marked\n```', 'expected ts, '],
    ['```sh\nnpm run no-such-script\n```', 'no such script: no-such-script'],
    ['```sh\nnpm install no-such-package\n```', 'no such package: no-such-package'],
    ['```sh\nnpm ci && node no/such/file.mjs\n```', 'no such file: no/such/file.mjs'],
    ['```sh\nrm -rf /\n```', 'unknown command: rm'],
    ['```sh\ncurl http://example.com/\n```', 'expected an address of this machine'],
    ['```yaml\na: [1\n```', 'Flow sequence'],
    ['```json\n{ a: 1 }\n```', 'SyntaxError'],
  ])('is refused: %j', (text, message) => {
    expect(page(text).flatMap(problemsOfText)).toEqual([expect.stringContaining(message)])
  })

  test('is refused for its types, with the line on the page', () => {
    const wrong = `new ReplicationLagGauge().lagSeqno(7n)`
    const program = `import { ReplicationLagGauge } from '${name}'\n\n${wrong}`
    const text = `# Page\n\n~~~ts\n${program}\n~~~\n\n1. item\n\n   ~~~js\n   const f = (a) => a\n   ~~~\n`
    expect(problems(text)).toEqual([
      expect.stringMatching(/^docs\/page\.md\.3\.ts:6: .*bigint/),
      expect.stringMatching(/^docs\/page\.md\.11\.js:12: .*'any'/),
    ])
  })

  test('is refused for what only another block declares, unless it continues that block', () => {
    const first = `\`\`\`ts\nconst shard: string = '7'\n\`\`\`\n`
    expect(problems(`${first}\`\`\`ts\nshard.trim()\n\`\`\`\n`)).toEqual([
      expect.stringContaining("Cannot find name 'shard'"),
    ])
    expect(problems(`${first}\n\`\`\`ts continued\nshard.trim()\n\`\`\`\n`)).toEqual([])
  })

  test('is refused for what nobody declares, unless a comment above it does', () => {
    const block = '```js\nshard.trim()\n```\n'
    const given = `<!-- given\nconst shard = '7'\n-->\n\n`
    expect(problems(`${given}and so on\n\n${block}`)).toHaveLength(1)
    expect(problems(`${given}${block}`)).toEqual([])
  })
})

test('a block that is not closed is found', () => {
  const open: () => Block[] = () => findBlocks({ path: 'page.md', text: '# Page\n```js\n``` js\n' })
  expect(open).toThrow('page.md:2: a code block that is not closed')
})
