import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from '../support/repository.js'
import { run } from '../support/repository.js'
import { hasSdk3 } from '../support/repository.js'
import { createTypedProject, TSC } from '../support/typed-project.js'

// `npm run check` does the same with SDK 2.
test.skipIf(!hasSdk3)('the type tests pass with the types of SDK 3', async () => {
  const project = await createTypedProject('test/sdk/v3', 'test/types')
  const listed = await run(project, process.execPath, TSC, '--listFilesOnly')
  const packages = listed.split('\n').filter((file) => file.includes('/@opentelemetry/'))
  expect(packages).not.toEqual([])
  const sdk3 = join(repository, 'test/sdk/v3/node_modules')
  expect(packages.filter((file) => !file.startsWith(sdk3))).toEqual([])

  await expect(run(project, 'tstyche')).resolves.toContain('sources.tst.ts')
})
