import { randomUUID } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { eventually } from '../support/eventually.js'
import { Program } from '../support/program.js'
import { parsePrometheusText } from '../support/prometheus.js'
import { readText } from '../support/repository.js'
import { findBlocks } from './markdown.js'

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
  return {
    program,
    /** What it has printed and logged. */
    output: () => program.stderr + program.stdout,
    /** Waits for an expectation, while the program runs. */
    until: (check: () => void | Promise<void>) =>
      eventually(async () => {
        expect(end).toBeUndefined()
        await check()
      }),
    scrape: async () => {
      const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`)
      return parsePrometheusText(await response.text())
    },
    greet: async () => (await fetch(`http://127.0.0.1:${port}`)).text(),
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
