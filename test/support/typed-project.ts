import { cp, mkdir, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { repository } from './repository.js'

/** The folders whose `node_modules` have an OpenTelemetry SDK. */
export type SdkFolder = '.' | 'test/sdk/v3'

/**
 * Creates a copy of `src` and of some other files. Imports of `@opentelemetry/…` resolve to one of the SDKs there, also those
 * of the package. It is removed at the end of the test.
 */
export async function createTypedProject(sdk: SdkFolder, ...files: string[]): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'replication-lag-types-')))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const project = join(folder, 'project')
  for (const file of ['package.json', 'tsconfig.json', 'src', ...files]) {
    await cp(join(repository, file), join(project, file), {
      recursive: true,
      filter: (path) => !path.endsWith('/node_modules'),
    })
  }
  await mkdir(join(project, 'node_modules'))
  const scope = 'node_modules/@opentelemetry'
  await symlink(join(repository, sdk, scope), join(project, scope))
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'))
  return project
}

/** The compiler that checks this repository. Others are installed too, so `tsc` can be any of them. */
export const TSC = join(repository, 'node_modules/typescript/bin/tsc')
