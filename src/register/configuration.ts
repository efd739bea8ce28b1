import { readFileSync } from 'node:fs'
import type { ReplicationLagInstrumentationConfig } from '../otel/instrumentation.js'

/** What to poll, and options of the instrumentation. */
export interface Configuration {
  readonly sources: readonly SourceUrl[]
  readonly options: Omit<ReplicationLagInstrumentationConfig, 'sources'>
}

/** One source, as the environment or the configuration file describes it. */
export interface SourceUrl {
  readonly name: string
  readonly scheme: string
  readonly user: string | undefined
  readonly password: string | undefined
  readonly hosts: readonly Host[]
  /** What comes after the hosts, such as a database, with its slash. */
  readonly path: string
  readonly parameters: URLSearchParams
}

export interface Host {
  /** `host` or `host:port`, as it is written in the URL. */
  readonly address: string
  readonly host: string
  readonly port: number | undefined
}

/**
 * Reads `REPLICATION_LAG_SOURCES`, `name=url` several times, or the JSON file that `REPLICATION_LAG_CONFIG` names.
 *
 * @returns `undefined` if neither is set.
 * @throws Error that says what is wrong, without a password: no text that was not understood is in it.
 */
export function readConfiguration(
  environment: Readonly<Record<string, string | undefined>>,
): Configuration | undefined {
  const list = environment['REPLICATION_LAG_SOURCES']?.trim()
  const file = environment['REPLICATION_LAG_CONFIG']?.trim()
  if (list && file) {
    throw new Error('set REPLICATION_LAG_SOURCES or REPLICATION_LAG_CONFIG, not both')
  }
  if (list) return { sources: list.split(/\s+/).map(parseEntry), options: {} }
  return file ? readFile(file) : undefined
}

function parseEntry(entry: string, index: number): SourceUrl {
  const [, name, url] = /^([^=:/]+)=(.+)$/.exec(entry) ?? []
  if (name !== undefined && url !== undefined) return parseUrl(name, url)
  const which = `entry ${index + 1} of REPLICATION_LAG_SOURCES`
  throw new Error(`${which}: expected name=url, as in orders=postgres://monitor@db/postgres`)
}

function readFile(path: string): Configuration {
  try {
    const { sources, ...options } = parseJson(readFileSync(path, 'utf8'))
    if (!Array.isArray(sources) || sources.length === 0) throw new Error(EXPECTED)
    return { sources: sources.map(parseSource), options }
  } catch (error) {
    throw within(`REPLICATION_LAG_CONFIG, ${path}`, error)
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
  if (typeof name !== 'string' || typeof url !== 'string') {
    throw new Error(`sources[${index}]: expected a "name" and a "url"`)
  }
  const [other] = Object.keys(unknown)
  if (other !== undefined) throw new Error(`${name}: there is no ${JSON.stringify(other)}`)
  const parsed = parseUrl(name, url)
  if (passwordFile === undefined) return parsed
  if (typeof passwordFile !== 'string') throw new Error(`${name}: expected a path in passwordFile`)
  return { ...parsed, password: readFileSync(passwordFile, 'utf8').trimEnd() }
}

const EXPECTED_URL =
  'expected a URL such as postgres://monitor@db/postgres. Encode special characters of a password, as in %40 for @'
const EXPECTED_HOST = 'expected host or host:port'

/** Several hosts are allowed, which `URL` does not understand. */
const URL_PATTERN = new RegExp(
  [
    /^(?<scheme>[a-z+]+):\/\//,
    /(?:(?<user>[^:@/?#]*)(?::(?<password>[^:@/?#]*))?@)?/,
    /(?<hosts>[^@/?#]*)(?<path>\/[^@?#]*)?(?:\?(?<query>[^@#]*))?$/,
  ]
    .map(({ source }) => source)
    .join(''),
)

function parseUrl(name: string, url: string): SourceUrl {
  try {
    return { name, ...splitUrl(url) }
  } catch (error) {
    throw within(name, error)
  }
}

function splitUrl(url: string): Omit<SourceUrl, 'name'> {
  const groups = URL_PATTERN.exec(url)?.groups
  if (!groups) throw new Error(EXPECTED_URL)
  const { scheme = '', user, password, hosts = '', path = '', query } = groups
  return {
    scheme,
    user: decode(user),
    password: decode(password),
    hosts: parseHosts(hosts),
    path,
    parameters: new URLSearchParams(query),
  }
}

/** @throws Error that does not show the text: it can be a password whose `@` is missing. */
function parseHosts(text: string): Host[] {
  const addresses = text.split(',').filter((each) => each !== '')
  return addresses.map((address) => {
    // An IPv6 address has brackets.
    const match = /^(?:\[(?<ip>.+)\]|(?<host>[^:]+))(?::(?<port>\d+))?$/.exec(address)
    const { ip, host = ip, port } = match?.groups ?? {}
    if (host === undefined) throw new Error(EXPECTED_HOST)
    return { address, host, port: port === undefined ? undefined : Number(port) }
  })
}

function decode(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text)
  } catch {
    throw new Error('encode a % in the user or password as %25')
  }
}

/** Says which part of the configuration an error is about. */
export function within(part: string, error: unknown): Error {
  return new Error(`${part}: ${(error as Error).message}`, { cause: error })
}
