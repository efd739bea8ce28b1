import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { hasSdk3, repository, run } from '../support/repository.js'
import {
  createTypedProject,
  isProgram,
  problemsOfPrograms,
  problemsOfText,
  TSC,
} from './code-blocks.js'
import { findBlocks, readPages } from './markdown.js'

const blocks = readPages().flatMap(findBlocks)
const programs = blocks.filter(isProgram)

/** A page with mistakes. */
const wrongPage = `~~~ts
import { ReplicationLagGauge } from 'opentelemetry-instrumentation-replication-lag'
new ReplicationLagGauge().lagSeqno(7n)
~~~

1. item

   ~~~js
   const f = (a) => a
   ~~~

~~~js
shard.trim()
~~~

~~~js
gauge.remove('7')
~~~
`

describe('programs', () => {
  test('compile with the types of SDK 2', async () => {
    expect(await problemsOfPrograms(programs)).toEqual([])
  })

  test('with a mistake do not compile, and the error has the line on the page', async () => {
    const wrong = findBlocks({ path: 'wrong.md', text: wrongPage })
    expect(await problemsOfPrograms(wrong)).toEqual([
      expect.stringMatching(/^wrong\.md\.1\.ts\(3,.*bigint/),
      expect.stringMatching(/^wrong\.md\.12\.js\(13,.*Cannot find name 'shard'/),
      expect.stringMatching(/^wrong\.md\.8\.js\(9,.*'any'/),
    ])
  })

  test.skipIf(!hasSdk3)('compile with the types of SDK 3', async () => {
    const ofSdk = programs.filter(({ text }) => text.includes('@opentelemetry/'))
    expect(await problemsOfPrograms(ofSdk, 'test/sdk/v3')).toEqual([])
  })
})

test('other code blocks are commands that exist, and valid YAML', () => {
  expect(blocks.filter((block) => !isProgram(block)).flatMap(problemsOfText)).toEqual([])
  const wrong =
    '```sh\nnpm run no-such-script\nnpx nothing\n```\n\n```yaml\na: [1\n```\n\n```text\n```'
  const problems = findBlocks({ path: 'wrong.md', text: wrong }).flatMap(problemsOfText)
  expect(problems).toEqual(
    ['no such script', 'no such command', 'Flow sequence', 'expected ts'].map((text): unknown =>
      expect.stringContaining(text),
    ),
  )
})

// `npm run check` does the same with SDK 2.
test.skipIf(!hasSdk3)('the type tests pass with the types of SDK 3', async () => {
  const project = await createTypedProject('test/sdk/v3', 'test/types')
  const listed = await run(project, process.execPath, TSC, '--listFilesOnly')
  const packages = listed.split('\n').filter((file) => file.includes('/@opentelemetry/'))
  expect(packages).not.toEqual([])
  const sdk3 = join(repository, 'test/sdk/v3/node_modules')
  expect(packages.filter((file) => !file.startsWith(sdk3))).toEqual([])

  await expect(run(project, 'tstyche')).resolves.toContain('api.tst.ts')
})
