import { describeError, formatValue } from '../../support/log.js'
import { hasMethods, optionError } from '../../support/option-errors.js'
import { required } from './fields.js'
import type { Answered } from './nodes.js'

/** The part of `fetch` that is used. The global `fetch` is one. */
export type Fetch = (url: string, request: HttpRequest) => Promise<HttpResponse>

export interface HttpRequest {
  readonly method: 'GET' | 'POST'
  readonly headers: Record<string, string>
  readonly body?: string
  readonly signal: AbortSignal
}

export interface HttpResponse {
  readonly ok: boolean
  readonly status: number
  text(): Promise<string>
}

/** A server that answers in JSON. */
export interface HttpServer {
  /** Its base URL, without the user and password. */
  readonly url: string
  readonly host: string
  /**
   * Asks with GET, or with POST if there is a body.
   *
   * @param parse parses the answer. It throws if that is invalid.
   * @throws Error that names the URL and says what is wrong.
   */
  ask<T>(
    path: string,
    parse: (answer: unknown) => T,
    signal: AbortSignal,
    body?: object,
  ): Promise<T>
}

const EXPECTED_URLS = 'an array of distinct http or https URLs without a query'

/** @throws TypeError that names the option if it is not a list of URLs. Passwords are not shown. */
export function parseServers(
  option: string,
  urls: unknown,
  fetch?: Fetch,
): [HttpServer, ...HttpServer[]] {
  const texts: readonly unknown[] = Array.isArray(urls) ? urls : []
  const [first, ...others] = texts.map((text) => {
    const server = createServer(text, fetch)
    if (server) return server
    const shown = typeof text === 'string' ? text.replace(/^.*@|(?<=[?#]).*/gs, '…') : text
    throw optionError(option, EXPECTED_URLS, shown)
  })
  const isDistinct = new Set([first, ...others].map((each) => each?.url)).size === texts.length
  if (!first || !isDistinct) throw optionError(option, EXPECTED_URLS, urls)
  return [first, ...others]
}

function createServer(text: unknown, fetch?: Fetch): HttpServer | undefined {
  const parsed = parseUrl(text)
  if (!parsed) return undefined
  const { url, host, headers } = parsed
  const post = (body: object) => ({
    method: 'POST' as const,
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return {
    url,
    host,
    async ask(path, parse, signal, body) {
      const request = body ? post(body) : { method: 'GET' as const, headers }
      const answer = send(`${url}${path}`, { ...request, signal }, fetch).then(parse)
      return answer.catch((error: unknown) => {
        throw new Error(`${url}${path.replace(/\?.*/, '')}: ${describeError(error)}`)
      })
    },
  }
}

const NO_HEADERS: Record<string, string> = {}

/** `fetch` refuses a URL with a user and password, so they become a header. */
function parseUrl(text: unknown) {
  try {
    const { protocol, host, pathname, search, hash, username, password } = new URL(String(text))
    if (!/^https?:$/.test(protocol) || search !== '' || hash !== '') return undefined
    const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
    const authorization = `Basic ${Buffer.from(credentials).toString('base64')}`
    return {
      url: `${protocol}//${host}${pathname.replace(/\/+$/, '')}`,
      host,
      headers: credentials === ':' ? NO_HEADERS : { authorization },
    }
  } catch {
    return undefined
  }
}

async function send(url: string, request: HttpRequest, fetch: Fetch = globalThis.fetch) {
  const { ok, status, ...response } = await readResponse(await fetch(url, request))
  const { text, answer } = response
  if (!ok) {
    const { message = answer ?? text } = (answer ?? {}) as { message?: unknown }
    const isDenied = status === 401 || status === 403
    const advice = isDenied ? `. ${ADVICE}` : ''
    throw new Error(`status ${status}, ${formatValue(message)}${advice}`)
  }
  if (answer === undefined) throw new Error(`the answer is not JSON: ${formatValue(text)}`)
  return answer
}

const ADVICE = 'Pass a fetch that adds the Authorization header of a user with the right'

/** The body is read in any case, so that the connection can be used again. */
async function readResponse(response: HttpResponse) {
  const text = await response.text()
  return { ok: response.ok, status: response.status, text, answer: parseJson(text) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Why servers did not answer, by their URLs. It is empty if all did. */
export function describeFailures(answers: ReadonlyMap<string, Answered<unknown>>): string {
  const failures = [...answers].flatMap(([url, answer]) => {
    if (!('error' in answer)) return []
    const text = describeError(answer.error)
    return text.startsWith(url) ? text : `${url}: ${text}`
  })
  return failures.join('; ')
}

/** An array in an answer. A missing one is empty. */
export function array(value: unknown, name: string): readonly unknown[] {
  const parse = (list: unknown) => (Array.isArray(list) ? (list as unknown[]) : undefined)
  return required(parse)(value ?? [], name)
}

/** An object in an answer, or `undefined` if it is something else. */
export function object(value: unknown): object | undefined {
  return typeof value === 'object' && value !== null ? value : undefined
}

/** @throws TypeError if the option is not a function. */
export function checkFetch(fetch: unknown): void {
  const isValid = fetch === undefined || hasMethods(fetch, 'call')
  if (!isValid) throw optionError('fetch', 'a function', fetch)
}
