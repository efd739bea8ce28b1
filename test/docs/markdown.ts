import GithubSlugger from 'github-slugger'
import { fromMarkdown } from 'mdast-util-from-markdown'
import { gfmFromMarkdown } from 'mdast-util-gfm'
import { toString } from 'mdast-util-to-string'
import { gfm } from 'micromark-extension-gfm'
import { visit } from 'unist-util-visit'
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

/** A link or an image. */
export interface Link {
  readonly line: number
  readonly target: string
}

/** A row of a table, without its formatting. */
export interface TableRow {
  readonly cells: readonly string[]
  /** The targets of its links. */
  readonly links: readonly string[]
  /** What it shows as code. */
  readonly codes: readonly string[]
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

/** Returns the links and images of a page. */
export function findLinks(page: Page): Link[] {
  const links: Link[] = []
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

/** Returns the rows of all tables of a page, with the headings of their columns. */
export function findTableRows(page: Page): TableRow[] {
  const rows: TableRow[] = []
  visit(parse(page), 'tableRow', (row) => {
    const [links, codes]: [string[], string[]] = [[], []]
    visit(row, 'link', ({ url }) => void links.push(url))
    visit(row, 'inlineCode', ({ value }) => void codes.push(value))
    rows.push({ cells: row.children.map((cell) => toString(cell)), links, codes })
  })
  return rows
}

function parse({ text }: Page) {
  return fromMarkdown(text, { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] })
}

function lineOf({ position }: Pick<ReturnType<typeof parse>, 'position'>): number {
  return position?.start.line ?? 0
}
