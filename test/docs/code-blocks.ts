import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import ts from 'typescript'
import { parseAllDocuments } from 'yaml'
import { readJson, repository } from '../support/repository.js'
import { typeCheck } from '../support/type-check.js'
import type { Block } from './markdown.js'

const PROGRAMS = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs']

/** The marks of blocks that are not checked: the output of a program, and code for something else than Node. */
const UNCHECKED = ['output', 'example']

/** The options of a reader: `strict`, without the stricter ones of this repository. */
const READERS_OPTIONS: ts.CompilerOptions = {
  moduleDetection: ts.ModuleDetectionKind.Force,
  exactOptionalPropertyTypes: false,
  noPropertyAccessFromIndexSignature: false,
  noUncheckedIndexedAccess: false,
  noUnusedLocals: false,
  noUnusedParameters: false,
}

export function isProgram({ language }: Block): boolean {
  return PROGRAMS.includes(language)
}

/**
 * Checks the types of JavaScript and TypeScript blocks, each as a module of its own.
 *
 * @param openTelemetryFrom the folder to look up `@opentelemetry/…` from.
 * @returns a list of `page.line.language:line: message`.
 */
export function problemsOfPrograms(
  blocks: readonly Block[],
  openTelemetryFrom = repository,
): readonly string[] {
  const contents = new Map(
    blocks.map(({ page, line, language, given, text }) => {
      // On the lines that the block has on its page.
      const padding = '\n'.repeat(line - given.split('\n').length + 1)
      return [join(repository, `${page}.${line}.${language}`), `${given}${padding}${text}`]
    }),
  )
  const options = { contents, openTelemetryFrom, compilerOptions: READERS_OPTIONS }
  const { errors } = typeCheck([...contents.keys()], options)
  const names = [...contents.keys()].map((path) => `${relative(repository, path)}:`)
  return errors.filter((error) => names.some((name) => error.startsWith(name)))
}

/** Checks a block that is not JavaScript or TypeScript. Returns a list of `page:line: message`. */
export function problemsOfText(block: Block): string[] {
  return messagesOf(block).map((message) => `${block.page}:${block.line}: ${message}`)
}

function messagesOf({ language, mark, text }: Block): string[] {
  if (UNCHECKED.includes(mark)) return []
  if (language === 'sh') return commandsOf(text).flatMap((command) => problemOf(command) ?? [])
  if (language === 'yaml')
    return parseAllDocuments(text).flatMap(({ errors }) => errors.map(({ message }) => message))
  return [`expected ${PROGRAMS.join(', ')}, sh, yaml or the mark ${UNCHECKED.join(' or ')}`]
}

/** The commands of a `sh` block, without comments. `a && b` and `a | b` are two. */
function commandsOf(text: string): string[] {
  return text
    .split('\n')
    .flatMap((line) => line.replace(/(?:^|\s)#.*$/, '').split(/&&|\|/))
    .filter((command) => command.trim() !== '')
}

const manifest = readJson('package.json') as {
  readonly name: string
  readonly scripts: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}
/** Packages that a reader can install: the tests use them together. */
const packages = [manifest.name, ...Object.keys(manifest.devDependencies)]

/** A command is not run. The scripts, files and packages that it names must be there. */
function problemOf(command: string): string | undefined {
  const [program = '', ...rest] = command.trim().split(/\s+/)
  const [operand = '', ...others] = rest.filter((word) => !word.startsWith('-'))
  switch (program) {
    case 'npm':
      if (operand === 'ci' || operand === 'test') return undefined
      if (operand === 'run')
        return missing('script', others.slice(0, 1), Object.keys(manifest.scripts))
      if (operand === 'install') return missing('package', others, packages)
      break
    case 'node':
      return existsSync(join(repository, operand)) ? undefined : `no such file: ${operand}`
    case '.ci/run':
      return undefined
    case 'curl':
      if (operand.startsWith('http://localhost:9464/')) return undefined
      break
  }
  return `unknown command: ${command.trim()}`
}

function missing(what: string, names: readonly string[], known: readonly string[]) {
  const unknown = names.filter((name) => !known.includes(name))
  return unknown.length === 0 ? undefined : `no such ${what}: ${unknown.join(', ')}`
}
