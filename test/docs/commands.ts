import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readJson, repository } from '../support/repository.js'

interface Manifest {
  readonly name: string
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

const manifest = readJson('package.json') as Manifest
const sdk3 = readJson('test/sdk/v3/package.json') as Manifest
const scripts = Object.keys(manifest.scripts ?? {})
/** What the tests use: a reader can install it, and it works with the package. */
const packages = [
  manifest.name,
  ...Object.keys(manifest.devDependencies ?? {}),
  ...Object.keys(sdk3.dependencies ?? {}),
]

/**
 * What is wrong with a shell command of the documentation; `undefined` if it can be expected to work.
 * It is not run. What it names, scripts, files and packages, must be there.
 */
export function problemOfCommand(command: string): string | undefined {
  const words = command.trim().split(/\s+/)
  while (/^\w+=/.test(words[0] ?? '')) words.shift()
  const [program = '', ...rest] = words
  const operands = rest.filter((word) => !word.startsWith('-'))
  const check = CHECKS[program]
  return check ? check(operands) : `unknown command: ${program}`
}

/** The commands of a `sh` block, without comments; `a && b` and `a | b` are two. */
export function splitCommands(text: string): string[] {
  return text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .flatMap((line) => line.replace(/(?:^|\s)#.*$/, '').split(/&&|\|/))
    .filter((command) => command.trim() !== '')
}

const CHECKS: Readonly<Record<string, (operands: string[]) => string | undefined>> = {
  npm([command = '', ...names]) {
    if (command === 'ci') return undefined
    if (command === 'test') return missing('script', ['test'], scripts)
    if (command === 'run') return missing('script', names.slice(0, 1), scripts)
    if (command === 'install') return missing('package', names.map(unversioned), packages)
    return `unknown command: npm ${command}`
  },
  npx: ([tool = '']) => missingFile(`node_modules/.bin/${tool}`),
  node: ([file = '']) => missingFile(file),
  bash: ([file = '']) => missingFile(file),
  '.ci/run': () => missingFile('.ci/run'),
  git: ([command = '']) => (command === 'clone' ? undefined : `unknown command: git ${command}`),
  cd: ([folder = '']) => (folder === manifest.name ? undefined : missingFile(folder)),
  grep: () => undefined,
  curl: (operands) =>
    operands.some((url) => /^(?:http:\/\/)?(?:localhost|127\.0\.0\.1):\d+\//.test(url))
      ? undefined
      : 'expected an address of this machine, such as localhost:9464/metrics',
}

function missing(what: string, names: readonly string[], known: readonly string[]) {
  const unknown = names.filter((name) => !known.includes(name))
  return unknown.length === 0 ? undefined : `no such ${what}: ${unknown.join(', ')}`
}

function missingFile(path: string) {
  return path !== '' && existsSync(join(repository, path)) ? undefined : `no such file: ${path}`
}

function unversioned(name: string): string {
  return name.replace(/(?<=.)@.*$/, '')
}
