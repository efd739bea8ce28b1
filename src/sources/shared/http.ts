import { describeError, formatValue } from '../../support/log.js'
import { hasMethods, optionError } from '../../support/option-errors.js'
import { explain, withAdvice, type Advice } from './errors.js'
import { parseExactJson } from './exact-json.js'
import { required } from './fields.js'

/** The part of `fetch` that is used. The global `fetch` is one. */
export type Fetch = (url: string, request: HttpRequest) => Promise<HttpResponse>

export interface HttpRequest {
  readonly method: 'GET' | 'POST'
  /** Those of this request alone, so that a `fetch` can add its own. */
  readonly headers: Record<string, string>
  readonly body?: string
  readonly signal: AbortSignal
  readonly redirect: 'manual'
}

export interface HttpResponse {
  readonly ok: boolean
  readonly status: number
  /** Where it is an async iterable of bytes, it is read in parts, so that a huge answer takes no memory. */
  readonly body?: unknown
  /** Whether redirects were followed, and to where. Such an answer is refused. */
  readonly redirected?: boolean
  readonly url?: string
  readonly headers?: { get(name: string): string | null }
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

/**
 * Returns a server for each URL.
 *
 * @param advice what to do about errors that only this system has
 * @throws TypeError that names the option if it is not a list of URLs. Passwords are not shown.
 */
export function parseServers(
  option: string,
  urls: unknown,
  fetch?: Fetch,
  advice?: Advice,
): [HttpServer, ...HttpServer[]] {
  const texts: readonly unknown[] = Array.isArray(urls) ? urls : []
  const [first, ...others] = texts.map((text) => {
    const server = createServer(text, fetch, advice)
    if (server) return server
    const shown = typeof text === 'string' ? text.replace(/^.*@|(?<=[?#]).*/gs, '…') : text
    throw optionError(option, EXPECTED_URLS, shown)
  })
  const isDistinct = new Set([first, ...others].map((each) => each?.url)).size === texts.length
  if (!first || !isDistinct) throw optionError(option, EXPECTED_URLS, urls)
  return [first, ...others]
}

function createServer(text: unknown, fetch?: Fetch, advice?: Advice): HttpServer | undefined {
  const parsed = parseUrl(text)
  if (!parsed) return undefined
  const { url, host, authorization } = parsed
  return {
    url,
    host,
    async ask(path, parse, signal, body) {
      // A new object for each request: a fetch may add the token of one server to it.
      const headers = { ...(authorization && { authorization }) }
      const request: HttpRequest = body
        ? {
            method: 'POST',
            headers: { ...headers, 'content-type': 'application/json' },
            body: JSON.stringify(body),
            signal,
            redirect: 'manual',
          }
        : { method: 'GET', headers, signal, redirect: 'manual' }
      try {
        return parse(await send(url, path, request, fetch))
      } catch (error) {
        throw explain(`${url}${path.replace(/\?.*/, '')}`, error, advice)
      }
    },
  }
}

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
      authorization: credentials === ':' ? undefined : authorization,
    }
  } catch {
    return undefined
  }
}

async function send(
  url: string,
  path: string,
  request: HttpRequest,
  fetch: Fetch = globalThis.fetch,
): Promise<unknown> {
  const response = await fetch(`${url}${path}`, request)
  const { ok, status } = response
  // Always read the body, so that the connection can be reused.
  const text = await readText(response)
  const target = targetOf(response, url, path)
  // Its answer is not shown, because another server may have sent it.
  if (target !== undefined) {
    const shown = formatValue(target)
    throw new Error(
      `it redirects to ${shown}, which is not followed: configure that URL if it is correct`,
    )
  }
  const answer = parseExactJson(text)
  if (!ok) {
    const { message = answer ?? text } = (answer ?? {}) as { message?: unknown }
    const isDenied = status === 401 || status === 403
    throw new Error(`status ${status}, ${formatValue(message)}${isDenied ? `. ${DENIED}` : ''}`)
  }
  if (answer === undefined) throw new Error(`the answer is not JSON: ${formatValue(text)}`)
  return answer
}

const DENIED = 'Pass a fetch that adds the Authorization header of a user with the permission'

/** Returns the base URL that a response redirects to, or that it comes from by a redirect. */
function targetOf(response: HttpResponse, url: string, path: string): string | undefined {
  const { status, redirected = false, headers } = response
  // By the standard, a redirect that is not followed has status 0. Node.js keeps the status.
  const isRedirect = redirected || status === 0 || (status >= 300 && status < 400)
  if (!isRedirect) return undefined
  const location = redirected ? response.url : headers?.get('location')
  if (typeof location !== 'string' || !URL.canParse(location, url)) return 'another URL'
  const { origin, pathname } = new URL(location, url)
  const suffix = path.replace(/\?.*/s, '')
  return pathname.endsWith(suffix) ? `${origin}${pathname.slice(0, -suffix.length)}` : origin
}

/** The longest answer that is read, when unpacked. It has room for the state of thousands of streams. */
const MAX_BYTES = 8 * 2 ** 20

async function readText(response: HttpResponse): Promise<string> {
  const { body } = response
  if (!isIterable(body)) return checkLength(await response.text())
  const decoder = new TextDecoder()
  let text = ''
  for await (const part of body) {
    text += typeof part === 'string' ? part : decoder.decode(part, { stream: true })
    // To leave the loop closes the connection.
    checkLength(text)
  }
  return text + decoder.decode()
}

function checkLength(text: string): string {
  if (text.length <= MAX_BYTES) return text
  throw new Error(`the answer has more than ${MAX_BYTES / 2 ** 20} MiB`)
}

function isIterable(body: unknown): body is AsyncIterable<Uint8Array | string> {
  return (
    typeof (body as Partial<AsyncIterable<unknown>> | undefined)?.[Symbol.asyncIterator] ===
    'function'
  )
}

/** Describes why servers did not answer, by their URLs. It is empty if all did. */
export function describeFailures(failures: ReadonlyMap<string, unknown>): string {
  return [...failures].map(([url, error]) => describeFailure(url, error)).join('; ')
}

/** Describes why a server did not answer, and what to do. Errors of requests do that already. */
export function describeFailure(url: string, error: unknown): string {
  const text = describeError(error)
  return text.startsWith(url) ? text : `${url}: ${withAdvice(text)}`
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
