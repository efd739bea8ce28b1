import { randomUUID } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findBlocks } from '../docs/markdown.js'
import { readText } from './repository.js'

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
