import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { kafka, type KafkaCluster } from '../servers/kafka.mjs'
import { mariadb } from '../servers/mariadb.mjs'
import type { Family } from '../servers/mysql-family.mjs'
import { mysql } from '../servers/mysql.mjs'
import type { System } from '../servers/system.js'
import { describeInstalled, useStarted } from '../sources/contract.js'
import { useBuiltPackage } from '../support/built-package.js'
import { eventually } from '../support/eventually.js'
import { Program } from '../support/program.js'
import { repository } from '../support/repository.js'

// Servers with a certificate of a trusted authority, for this host or for another one.

const built = await useBuiltPackage()

/** Creates an authority, and a certificate of it for some names. */
async function createCertificates(names: string) {
  const folder = await mkdtemp(join(tmpdir(), 'replication-lag-tls-'))
  const file = (name: string) => join(folder, name)
  const openssl = (...parameters: string[]) =>
    execFileSync('openssl', parameters, { cwd: folder, stdio: 'pipe' })
  const newKey = ['-newkey', 'rsa:2048', '-nodes']
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=authority',
  )
  openssl('req', ...newKey, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=server')
  await writeFile(file('names'), `subjectAltName=${names}\n`)
  const authority = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial']
  const request = ['-req', '-in', 'server.csr', '-out', 'server.pem', '-extfile', 'names']
  openssl('x509', ...request, ...authority)
  const [key, certificate] = [file('server.key'), file('server.pem')]
  const both = await Promise.all([key, certificate].map((each) => readFile(each, 'utf8')))
  await writeFile(file('both.pem'), both.join(''))
  onTestFinished(() => rm(folder, { recursive: true }))
  return { authority: file('ca.pem'), key, certificate, both: file('both.pem') }
}

type Certificates = Awaited<ReturnType<typeof createCertificates>>

/** Starts the leader with other certificates, and returns its port. */
type Restart = (system: System, certificates: Certificates) => Promise<number>

const restartMysql: Restart = async (system, { key, certificate }) => {
  const { leader } = system as unknown as Family
  await leader.kill()
  await leader.start([`--ssl-cert=${certificate}`, `--ssl-key=${key}`])
  return leader.port
}

const restartKafka: Restart = async (system, { both }) => {
  const cluster = system as unknown as KafkaCluster
  await cluster.useCertificate(both)
  return cluster.brokers[0].gate.port
}

for (const [kind, restart] of [
  [mariadb, restartMysql],
  [mysql, restartMysql],
  [kafka, restartKafka],
] as const) {
  await describeInstalled(kind, () => {
    const system = useStarted<System>((servers) => kind.start(servers))
    /** Starts the leader with other certificates, and a program that reports it. */
    async function start(names: string, host: string) {
      const certificates = await createCertificates(names)
      const port = await restart(system(), certificates)
      const scheme = system().url.replace(/:.*/s, '')
      const program = new Program(
        [
          '--import',
          'opentelemetry-instrumentation-replication-lag/register',
          `${repository}/test/register/program.mjs`,
        ],
        {
          cwd: built.folder,
          env: {
            NODE_EXTRA_CA_CERTS: certificates.authority,
            REPLICATION_LAG_SOURCES: `orders=${scheme}://monitor:monitor@${host}:${port}?ssl=true`,
          },
        },
      )
      onTestFinished(() => program.stop())
      return program
    }
    const isUp = '{"name":"replication_source_up","points":[{"source"'

    test.each([
      // A broker of Kafka is connected to at the address that it advertises, too.
      ['DNS:localhost,IP:127.0.0.1', 'localhost'],
      ['IP:127.0.0.1', '127.0.0.1'],
    ])('is reported with a certificate for %s at %s', async (names, host) => {
      const program = await start(names, host)
      await eventually(() => {
        const line = program.stdout.split('\n').findLast((each) => each.startsWith(isUp))
        expect(line).toContain('"value":1')
      })
      expect(program.stderr).toBe('')
    })

    test.each([
      ['DNS:blog.example', 'localhost'],
      ['DNS:localhost', '127.0.0.1'],
    ])('is refused with a certificate for %s at %s', async (names, host) => {
      const program = await start(names, host)
      await eventually(() =>
        expect(program.stderr).toMatch(
          /does not match certificate.*: the certificate is for another host/,
        ),
      )
      expect(program.stdout).not.toContain('"value":1')
      expect(program.stderr).not.toContain('monitor:monitor')
    })
  })
}
