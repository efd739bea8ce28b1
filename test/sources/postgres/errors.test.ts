import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { execa } from 'execa'
import { once } from 'node:events'
import { chmod, chown, writeFile } from 'node:fs/promises'
import { createServer, Socket, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { postgresUser } from '../../servers/postgres/binaries.mjs'
import { read, startCluster } from '../../support/postgres.js'

const { cluster, primary } = await startCluster()

/** Reads through a Pool, and returns the message of the error. */
async function messageOf(config: pg.PoolConfig): Promise<string> {
  const pool = new pg.Pool({ connectionTimeoutMillis: 10_000, ...config })
  pool.on('error', () => undefined)
  onTestFinished(() => pool.end())
  const reading = read(postgresSource({ client: pool, shard: 'pg' }))
  const error = await reading.catch((reason: unknown) => reason as Error)
  expect(error).toBeInstanceOf(Error)
  return (error as Error).message
}

describe('an error', () => {
  const failing = async (code: string | undefined, message: string, client: object = {}) => {
    const error = Object.assign(new Error(message), code !== undefined && { code })
    const query = () => Promise.reject(error)
    const source = postgresSource({ client: { ...client, query }, shard: 'pg' })
    return source.read(new AbortController().signal).catch((reason: unknown) => reason as Error)
  }

  it.each([
    [
      '28P01',
      'password authentication failed for user "monitor"',
      'check the password and the role. In a URL, encode special characters (%40 for @)',
    ],
    ['28000', 'no pg_hba.conf entry for host', 'and whether the server wants SSL'],
    ['42501', 'permission denied for view pg_stat_replication', 'grant pg_monitor to the role'],
    ['57P03', 'the database system is starting up', 'A standby also needs hot_standby = on'],
    ['53300', 'sorry, too many clients already', 'use fewer connections, or raise max_connections'],
    ['57014', 'canceling statement due to statement timeout', 'raise the statement_timeout'],
    ['42P01', 'relation "pg_stat_replication" does not exist', 'needs PostgreSQL 10 or newer'],
    [
      '0A000',
      'Function pg_last_wal_receive_lsn() is currently not supported for Aurora',
      'Aurora replicates in',
    ],
    [
      'ECONNREFUSED',
      'connect ECONNREFUSED 10.0.0.1:5432',
      'check host and port, and whether the server runs',
    ],
    ['ENOTFOUND', 'getaddrinfo ENOTFOUND db.example', 'check the host name'],
    ['ETIMEDOUT', 'connect ETIMEDOUT 10.0.0.1:5432', 'check host, port, network, firewall'],
    [undefined, 'Connection terminated due to connection timeout', 'check host, port, network'],
    [undefined, 'timeout exceeded when trying to connect', 'give the source a Pool of its own'],
    [undefined, 'Client has encountered a connection error and is not queryable', 'use a Pool'],
    [
      '08P01',
      'unsupported startup parameter: statement_timeout',
      'see ignore_startup_parameters of PgBouncer',
    ],
  ])('names server and role, and says what to do: %s %s', async (code, message, advice) => {
    const client = { host: 'db.example', port: 5433, user: 'monitor', password: 'secret' }
    const error = (await failing(code, message, client)) as NodeJS.ErrnoException
    expect(error.message).toMatch(/^PostgreSQL at db\.example:5433, role monitor: /)
    expect(error.message).toContain(message)
    expect(error.message).toContain(advice)
    expect(error.message).not.toContain('secret')
    expect(error.code).toBe(code)
  })

  it('that is not known is passed on', async () => {
    expect(await failing('XX000', 'could not open file')).toMatchObject({
      message: 'PostgreSQL: XX000: could not open file',
      code: 'XX000',
    })
    const query = vi.fn().mockRejectedValue(null)
    const source = postgresSource({ client: { query }, shard: 'pg' })
    await expect(source.read(new AbortController().signal)).rejects.toThrow('PostgreSQL: null')
  })

  it.each<[pg.PoolConfig, string, string]>([
    [{ host: '127.0.0.1', user: 'monitor', password: 'secret' }, '127.0.0.1', 'monitor'],
    [{ connectionString: 'postgres://monitor:secret@127.0.0.1:PORT/x' }, '127.0.0.1', 'monitor'],
    [{ connectionString: 'postgres://monitor:se%2Fcret@localhost:PORT/x' }, 'localhost', 'monitor'],
  ])('of a Pool names host, port and role, never the password: %#', async (config, host, user) => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    const { connectionString, ...rest } = config
    const pool = new pg.Pool({
      ...rest,
      port,
      ...(connectionString !== undefined && {
        connectionString: connectionString.replace('PORT', `${port}`),
      }),
    })
    onTestFinished(() => pool.end())
    const read = postgresSource({ client: pool, shard: 'pg' }).read(new AbortController().signal)
    const error = await read.catch((reason: unknown) => reason as Error)
    const message = (error as Error).message
    expect(message).toMatch(
      new RegExp(`^PostgreSQL at ${host}:${port}, role ${user}: .*ECONNREFUSED`),
    )
    expect(message).not.toMatch(/se.*cret/)
  })

  it('of a Pool with a stream names no address, because the stream reaches the server', async () => {
    // As connectors of managed services do.
    const stream = () => {
      const socket = new Socket()
      const connect = socket.connect.bind(socket)
      return Object.assign(socket, { connect: () => connect(1, '127.0.0.1') })
    }
    expect(await messageOf({ user: 'monitor', stream })).toMatch(
      /^PostgreSQL, role monitor: .*ECONNREFUSED/,
    )
  })

  it('of a Pool without a host says that it is the default', async () => {
    expect(await messageOf({ connectionString: undefined, port: 1 })).toMatch(
      /^PostgreSQL at localhost \(no host is set\):1(, role \w+)?: .*ECONNREFUSED/,
    )
  })
})

