import { createServer, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { request as askByTls, type RequestOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import {
  etcdSource,
  type EtcdSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/etcd'
import { expect, it, onTestFinished } from 'vitest'
import { etcd, etcd36 } from '../../servers/etcd.mjs'
import { freePort } from '../../servers/postgres/processes.mjs'
import { run, Servers } from '../../servers/servers.mjs'
import { eventually } from '../../support/eventually.js'
import { describeInstalled } from '../contract.js'

type Flags = Readonly<Record<string, string | number | boolean>>

/** Starts one member. Returns its URL, and the folder that it runs in. */
async function startMember(program: string, scheme: string, flags: Flags = {}) {
  const servers = await Servers.create()
  onTestFinished(() => servers.stop())
  const folder = await servers.folderOf('e1')
  await createCertificates(folder)
  const url = `${scheme}://127.0.0.1:${await freePort()}`
  const peer = `http://127.0.0.1:${await freePort()}`
  const all = {
    name: 'e1',
    'data-dir': 'data',
    'listen-client-urls': url,
    'advertise-client-urls': url,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': `e1=${peer}`,
    ...(scheme === 'https' && { 'cert-file': 'server.crt', 'key-file': 'server.key' }),
    ...flags,
  }
  const parameters = Object.entries(all).map(([flag, value]) => `--${flag}=${value}`)
  await servers.start('e1', program, parameters)
  return { url, peer, folder }
}

/** A server's certificate that cannot be used as a client's, and a client's. */
async function createCertificates(folder: string): Promise<void> {
  const create = (name: string, more = '') => {
    const command = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2
      -subj /CN=${name} -keyout ${name}.key -out ${name}.crt ${more}`
    return run('openssl', command.trim().split(/\s+/), { cwd: folder })
  }
  await create('ca')
  const signed = '-CA ca.crt -CAkey ca.key -addext basicConstraints=CA:FALSE -addext'
  const address = '-addext subjectAltName=IP:127.0.0.1'
  await create('server', `${signed} extendedKeyUsage=serverAuth ${address}`)
  await create('client', `${signed} extendedKeyUsage=clientAuth`)
}

/** A `fetch` with options of `node:https`. */
function fetchByTls(options: RequestOptions): NonNullable<EtcdSourceOptions['fetch']> {
  return async (url, { method, headers, body, signal }) => {
    const request = askByTls(url, { ...options, method, headers, signal })
    request.end(body)
    const [response] = (await once(request, 'response', { signal })) as [IncomingMessage]
    const text = (await response.setEncoding('utf8').toArray()).join('')
    const { statusCode: status = 0 } = response
    return { ok: status === 200, status, text: () => Promise.resolve(text) }
  }
}

/** Waits until a read fails like this: the server may not listen yet. */
async function expectError(
  url: string,
  message: string | RegExp,
  fetch?: EtcdSourceOptions['fetch'],
) {
  const source = etcdSource({ endpoints: [url], shard: 'registry', fetch })
  await eventually(async () => {
    await expect(source.read(AbortSignal.timeout(5_000))).rejects.toThrow(message)
  })
}

for (const kind of [etcd, etcd36]) {
  await describeInstalled(kind, () => {
    const { program } = kind

    it('says what to do where there is no gateway', async () => {
      const { url, peer } = await startMember(program, 'http', { 'enable-grpc-gateway': false })
      const message = 'it has no JSON gateway. Give a client URL, not a peer URL'
      await expectError(url, message)
      await expectError(peer, message)
    })

    it('says what to do where the scheme is wrong, and where the certificate is not trusted', async () => {
      const plain = await startMember(program, 'http')
      await expectError(
        plain.url.replace('http:', 'https:'),
        'check the server, and whether it expects TLS',
      )
      const tls = await startMember(program, 'https')
      await expectError(
        tls.url.replace('https:', 'http:'),
        'check whether the server expects TLS or a client certificate',
      )
      await expectError(tls.url, 'the certificate is not trusted: set NODE_EXTRA_CA_CERTS')
    })

    it('says what to do where a client certificate is required, even by the gateway from itself', async () => {
      const { url, folder } = await startMember(program, 'https', {
        'client-cert-auth': true,
        'trusted-ca-file': 'ca.crt',
      })
      const read = (name: string) => readFile(join(folder, name))
      const ca = await read('ca.crt')
      const required = 'check whether the server expects TLS or a client certificate'
      await expectError(url, required, fetchByTls({ ca }))
      const [cert, key] = [await read('client.crt'), await read('client.key')]
      const withCertificate = fetchByTls({ ca, cert, key })
      await expectError(url, 'its certificate must allow clientAuth too', withCertificate)
    })
  })
}

await describeInstalled(etcd36, () => {
  it('says what to do at a port that answers gRPC only', async () => {
    const json = `http://127.0.0.1:${await freePort()}`
    const { url } = await startMember(etcd36.program, 'http', { 'listen-client-http-urls': json })
    await expectError(url, 'this port answers gRPC only. Give the URL of --listen-client-http-urls')
    const source = etcdSource({ endpoints: [json], shard: 'registry' })
    const { shards } = await source.read(AbortSignal.timeout(5_000))
    expect(shards).toMatchObject([{ shard: 'registry', followers: [] }])
  })
})

it('says what to do at a server that is no etcd', async () => {
  const server = createServer((_, response) => response.end('<html>Welcome</html>'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  await expectError(
    `http://127.0.0.1:${port}`,
    'this is not an etcd server. Give the client URL of a member',
  )
})
