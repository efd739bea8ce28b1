import fc from 'fast-check'
import { etcdSource } from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { brotliCompressSync, constants } from 'node:zlib'
import { describe, expect, it, onTestFinished } from 'vitest'
import { explain, type Advice } from '../../../src/sources/shared/errors.js'
import { parseExactJson } from '../../../src/sources/shared/exact-json.js'
import { eventually } from '../../support/eventually.js'
import { fakeFetch, FakeResponse, type FakeRequest } from './fakes.js'

const read = (endpoints: string[], answer: (path: string, request: FakeRequest) => unknown) =>
  etcdSource({ endpoints, shard: 'a', fetch: fakeFetch(answer) }).read(new AbortController().signal)

describe('a URL', () => {
  it.each<[unknown, RegExp]>([
    [undefined, /got undefined/],
    ['http://a', /got "http:\/\/a"/],
    [[], /got an array/],
    [['http://a', 'http://a/'], /got an array/],
    [[7], /got 7/],
    [['a:8222'], /got "a:8222"/],
    [['nats://a:4222'], /got "nats:\/\/a:4222"/],
    [['http://a?token=secret'], /got "http:\/\/a\?…"/],
    [['http://a#secret'], /got "http:\/\/a#…"/],
    [['nats://me:secret@a:4222'], /got "…a:4222"/],
    [['me:secret@a:4222'], /got "…a:4222"/],
    [['http://me:%zz@a'], /got "…a"/],
  ])('is refused at construction if it is invalid, without its password: %#', (urls, message) => {
    const create = () => jetstreamSource({ servers: urls as string[] })
    expect(create).toThrow(TypeError)
    expect(create).toThrow(/^servers: expected an array of distinct http or https URLs without a/)
    expect(create).toThrow(message)
  })

  it('gives its user and password to the server, and to no error', async () => {
    const requests: FakeRequest[] = []
    const reading = read(['https://me:p%40ss@a:2379/etcd/'], (_, request) => {
      requests.push(request)
      throw new Error('refused')
    })
    const url = 'https://a:2379/etcd/v3/maintenance/status'
    await expect(reading).rejects.toThrow(`none of the etcd endpoints can be read: ${url}: refused`)
    const authorization = `Basic ${btoa('me:p@ss')}`
    const headers = { authorization, 'content-type': 'application/json' }
    expect(requests).toMatchObject([{ url, method: 'POST', body: '{}', headers }])
  })
})

describe('an answer', () => {
  const denied = '{"error":"user name is empty","message":"user name is empty"}'
  const permission = 'Pass a fetch that adds the Authorization header of a user with the permission'

  it.each<[string, unknown, string]>([
    ['that denies access', new FakeResponse(401, denied), `"user name is empty". ${permission}`],
    ['that forbids it', new FakeResponse(403, 'no'), `status 403, "no". ${permission}`],
    ['with another status', new FakeResponse(404, '<html>'), 'status 404, "<html>"'],
    ['with another status and JSON', new FakeResponse(503, '[1]'), 'status 503, an array'],
    ['with another status and null', new FakeResponse(503, 'null'), 'status 503, "null"'],
    ['that is cut short', new FakeResponse(200, '{"a":'), 'the answer is not JSON: "{\\"a\\":"'],
    ['that is null', new FakeResponse(200, 'null'), 'field header is missing: this is not an etcd'],
    ['that is a number', 7, 'field header is missing: this is not an etcd server'],
  ])('%s is an error that names the URL', async (_, response, message) => {
    const error = await read(['http://a'], () => response).catch(String)
    expect(error).toContain('http://a/v3/maintenance/status: ')
    expect(error).toContain(message)
  })
})

