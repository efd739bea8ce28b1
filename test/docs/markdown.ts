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
  /** Code that readers do not see, from a comment `<!-- given … -->` right above the block. */
  readonly given: string
  readonly text: string
}

/** A link or an image. */
export interface Link {
  readonly line: number
  readonly target: string
}

const GIVEN = /<!-- given\n([^]*)\n-->\s*$/
const FENCE = /^(\s*)(`{3,}|~{3,})([^`]*)$/

/** All pages that users read. */
export function readPages(): Page[] {
  return listFiles()
    .filter((path) => /^(?:README\.md|CHANGELOG\.md|docs\/.*\.md)$/.test(path))
    .map((path) => ({ path, text: readText(path) }))
}

/**
 * Returns the fenced code blocks of a page.
 *
 * @throws Error for a block that is not closed.
 */
export function findBlocks({ path, text }: Page): Block[] {
  const blocks: Block[] = []
  const lines = text.split('\n')
  let open:
    { fence: string; indent: string; info: string; line: number; lines: string[] } | undefined
  for (const [index, line] of lines.entries()) {
    const [, indent = '', fence = '', info = ''] = FENCE.exec(line) ?? []
    if (!open) {
      if (fence !== '') open = { fence, indent, info, line: index + 1, lines: [] }
    } else if (fence.startsWith(open.fence) && info.trim() === '') {
      const [language = '', mark = ''] = open.info.trim().split(/\s+/)
      const above = lines.slice(blocks.at(-1)?.line ?? 0, open.line - 1).join('\n')
      const given = GIVEN.exec(above)?.[1] ?? ''
      const code = open.lines.join('\n')
      blocks.push({ page: path, line: open.line, language, mark, given, text: code })
      open = undefined
    } else {
      open.lines.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line)
    }
  }
  if (open) throw new Error(`${path}:${open.line}: a code block that is not closed`)
  return blocks
}

/** Returns the links and images of a page, without those in code. */
export function findLinks(page: Page): Link[] {
  return proseLines(page).flatMap((line, index) => {
    const prose = line.replace(/`[^`]*`/g, '')
    const inline = prose.matchAll(/\]\(<?([^)<>\s]+)>?(?:\s+"[^"]*")?\)/g)
    const definitions = prose.matchAll(/^\s*\[[^\]]+\]:\s*<?([^<>\s]+)>?/g)
    return [...inline, ...definitions].map((match) => ({ line: index + 1, target: match[1] ?? '' }))
  })
}

/** Returns the anchors that code hosts give the headings of a page. */
export function findAnchors(page: Page): Set<string> {
  const anchors = new Set<string>()
  for (const line of proseLines(page)) {
    const [, heading] = /^#{1,6}\s+(.*?)\s*#*$/.exec(line) ?? []
    if (heading === undefined) continue
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{Pc} -]/gu, '')
      .replaceAll(' ', '-')
    let anchor = slug
    for (let count = 1; anchors.has(anchor); count++) anchor = `${slug}-${count}`
    anchors.add(anchor)
  }
  return anchors
}

/** The lines of a page. Those of code blocks are empty. */
function proseLines(page: Page): string[] {
  const lines = page.text.split('\n')
  for (const { line, text } of findBlocks(page))
    lines.fill('', line - 1, line + text.split('\n').length + 1)
  return lines
}
