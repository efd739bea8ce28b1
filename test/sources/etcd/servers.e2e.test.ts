import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request as askByTls, type RequestOptions } from 'node:https'
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
import { describeContract, describeInstalled, useStarted } from '../contract.js'
import { read, readShard, untilSeen } from '../shared/systems.js'

const shard = 'registry'

for (const kind of [etcd, etcd36]) {
  await describeInstalled(kind, () => {
    const cannot = { claim: 'members that do not know of the newest term are not followed' }
    describeContract(kind, { findsLeader: true, cannot })
  })

  await describeInstalled(kind, () => {
    const cluster = useStarted((servers) => kind.start(servers))
    const connectToOne = (index: number) =>
      etcdSource({ endpoints: cluster().endpoints.slice(index).slice(0, 1), shard })
    const untilCaughtUp = async (source: ReturnType<typeof etcdSource>) => {
      for (const name of cluster().followers)
        await untilSeen(source, shard, name, { connected: true, lag: 0 })
    }

    it('finds all members from one endpoint', async () => {
      for (const index of [0, 1, 2]) {
        const source = connectToOne(index)
        expect(await readShard(source, shard)).toMatchObject({ complete: true })
        await untilCaughtUp(source)
      }
    })

    it('finds a learner: by its id until it is started, then by its name, until it is removed', async () => {
      const id = await cluster().addLearner('learner')
      const hex = BigInt(id).toString(16)
      const { source } = await cluster().connect()
      const problem = 'cannot be read: it was never started'
      await untilSeen(source, shard, hex, { connected: false, lag: undefined, problem })
      await cluster().startLearner('learner')
      await untilSeen(source, shard, 'learner', { connected: true, lag: 0 })
      expect((await readShard(source, shard)).seen).not.toHaveProperty(hex)
      await cluster().cut('learner')
      await cluster().write(30)
      await untilSeen(source, shard, 'learner', { lag: 30 })
      await cluster().mend()
      await untilSeen(source, shard, 'learner', { lag: 0 })
      await expect(read(connectToOne(3))).rejects.toThrow('it is a learner. Give the URL of a')
      await cluster().removeLearner('learner', id)
      const { seen, complete } = await readShard(source, shard)
      expect(Object.keys(seen).sort()).toEqual([...cluster().followers].sort())
      expect(complete).toBe(true)
    })

    it('finds another epoch in a cluster that was rebuilt with the same ids', async () => {
      const { source } = await cluster().connect()
      await cluster().write(50)
      const before = await readShard(source, shard)
      await cluster().rebuild()
      await eventually(async () => {
        const after = await readShard(source, shard)
        expect(BigInt(after.leaderSeqno ?? 0)).toBeLessThan(BigInt(before.leaderSeqno ?? 0))
        // The ids are the same, only the count of histories is another one.
        expect(after.epoch).toBe(before.epoch?.replace('/0', '/1'))
      })
      await untilCaughtUp(source)
    })

    it('is read with a token that the fetch adds, without a raft entry for each read', async () => {
      const { leaderName: leader, endpoints } = cluster()
      const user = { name: 'root', password: 'secret' }
      const ask = (path: string, question?: object) => cluster().ask(leader, path, question)
      await ask('auth/user/add', user)
      await ask('auth/role/add', { name: 'root' })
      await ask('auth/user/grant', { user: 'root', role: 'root' })
      await ask('auth/enable')
      const { token } = (await ask('auth/authenticate', user)) as { token: string }
      const source = etcdSource({
        endpoints: endpoints.slice(0, 1),
        shard,
        fetch: (url, { headers, ...request }) =>
          fetch(url, { ...request, headers: { ...headers, authorization: token } }),
      })
      await untilCaughtUp(source)
      const { leaderSeqno } = await readShard(source, shard)
      for (let i = 0; i < 10; i++) await read(source)
      expect((await readShard(source, shard)).leaderSeqno).toBe(leaderSeqno)
      if (kind === etcd) return
      await expect(read(etcdSource({ endpoints, shard }))).rejects.toThrow(
        /user name is empty.*: authentication is on. Pass a fetch that adds the token of a user/,
      )
    })
  })

  await describeInstalled(kind, () => {
    it('says what to do where there is no gateway', async () => {
      const { url, peer } = await startMember(kind.program, 'http', {
        'enable-grpc-gateway': false,
      })
      const message = 'it has no JSON gateway. Give a client URL, not a peer URL'
      for (const each of [url, peer]) await expectError(each, message)
    })

    it('says what to do where TLS is missing or not expected, a certificate is not trusted, or a client needs one', async () => {
      const plain = await startMember(kind.program, 'http')
      const expectsTls = 'check the server, and whether it expects TLS'
      await expectError(plain.url.replace('http:', 'https:'), expectsTls)
      const flags = { 'client-cert-auth': true, 'trusted-ca-file': 'ca.crt' }
      const { url, folder } = await startMember(kind.program, 'https', flags)
      const required = 'check whether the server expects TLS or a client certificate'
      await expectError(url.replace('https:', 'http:'), required)
      await expectError(url, 'the certificate is not trusted: set NODE_EXTRA_CA_CERTS')
      const files = ['ca.crt', 'client.crt', 'client.key'].map((name) =>
        readFile(join(folder, name)),
      )
      const [ca, cert, key] = await Promise.all(files)
      await expectError(url, required, fetchByTls({ ca }))
      // The gateway connects to itself with the certificate of the server.
      const certificate = fetchByTls({ ca, cert, key })
      await expectError(url, 'its certificate must allow clientAuth too', certificate)
    })
  })
}

await describeInstalled(etcd36, () => {
  it('says what to do at a port that answers gRPC only', async () => {
    const json = `http://127.0.0.1:${await freePort()}`
    const { url } = await startMember(etcd36.program, 'http', { 'listen-client-http-urls': json })
    await expectError(url, 'this port answers gRPC only. Give the URL of --listen-client-http-urls')
    expect((await read(etcdSource({ endpoints: [json], shard }))).shards).toHaveLength(1)
  })
})

type Flags = Readonly<Record<string, string | number | boolean>>

/** Starts one member. Returns its URLs, and the folder that it runs in. */
async function startMember(program: string, scheme: string, flags: Flags = {}) {
  const servers = await Servers.create()
  onTestFinished(() => servers.stop())
  const folder = await servers.folderOf('e1')
  if (scheme === 'https') await createCertificates(folder)
  const url = `${scheme}://127.0.0.1:${await freePort()}`
  const peer = `http://127.0.0.1:${await freePort()}`
  const all = {
    ...{ name: 'e1', 'data-dir': 'data', 'initial-cluster': `e1=${peer}` },
    ...{ 'listen-client-urls': url, 'advertise-client-urls': url },
    ...{ 'listen-peer-urls': peer, 'initial-advertise-peer-urls': peer },
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
async function expectError(url: string, message: string, fetch?: EtcdSourceOptions['fetch']) {
  const source = etcdSource({ endpoints: [url], shard, fetch })
  await eventually(() => expect(read(source)).rejects.toThrow(message))
}