it('the global fetch is used, and its connection is closed when a read is aborted', async () => {
  const server = createServer()
  onTestFinished(() => void server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const source = jetstreamSource({ servers: [`http://127.0.0.1:${port}`] })
  expect(source.name).toBe(`jetstream:127.0.0.1:${port}`)
  const abort = new AbortController()
  const reading = source.read(abort.signal)
  const [{ socket }] = (await once(server, 'request')) as [IncomingMessage]
  abort.abort(new Error('the deadline'))
  await expect(reading).rejects.toThrow('the deadline')
  if (!socket.closed) await once(socket, 'close')
})

describe('a redirect', () => {
  const base = 'http://169.254.169.254:81/base'
  const other = `${base}/v3/maintenance/status?token=secret`
  const to = (location: string) => ({ status: 302, headers: new Headers({ location }) })
  const followed = { ok: true, status: 200, redirected: true }

  it.each<[string, object, string]>([
    ['to another server', to(other), base],
    ['to another path', to('/login?token=secret'), 'http://a'],
    ['without a place', { status: 302, headers: new Headers() }, 'another URL'],
    ['to an invalid place', to('http://%'), 'another URL'],
    ['without headers', { status: 307 }, 'another URL'],
    ['as the standard has it', { status: 0 }, 'another URL'],
    ['that a fetch has followed', { ...followed, url: other }, base],
    ['followed to nowhere', followed, 'another URL'],
  ])('%s is refused, and names the URL', async (_, response, target) => {
    const text = async () => Promise.resolve('SECRET')
    const fetch = async () => Promise.resolve({ ok: false, status: 0, text, ...response })
    const source = etcdSource({ endpoints: ['http://a'], shard: 'a', fetch })
    await expect(source.read(new AbortController().signal)).rejects.toThrow(
      `http://a/v3/maintenance/status: it redirects to "${target}", which is not followed: ` +
        'configure that URL if it is correct',
    )
  })

  it('is not followed by the global fetch', async () => {
    const asked: (string | undefined)[] = []
    const inside = await serve((request, response) => {
      asked.push(request.url)
      response.end('SECRET')
    })
    const url = await serve((_, response) => response.writeHead(302, { location: inside }).end())
    const source = jetstreamSource({ servers: [url] })
    const error = await source.read(AbortSignal.timeout(5000)).catch(String)
    expect(error).toContain(`it redirects to "${inside}", which is not followed`)
    expect(error).not.toContain('SECRET')
    expect(asked).toEqual([])
  })
})

describe('a huge answer', () => {
  const tooLong = 'the answer has more than 8 MiB'

  it('is not read on, even if it is compressed', async () => {
    const bomb = brotliCompressSync(Buffer.alloc(2 ** 28, ' '), {
      params: { [constants.BROTLI_PARAM_QUALITY]: 1 },
    })
    let isClosed = false
    const url = await serve((request, response) => {
      request.socket.on('close', () => (isClosed = true))
      response.writeHead(200, { 'content-encoding': 'br' }).end(bomb)
    })
    const before = process.memoryUsage.rss()
    const source = jetstreamSource({ servers: [url] })
    await expect(source.read(AbortSignal.timeout(10_000))).rejects.toThrow(tooLong)
    expect((process.memoryUsage.rss() - before) / 2 ** 20).toBeLessThan(100)
    await eventually(() => expect(isClosed).toBe(true))
  })

  it('is refused from a fetch that gives only its text', async () => {
    const answer = new FakeResponse(200, `{${' '.repeat(8 * 2 ** 20)}}`)
    await expect(read(['http://a'], () => answer)).rejects.toThrow(tooLong)
  })

  it('of a few megabytes is read', async () => {
    const body = `{"server_id":"a","server_name":"a","account_details":[]${' '.repeat(2 ** 22)}}`
    const url = await serve((_, response) => response.end(body))
    const reading = await jetstreamSource({ servers: [url] }).read(AbortSignal.timeout(5000))
    expect(reading.shards).toEqual([])
  })

  it('may come in parts that are texts or bytes, which split a character', async () => {
    const bytes = Buffer.from('{"message":"é"}')
    const body = async function* () {
      yield bytes.subarray(0, 13)
      yield await Promise.resolve(bytes.subarray(13))
      yield ' '
    }
    const response = { ok: false, status: 503, body: body(), text: async () => Promise.resolve('') }
    const fetch = async () => Promise.resolve(response)
    const source = etcdSource({ endpoints: ['http://a'], shard: 'a', fetch })
    await expect(source.read(new AbortController().signal)).rejects.toThrow('status 503, "é"')
  })
})

it('a header that a fetch adds reaches no other server', async () => {
  const asked: FakeRequest[] = []
  const fetch = fakeFetch((_, request) => {
    asked.push(request)
    throw new Error('refused')
  })
  const withToken = etcdSource({
    endpoints: ['http://a', 'http://b'],
    shard: 'a',
    fetch: async (url, request) => {
      const isA = url.startsWith('http://a')
      if (isA) Object.assign(request.headers, { authorization: 'Bearer token-of-a' })
      return fetch(url, request)
    },
  })
  const others = jetstreamSource({ servers: ['http://c'], fetch })
  const { signal } = new AbortController()
  for (const source of [withToken, others, withToken])
    await source.read(signal).catch(() => undefined)
  const authorized = asked.filter(({ headers }) => 'authorization' in headers)
  expect(new Set(authorized.map(({ url }) => new URL(url).host))).toEqual(new Set(['a']))
  expect(asked.map(({ url }) => new URL(url).host)).toEqual(expect.arrayContaining(['b', 'c']))
})

/** Starts a server, and returns its URL. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('JSON', () => {
  it('keeps all digits of integers that a number cannot hold, as strings', () => {
    const text = '{"a": 18446744073709551615, "b": [9007199254740993 , 9007199254740993], "c": 7}'
    const b = ['9007199254740993', '9007199254740993']
    expect(parseExactJson(text)).toEqual({ a: '18446744073709551615', b, c: 7 })
    const others = { a: 1234567890123456.5, b: -1234567890123456, c: 1.5e300 }
    expect(parseExactJson(JSON.stringify(others))).toEqual(others)
  })

  it('changes nothing inside of strings', () => {
    const value = { 'a 9007199254740993,': ['x\\" : 9007199254740993 ]', '9007199254740993'], b: 1 }
    expect(parseExactJson(JSON.stringify(value))).toEqual(value)
    const both = '{"a": "1, 9007199254740993 ]", "b": 9007199254740993}'
    expect(parseExactJson(both)).toEqual({ a: '1, 9007199254740993 ]', b: '9007199254740993' })
  })

  it('that is cut short or invalid is undefined, at once', () => {
    const long = `{"a": 9007199254740993, "b": "${'x'.repeat(100_000)}`
    const escaped = `{"a": 9007199254740993, "b": "${'\\"'.repeat(100_000)}`
    for (const text of ['', 'x', '{"a": 9007199254740993', '<p>9007199254740993,', long, escaped])
      expect(parseExactJson(text)).toBeUndefined()
  })

  it('parses any other JSON as JSON.parse does', () => {
    const isLong = (text: string) => /\d{16,}/.test(text)
    fc.assert(
      fc.property(fc.json(), (text) => {
        fc.pre(!isLong(text.replace(/"(?:[^"\\]|\\.)*"/g, '')))
        expect(parseExactJson(text)).toEqual(JSON.parse(text))
      }),
    )
  })
})

const error = (code: string, message: string) => Object.assign(new Error(message), { code })

it.each([
  [error('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1'), /: check host and port, and whether/],
  [new TypeError('fetch failed', { cause: error('ENOTFOUND', 'getaddrinfo') }), /host name$/],
  [error('ERR_TLS_CERT_ALTNAME_INVALID', "Host: a. is not in the cert's altnames"), /another host/],
  [error('CERT_HAS_EXPIRED', 'certificate has expired'), /: renew the server's certificate/],
  [error('CERT_NOT_YET_VALID', 'certificate is not yet valid'), /: check the clocks$/],
  [error('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate'), /: set NODE_EXTRA_CA_CERTS/],
  [error('UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'unable to verify'), /: set NODE_EXTRA_CA_CERTS/],
  [error('ERR_SSL_WRONG_VERSION_NUMBER', 'ssl'), /: check whether the port expects TLS$/],
  [error('ECONNRESET', 'socket hang up'), /: check the server, and whether it expects TLS$/],
  [error('EHOSTUNREACH', 'connect'), /: check host, port, network, firewall and server$/],
  [new Error('no answer in time'), /: check host, port, network, firewall and server$/],
  [new Error('something else'), /^etcd: something else$/],
])('an error gets advice: %s', (given, expected) => {
  expect(explain('etcd', given).message).toMatch(expected)
})

it('says where, what, and what to do, and keeps the code and the hint of the server', () => {
  // It comes before what all systems share.
  const advice: Advice = [[/42501/, 'grant pg_monitor to the role']]
  const denied = Object.assign(error('42501', 'ECONNREFUSED'), { hint: 'Ask\n someone.' })
  const explained = explain('PostgreSQL at db:5432', denied, advice)
  expect(explained.message).toBe(
    'PostgreSQL at db:5432: 42501: ECONNREFUSED: grant pg_monitor to the role (HINT: Ask someone.)',
  )
  expect(explained).toMatchObject({ code: '42501' })
})

it.each([undefined, null, 7, 'closed', { code: 7, hint: 7 }])('explains %s', (thrown) => {
  const explained = explain('Redis', thrown)
  expect(explained.message).toMatch(/^Redis: ./)
  expect(explained).not.toHaveProperty('code')
})
