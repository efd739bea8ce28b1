import { readFileSync } from 'node:fs'
import { parseUrl, within, type SourceUrl } from './source-url.js'

/** What to poll, and options of an attachment. */
export interface Configuration {
  readonly sources: readonly SourceUrl[]
  readonly options: Readonly<Record<string, unknown>>
}

/** The options that a configuration file may have next to `sources`. */
const OPTIONS = [
  'pollIntervalMillis',
  'pollTimeoutMillis',
  'retentionMillis',
  'lagSeconds',
  'positions',
]

const SOURCES = 'REPLICATION_LAG_SOURCES'
const FILE = 'REPLICATION_LAG_CONFIG'

/**
 * Reads `REPLICATION_LAG_SOURCES`, `name=url` several times, or the JSON file that `REPLICATION_LAG_CONFIG` names.
 *
 * @returns `undefined` if neither is set.
 * @throws Error that says what is wrong, without a password: it contains no text that was not understood.
 */
export function readConfiguration(
  environment: Readonly<Record<string, string | undefined>>,
): Configuration | undefined {
  const list = environment[SOURCES]?.trim()
  const file = environment[FILE]?.trim()
  if (list && file) throw new Error(`set ${SOURCES} or ${FILE}, not both`)
  if (list) {
    return {
      sources: parseEntries(list.split(/\s+/), (n) => `entry ${n} of ${SOURCES}`),
      options: {},
    }
  }
  return file ? readFile(file) : undefined
}

/**
 * Parses `name=url` several times.
 *
 * @param where returns what to call the n-th one in an error.
 */
export function parseEntries(
  entries: readonly string[],
  where: (number: number) => string,
): SourceUrl[] {
  return entries.map((entry, index) => parseEntry(entry, where(index + 1)))
}

const QUOTED = /^["']|=["']|["']$/
const COMMAS = /,$|,[^=:/,]+=[a-z+]+:\/\//

function parseEntry(entry: string, where: string): SourceUrl {
  if (QUOTED.test(entry)) throw new Error(`${where}: remove the quotes, which became part of it`)
  if (COMMAS.test(entry)) throw new Error(`${where}: separate sources with spaces, not with commas`)
  const [, name, url] = /^([^=:/]+)=(.+)$/.exec(entry) ?? []
  if (name !== undefined && url !== undefined) return parseUrl(where, name, url)
  throw new Error(`${where}: expected name=url, as in orders=postgres://monitor@db/postgres`)
}

function readFile(path: string): Configuration {
  try {
    const { sources, ...options } = parseJson(readFileSync(path, 'utf8'))
    if (!Array.isArray(sources) || sources.length === 0) throw new Error(EXPECTED)
    checkNames(Object.keys(options), OPTIONS)
    return { sources: sources.map(parseSource), options }
  } catch (error) {
    throw within(`${FILE}, ${path}`, error)
  }
}

const EXPECTED = 'expected { "sources": [{ "name": "orders", "url": "postgres://…" }] }'

function parseJson(text: string): Partial<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The error quotes the text, which can hold a password.
  }
  if (value === undefined) throw new Error('it is not valid JSON')
  return Object(value) as Partial<Record<string, unknown>>
}

function parseSource(source: unknown, index: number): SourceUrl {
  const { name, url, passwordFile, ...unknown } = Object(source) as Partial<Record<string, unknown>>
  const where = `sources[${index}]`
  if (typeof name !== 'string' || name === '' || typeof url !== 'string') {
    throw new Error(`${where}: expected a "name" and a "url"`)
  }
  try {
    checkNames(Object.keys(unknown), ['name', 'url', 'passwordFile'])
    if (passwordFile !== undefined && typeof passwordFile !== 'string') {
      throw new Error('expected a path in passwordFile')
    }
  } catch (error) {
    throw within(name, error)
  }
  const parsed = parseUrl(where, name, url)
  return passwordFile === undefined ? parsed : { ...parsed, password: readPassword(passwordFile) }
}

function readPassword(path: string): string {
  const password = readFileSync(path, 'utf8').trimEnd()
  if (password === '') throw new Error(`the file ${path} is empty`)
  return password
}

/** @throws Error that names the first one that does not exist. */
function checkNames(names: readonly string[], known: readonly string[]): void {
  const unknown = names.find((name) => !known.includes(name))
  if (unknown === undefined) return
  throw new Error(
    `unknown property ${JSON.stringify(unknown)}, expected one of ${known.join(', ')}`,
  )
}