describe('a URL', () => {
  const PASSWORDS = [
    'se/cret',
    'se@c/ret',
    '12/secret',
    'se#cret',
    'se?cret@9',
    '9#se@cret',
    '7?secret',
  ]

  it.each(PASSWORDS)(
    'with an unencoded password is explained, without any part of it: %s',
    async (password) => {
      const message = await messageOf({
        connectionString: `postgres://monitor:${password}@127.0.0.1:1/postgres`,
      })
      expect(message).toBe(
        'PostgreSQL: the URL has an @ after its host. Encode special characters of the password: ' +
          '%40 for @, %2F for /, %23 for #, %3F for ?',
      )
    },
  )

  it('may have an @ in its password, because the last one counts', async () => {
    const message = await messageOf({
      connectionString: 'postgres://monitor:se@cret@127.0.0.1:1/x',
    })
    expect(message).toMatch(/^PostgreSQL at 127\.0\.0\.1:1, role monitor: .*ECONNREFUSED/)
    expect(message).not.toContain('cret')
  })

  it.each([
    'postgres://monitor:secret@h1,h2:5432/x',
    'postgres://monitor:secret@h1:5432,h2:5432/x',
  ])('with several hosts is explained: %s', async (connectionString) => {
    expect(await messageOf({ connectionString })).toBe(
      'PostgreSQL: pg does not support several hosts in one URL. Use an address that follows the primary, ' +
        'or one source for each host',
    )
  })

  it('with several hosts is explained, as a parameter and as an option', async () => {
    const connectionString = 'postgres://monitor:secret@/x?host=h1,h2'
    for (const config of [{ connectionString }, { host: 'h1,h2' }]) {
      expect(await messageOf(config)).toMatch(/^PostgreSQL: pg does not support several hosts/)
    }
  })

  it.each(['host=db password=secret', '"postgres://monitor:secret@db/x"', 'monitor:secret@db'])(
    'is expected instead of %s',
    async (connectionString) => {
      expect(await messageOf({ connectionString })).toBe(
        'PostgreSQL: the connection string is not a URL such as postgres://role:password@host/database',
      )
    },
  )

  it.each(['postgres://monitor:secret@[/x', 'postgres://monitor:secret@db:99999/x'])(
    'that is invalid is explained, without its password: %s',
    async (connectionString) => {
      const message = await messageOf({ connectionString })
      expect(message).toMatch(/^PostgreSQL: .*Invalid URL: check the port, and encode special/)
      expect(message).not.toContain('secret')
    },
  )

  it('of a socket may be a path', async () => {
    expect(await messageOf({ connectionString: '/nowhere postgres' })).toMatch(
      /^PostgreSQL at \/nowhere:5432.*ENOENT.*: check the folder of the socket, and whether/,
    )
  })
})

