import { execa } from 'execa'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The top of the repository, without a slash at its end. */
export const repository = fileURLToPath(new URL('../..', import.meta.url)).replace(/[\\/]$/, '')

/** Returns the text of a file, by its path in the repository. */
export function readText(path: string): string {
  return readFileSync(join(repository, path), 'utf8')
}

/** Returns the content of a JSON file, by its path in the repository. */
export function readJson(path: string): unknown {
  return JSON.parse(readText(path))
}

/** The patterns in .gitignore: names of folders, and endings of files. */
const ignored = readText('.gitignore').trim().split('\n')

/** Lists the entries of a folder that git does not ignore. */
function listEntries(folder = '') {
  return readdirSync(join(repository, folder), { withFileTypes: true }).filter(
    ({ name }) =>
      name !== '.git' &&
      !ignored.some(
        (line) => `${name}/` === line || (line.startsWith('*') && name.endsWith(line.slice(1))),
      ),
  )
}

/** Lists the files in a folder and in its subfolders that git does not ignore, as sorted paths with slashes. */
export function listFiles(folder = ''): string[] {
  const files = listEntries(folder).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? listFiles(path) : relative('', path).replaceAll('\\', '/')
  })
  return files.sort()
}

/** Runs a program, also one of a development dependency, and returns what it prints. Rejects with all of that if it fails. */
export async function run(cwd: string, file: string, ...args: string[]): Promise<string> {
  const { stdout } = await execa(file, args, {
    cwd,
    preferLocal: true,
    localDir: repository,
    stripFinalNewline: false,
    // npm passes the folder where it was started to its children. A child npm must use its own folder.
    env: { npm_config_local_prefix: undefined },
  })
  return stdout
}

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

/** Whether SDK 3 is installed. It needs Node 22.15, and npm leaves it out on an older one. */
export const hasSdk3 = major > 22 || (major === 22 && minor >= 15)
