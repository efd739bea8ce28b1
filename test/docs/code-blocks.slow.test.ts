import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { makeFolder } from '../support/built-package.js'
import { hasSdk3, readJson, repository, run } from '../support/repository.js'
import { findBlocks, isProgram, PROGRAMS, readPages, type Block } from './pages.js'

/** The marks of blocks that are not checked: the output of a program, and code for something else than Node. */
const UNCHECKED = ['output', 'example']

/** The options of a reader: `strict`, without the stricter ones of this repository. */
const READERS_OPTIONS = {
  moduleDetection: 'force',
  exactOptionalPropertyTypes: false,
  noPropertyAccessFromIndexSignature: false,
  noUncheckedIndexedAccess: false,
  noUnusedLocals: false,
  noUnusedParameters: false,
  // `./otel.mjs` is the reader's.
  noUncheckedSideEffectImports: false,
}

const PACKAGE = 'opentelemetry-instrumentation-replication-lag'

/** What blocks use without showing where it comes from: objects of the reader, and sources that their page is about. */
const CONTEXT = `
declare const gauge: import('${PACKAGE}').ReplicationLagGauge
declare const pool: import('pg').Pool, primary: import('pg').Pool, standby: import('pg').Pool
declare const seqno: bigint
declare const servers: string[]
declare const etcdSource: typeof import('${PACKAGE}/sources/etcd').etcdSource
declare const jetstreamSource: typeof import('${PACKAGE}/sources/jetstream').jetstreamSource
declare const postgresSource: typeof import('${PACKAGE}/sources/postgres').postgresSource
declare function currentToken(): Promise<string>
declare function askMyDatabase(signal: AbortSignal): Promise<{
  head: bigint
  term: number
  nodes: { host: string; applied: bigint | undefined; alive: boolean }[]
}>
`

/**
 * Creates a copy of `src` and of some other files. Imports of `@opentelemetry/…` resolve to the SDK of a folder there, also those
 * of the package. It is removed at the end of the test.
 */
async function createTypedProject(sdk: '.' | 'test/sdk/v3', ...files: string[]): Promise<string> {
  const folder = await makeFolder()
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
const TSC = join(repository, 'node_modules/typescript-7/bin/tsc')

/** Checks the types of JavaScript and TypeScript blocks, each as a module of its own. Returns their errors. */
async function problemsOfPrograms(blocks: readonly Block[], sdk: '.' | 'test/sdk/v3' = '.') {
  const project = await createTypedProject(sdk, 'docs')
  const files = await Promise.all(
    blocks.map(async ({ page, line, language, text }) => {
      const file = `${page}.${line}.${language}`
      await mkdir(join(project, dirname(page)), { recursive: true })
      // On the lines that the block has on its page.
      await writeFile(join(project, file), '\n'.repeat(line) + text)
      return file
    }),
  )
  const config = {
    extends: './tsconfig.json',
    compilerOptions: READERS_OPTIONS,
    include: [],
    files: ['context.d.ts', ...files],
  }
  await writeFile(join(project, 'context.d.ts'), CONTEXT)
  await writeFile(join(project, 'blocks.json'), JSON.stringify(config))
  const options = ['-p', 'blocks.json', '--pretty', 'false']
  const { stdout } = await execa(process.execPath, [TSC, ...options], {
    ...{ cwd: project, reject: false, lines: true as const },
  })
  // Not those of the examples that a block imports.
  return stdout.filter((line) => /\.md\.\d+\.\w+\(/.test(line))
}

/** Checks a block that is not JavaScript or TypeScript. Returns a list of `page:line: message`. */
function problemsOfText(block: Block): string[] {
  return messagesOf(block).map((message) => `${block.page}:${block.line}: ${message}`)
}

function messagesOf({ language, mark, text }: Block): string[] {
  if (UNCHECKED.includes(mark)) return []
  if (language === 'sh') return commandsOf(text).flatMap((command) => problemOf(command) ?? [])
  // JSON is YAML too.
  if (language === 'yaml' || language === 'json')
    return parseAllDocuments(text).flatMap(({ errors }) => errors.map(({ message }) => message))
  return [`expected ${PROGRAMS.join(', ')}, sh, yaml, json or the mark ${UNCHECKED.join(' or ')}`]
}

/** The commands of a `sh` block, without comments and variables. `a && b` and `a | b` are two. */
function commandsOf(text: string): string[] {
  return text
    .replaceAll('\\\n', '')
    .split('\n')
    .flatMap((line) => line.replace(/(?:^|\s)#.*$/, '').split(/&&|\|/))
    .map((command) => command.trim().replace(/^export (?=[A-Z])|[A-Z_]+=(?:'[^']*'|\S+)\s*/g, ''))
    .filter((command) => command !== '')
}

const manifest = readJson('package.json') as {
  readonly name: string
  readonly bin: Readonly<Record<string, string>>
  readonly scripts: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}
/** Packages that a reader can install: the tests use them together. */
const packages = [manifest.name, ...Object.keys(manifest.devDependencies)]

/** The words after which a command names nothing of this repository: the reader's own packages and programs. */
const COMMANDS = /^(?:npm (?:ci|test|start)|\.ci\/run|curl (?:-s )?http:\/\/localhost:9464\/)/

/** A command is not run. The scripts, files and packages that it names must exist. */
function problemOf(command: string): string | undefined {
  if (COMMANDS.test(command)) return undefined
  const [program = '', ...rest] = command.split(/\s+/)
  const words = rest.filter((word) => !word.startsWith('-'))
  const missing = (what: string, names: readonly string[], known: readonly string[]) => {
    const unknown = names.filter((name) => !known.includes(name))
    return unknown.length === 0 ? undefined : `no such ${what}: ${unknown.join(', ')}`
  }
  if (program === 'npm' && words[0] === 'run')
    return missing('script', words.slice(1, 2), Object.keys(manifest.scripts))
  if (program === 'npm' && words[0] === 'install')
    return missing('package', words.slice(1), packages)
  if (program === 'npx') return missing('command', words.slice(0, 1), Object.keys(manifest.bin))
  if (program !== 'node') return `unknown command: ${command}`
  const modules = rest.filter((_, index) => /^--(?:import|require)$/.test(rest[index - 1] ?? ''))
  // A file without a folder is the reader's.
  const files = words.filter((word) => word.includes('/') && !modules.includes(word))
  const unknown = files.find((file) => !existsSync(join(repository, file)))
  if (unknown !== undefined) return `no such file: ${unknown}`
  return missing('package', modules.map(packageOf), packages)
}

function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

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
