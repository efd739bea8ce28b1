import { join, relative } from 'node:path'
import ts from 'typescript'
import { parseAllDocuments } from 'yaml'
import { repository } from '../support/repository.js'
import { typeCheck } from '../support/type-check.js'
import { problemOfCommand, splitCommands } from './commands.js'
import type { Block } from './markdown.js'

const PROGRAMS = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs']

/** Marks of blocks that nobody checks: what a program prints, and code for some other program than Node. */
const UNCHECKED = ['output', 'example']

/** Goes on in the module of the block before. */
const CONTINUED = 'continued'

/** What a reader has: `strict`, and none of this repository's own stricter options. */
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

/** What is wrong with a block that is no JavaScript or TypeScript. */
export function problemsOfText({ language, marks, text }: Block): string[] {
  if (marks.some((mark) => UNCHECKED.includes(mark))) return []
  switch (language) {
    case 'sh':
      return splitCommands(text).flatMap((command) => problemOfCommand(command) ?? [])
    case 'yaml':
      return parseAllDocuments(text).flatMap(({ errors }) => errors.map(({ message }) => message))
    case 'json':
      return problemsOfJson(text)
    default:
      return [
        `expected ${PROGRAMS.join(', ')}, sh, yaml, json or the mark ${UNCHECKED.join(' or ')}`,
      ]
  }
}

/**
 * What is wrong with JavaScript and TypeScript blocks: a list of `page.line.language:line: message` for each.
 *
 * @param openTelemetryFrom the folder to look up `@opentelemetry/…` from.
 */
export function problemsOfPrograms(
  blocks: readonly Block[],
  openTelemetryFrom = repository,
): Map<Block, string[]> {
  const contents = new Map<string, string>()
  const paths = new Map<Block, string>()
  let before = ''
  for (const block of blocks) {
    // Beside its page and on the lines that it has there.
    const path = join(repository, `${block.page}.${block.line}.${block.language}`)
    const start = block.marks.includes(CONTINUED) ? before : block.given
    const padding = '\n'.repeat(block.line - start.split('\n').length + 1)
    before = `${start}${padding}${block.text}`
    contents.set(path, before)
    paths.set(block, path)
  }
  const compilerOptions = READERS_OPTIONS
  const { errors } = typeCheck([...paths.values()], {
    contents,
    openTelemetryFrom,
    compilerOptions,
  })
  const errorsOf = (path: string) =>
    errors.filter((error) => error.startsWith(`${relative(repository, path)}:`))
  return new Map([...paths].map(([block, path]) => [block, errorsOf(path)]))
}

function problemsOfJson(text: string): string[] {
  try {
    JSON.parse(text)
    return []
  } catch (error) {
    return [String(error)]
  }
}
