import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { repository } from '../support/repository.js'
import { run } from '../support/run.js'

/** Copies what `npm publish` looks at first, with links to the repository of an owner. */
async function copyFor(owner: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'replication-lag-publish-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  for (const file of ['package.json', 'README.md']) {
    const text = await readFile(join(repository, file), 'utf8')
    await writeFile(join(folder, file), text.replace(/(github\.com\/)\w+/g, `$1${owner}`))
  }
  await cp(join(repository, 'test/sdk/v3/package.json'), join(folder, 'test/sdk/v3/package.json'))
  return folder
}

test('npm refuses to publish while the repository has a placeholder for its owner', async () => {
  const published = run(await copyFor('OWNER'), 'npm', 'publish', '--dry-run')
  await expect(published).rejects.toThrow('Replace OWNER in package.json and README.md')
})

test('npm does not refuse once the owner is known', async () => {
  await run(await copyFor('example'), 'npm', 'run', 'prepublishOnly')
})
