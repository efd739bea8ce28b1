import GithubSlugger from 'github-slugger'
import { randomUUID } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromMarkdown } from 'mdast-util-from-markdown'
import { gfmFromMarkdown } from 'mdast-util-gfm'
import { toString } from 'mdast-util-to-string'
import { gfm } from 'micromark-extension-gfm'
import { visit } from 'unist-util-visit'
import { expect, onTestFinished } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { eventually } from '../support/eventually.js'
import { Program } from '../support/program.js'
import { parsePrometheusText } from '../support/http.js'
import { listFiles, readText } from '../support/repository.js'

/** A Markdown file. */
export interface Page {
  /** Its path below the top of the repository. */
  readonly path: string
  readonly text: string
}

/** A fenced code block. */
export interface Block {
  readonly page: string
  /** The line of the opening fence, from 1. */
  readonly line: number
  /** The first word after the fence: the language. */
  readonly language: string
  /** The second word after the fence, which renderers ignore. */
  readonly mark: string
  readonly text: string
}

/** All pages that users read. */
export function readPages(): Page[] {
  return listFiles()
    .filter((path) => /^(?:[A-Z]+\.md|docs\/.*\.md)$/.test(path))
    .map((path) => ({ path, text: readText(path) }))
}

/** Returns the code blocks of a page. */
export function findBlocks(page: Page): Block[] {
  const blocks: Block[] = []
  visit(parse(page), 'code', (node) => {
    const { lang, meta, value } = node
    const block = { page: page.path, line: lineOf(node), text: value }
    blocks.push({ ...block, language: lang ?? '', mark: meta ?? '' })
  })
  return blocks
}

/** The languages of programs. */
export const PROGRAMS = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs']

export function isProgram({ language }: Block): boolean {
  return PROGRAMS.includes(language)
}

/** Returns the links and images of a page. */
export function findLinks(page: Page): { line: number; target: string }[] {
  const links: ReturnType<typeof findLinks> = []
  visit(parse(page), (node) => {
    if ('url' in node) links.push({ line: lineOf(node), target: node.url })
    // A reference without a definition is text.
    const references = node.type === 'text' ? node.value.matchAll(/\[[^\]]+\.md\]/g) : []
    for (const [target] of references) links.push({ line: lineOf(node), target })
  })
  return links
}

/** Returns the anchors that code hosts give the headings of a page. */
export function findAnchors(page: Page): Set<string> {
  const anchors = new Set<string>()
  const slugger = new GithubSlugger()
  visit(parse(page), 'heading', (node) => void anchors.add(slugger.slug(toString(node))))
  return anchors
}

/** Returns the rows of all tables of a page, as the texts of their cells, with the headings of their columns. */
export function findTableRows(page: Page): string[][] {
  const rows: string[][] = []
  visit(parse(page), 'tableRow', (row) => {
    rows.push(row.children.map((cell) => toString(cell)))
  })
  return rows
}

function parse({ text }: Page) {
  return fromMarkdown(text, { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] })
}

function lineOf({ position }: Pick<ReturnType<typeof parse>, 'position'>): number {
  return position?.start.line ?? 0
}

/** Starts a program of the docs, with a port for its service and one for /metrics. It ends with the test. */
export async function startProgram(
  folder: string,
  text: string,
  { env = {}, parameters = [] }: { env?: Record<string, string>; parameters?: string[] } = {},
) {
  const [port, metricsPort] = [await freePort(), await freePort()]
  const file = join(folder, `program-${port}.mjs`)
  await writeFile(file, text)
  const program = new Program([...parameters, file], {
    cwd: folder,
    env: { PORT: `${port}`, OTEL_EXPORTER_PROMETHEUS_PORT: `${metricsPort}`, ...env },
  })
  onTestFinished(() => program.stop())
  let end: unknown
  void program.ended.then((ended) => (end = { ...ended, output: program.stderr }))
  const url = `http://127.0.0.1:${port}`
  const get = async (address: string) => (await fetch(address)).text()
  return {
    program,
    /** The address of its service. */
    url,
    /** What it has printed and logged. */
    output: () => program.stderr + program.stdout,
    /** Waits for an expectation, while the program runs. */
    until: (check: () => void | Promise<void>) =>
      eventually(async () => {
        expect(end).toBeUndefined()
        await check()
      }),
    scrape: async (of = `http://127.0.0.1:${metricsPort}`) =>
      parsePrometheusText(await get(`${of}/metrics`)),
    greet: () => get(url),
  }
}

/** Imports a program that a page shows: its block that exports `name`. */
export async function importProgram(page: string, name: string): Promise<unknown> {
  const blocks = findBlocks({ path: page, text: readText(page) })
  const block = blocks.find(({ text }) => new RegExp(`^export .*\\b${name}\\b`, 'm').test(text))
  if (!block) throw new Error(`${page} has no program that exports ${name}`)
  // In the repository, where its imports are found.
  const path = join(import.meta.dirname, `program-${randomUUID()}.mjs`)
  await writeFile(path, block.text)
  try {
    return (await import(path)) as unknown
  } finally {
    await rm(path)
  }
}
