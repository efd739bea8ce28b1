import { etcdSource } from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { jetstreamSource } from 'opentelemetry-instrumentation-replication-lag/sources/jetstream'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fakeFetch, FakeResponse, type FakeRequest } from './http-fakes.js'

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
    await expect(reading).rejects.toThrow(
      /^no endpoint of etcd can be read: https:\/\/a:2379\/etcd\/v3\/maintenance\/status: refused$/,
    )
    expect(requests).toMatchObject([
      {
        url: 'https://a:2379/etcd/v3/maintenance/status',
        method: 'POST',
        body: '{}',
        headers: {
          authorization: `Basic ${btoa('me:p@ss')}`,
          'content-type': 'application/json',
        },
      },
    ])
  })
})

describe('an answer', () => {
  const denied =
    '{"error":"etcdserver: user name is empty","message":"etcdserver: user name is empty"}'

  it.each<[string, unknown, string]>([
    [
      'that denies access',
      new FakeResponse(401, denied),
      'status 401, "etcdserver: user name is empty". ' +
        'Pass a fetch that adds the Authorization header of a user with the right',
    ],
    ['that forbids it', new FakeResponse(403, 'no'), 'status 403, "no". Pass a fetch'],
    ['with another status', new FakeResponse(404, '<html>'), 'status 404, "<html>"'],
    ['with another status and JSON', new FakeResponse(503, '[1]'), 'status 503, an array'],
    ['with another status and null', new FakeResponse(503, 'null'), 'status 503, "null"'],
    ['that is not JSON', new FakeResponse(200, '<html>'), 'the answer is not JSON: "<html>"'],
    ['that is cut short', new FakeResponse(200, '{"a":'), 'the answer is not JSON: "{\\"a\\":"'],
    ['that is null', new FakeResponse(200, 'null'), 'field header is missing'],
    ['that is a number', 7, 'field header is missing'],
  ])('%s is an error that names the URL', async (_, response, message) => {
    await expect(read(['http://a'], () => response)).rejects.toThrow(
      `http://a/v3/maintenance/status: ${message}`,
    )
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

it('a server that does not answer is named by its URL', async () => {
  const source = etcdSource({ endpoints: ['http://127.0.0.1:1'], shard: 'a' })
  await expect(source.read(AbortSignal.timeout(5_000))).rejects.toThrow(
    /^no endpoint of etcd can be read: http:\/\/127.0.0.1:1\/v3\/maintenance\/status: fetch failed \(.*\)$/,
  )
})