describe('a server that wants a password', () => {
  it('is explained without one, with a wrong one and with another database', async () => {
    const rules = join(cluster.folder, 'pg_hba.conf')
    await writeFile(
      rules,
      'host postgres monitor 127.0.0.1/32 scram-sha-256\n' +
        'host all postgres 127.0.0.1/32 trust\nhost nowhere monitor 127.0.0.1/32 trust\n',
    )
    const node = await cluster.startPrimary({ name: 'strict', conf: { hba_file: rules } })
    await node.query("create role monitor login password 'se%cret'")
    const url = (login: string, database = 'postgres') => ({
      connectionString: `postgres://${login}@127.0.0.1:${node.port}/${database}`,
    })
    expect(await messageOf(url('monitor'))).toMatch(
      /client password must be .*: no password is set: put it into the URL, or set PGPASSWORD/,
    )
    expect(await messageOf(url('monitor:wrong'))).toMatch(
      /role monitor: 28P01: password authentication failed .*: check the password and the role\./,
    )
    expect(await messageOf(url('someone:secret'))).toMatch(
      /role someone: 28000: no pg_hba.conf entry .*: check the role, pg_hba.conf, and whether/,
    )
    expect(await messageOf(url('monitor', 'nowhere'))).toMatch(
      /3D000: database "nowhere" does not exist: name a database that exists, such as postgres/,
    )
  })
})

describe('TLS', () => {
  it('is explained if the server has none', async () => {
    const connectionString = `${primary.url()}?sslmode=require`
    expect(await messageOf({ connectionString })).toMatch(
      /does not support SSL connections: leave out sslmode, or turn on ssl at the server/,
    )
  })

  it('is explained if the certificate is foreign or for another host, and works with sslrootcert', async () => {
    const [key, certificate] = ['key', 'cert'].map((name) =>
      join(cluster.folder, `tls-${name}.pem`),
    )
    const subject = ['-subj', '/CN=db.example', '-addext', 'subjectAltName=DNS:localhost']
    const parameters = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '3650',
      ...subject,
    ]
    await execa('openssl', [...parameters, '-keyout', key ?? '', '-out', certificate ?? ''])
    await chmod(key ?? '', 0o600)
    const user = postgresUser()
    if (user) await chown(key ?? '', user.uid, user.gid)
    const conf = { ssl: true, ssl_key_file: key ?? '', ssl_cert_file: certificate ?? '' }
    const node = await cluster.startPrimary({ name: 'secure', conf })
    const url = (host: string, more = '') =>
      `postgres://postgres@${host}:${node.port}/postgres?sslmode=verify-full${more}`
    expect(await messageOf({ connectionString: url('localhost') })).toMatch(
      /DEPTH_ZERO_SELF_SIGNED_CERT.*: .*sslrootcert=.*NODE_EXTRA_CA_CERTS/,
    )
    const trusted = `&sslrootcert=${certificate}`
    expect(await messageOf({ connectionString: url('127.0.0.1', trusted) })).toMatch(
      /ERR_TLS_CERT_ALTNAME_INVALID.*: the certificate is for another host: use a name/,
    )
    const pool = new pg.Pool({ connectionString: url('localhost', trusted) })
    onTestFinished(() => pool.end())
    const { shards } = await read(postgresSource({ client: pool, shard: 'pg' }))
    expect(shards).toHaveLength(1)
  })
})

describe('the hint of PostgreSQL', () => {
  it('is kept', async () => {
    const error = Object.assign(new Error('no such thing'), { code: '42883', hint: 'Cast it.' })
    const client = { query: () => Promise.reject(error) }
    await expect(read(postgresSource({ client, shard: 'pg' }))).rejects.toThrow(
      /no such thing.*\(HINT: Cast it\.\)/,
    )
  })
})
