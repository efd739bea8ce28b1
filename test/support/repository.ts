import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The top of the repository, without a slash at its end. */
export const repository = fileURLToPath(new URL('../..', import.meta.url)).replace(/[\\/]$/, '')

/** The text of a file, by its path below the top. */
export function readText(path: string): string {
  return readFileSync(join(repository, path), 'utf8')
}

/** What is in a JSON file, by its path below the top. */
export function readJson(path: string): unknown {
  return JSON.parse(readText(path))
}

/** What git is told to ignore: names of folders, and endings of files. */
const ignored = readText('.gitignore').trim().split('\n')

/** What is in a folder and is or may be committed, by name. */
export function listEntries(folder = '') {
  return readdirSync(join(repository, folder), { withFileTypes: true }).filter(
    ({ name }) =>
      name !== '.git' &&
      !ignored.some(
        (line) => `${name}/` === line || (line.startsWith('*') && name.endsWith(line.slice(1))),
      ),
  )
}

/** Every such file below a folder, as sorted paths below the top with slashes. */
export function listFiles(folder = ''): string[] {
  const files = listEntries(folder).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? listFiles(path) : relative('', path).replaceAll('\\', '/')
  })
  return files.sort()
}
