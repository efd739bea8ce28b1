import {
  postgresSource,
  type PostgresSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { execa } from 'execa'
import { once } from 'node:events'
import { chmod, chown } from 'node:fs/promises'
import { createServer, Socket, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { postgresUser } from '../../servers/postgres/binaries.mjs'
import { eventually } from '../../support/eventually.js'
import { read, startCluster } from '../../support/postgres.js'
import { describeOptions } from '../shared/describe-options.js'
import { IDLE_SLOT, NODE } from './answers.js'

const { cluster } = await startCluster()

const answer = { rows: [NODE] }
const answering = () => Promise.resolve(answer)
const hanging = () => new Promise<typeof answer>(() => undefined)

/** A pool whose connections and answers come when the test wants them to. */
class FakePool {
  readonly totalCount = 0
  readonly released: (boolean | undefined)[] = []
  readonly waiting: { resolve: () => void; reject: (error: Error) => void }[] = []
  listeners = 0
  onUse: () => void = () => undefined

  constructor(private readonly query: (text: string) => Promise<{ rows: unknown[] }>) {}

  private readonly connection = {
    query: (text: string) => this.query(text),
    release: (destroy?: boolean) => void this.released.push(destroy),
    on: () => {
      this.listeners++
      this.onUse()
    },
    off: () => --this.listeners,
  }

  connect() {
    return new Promise<typeof this.connection>((resolve, reject) => {
      this.waiting.push({ resolve: () => resolve(this.connection), reject })
    })
  }

  connectNext() {
    this.waiting.shift()?.resolve()
  }
}

/** Returns a function that begins a read. */
function readerOf(client: PostgresSourceOptions['client']) {
  const source = postgresSource({ client, shard: 'pg' })
  return () => {
    const abort = new AbortController()
    const read = source.read(abort.signal)
    read.catch(() => undefined)
    return { read, abort: () => abort.abort(new Error('no time left')) }
  }
}

describe('a read through a Pool', () => {
  const LATE = 'no time left'
  const failing = () => Promise.reject(new Error('broken'))

  it.each<
    [title: string, query: FakePool['query'], abort: string, error: string, released: boolean]
  >([
    ['returns its connection', answering, '', '', false],
    ['destroys its connection when the query fails', failing, '', 'broken', true],
    ['destroys its connection when it is aborted during the query', hanging, 'asked', LATE, true],
    ['settles when it is aborted as its connection arrives', hanging, 'connected', LATE, true],
  ])('%s', async (_, query, abortWhen, error, isDestroyed) => {
    const pool = new FakePool(query)
    const { read, abort } = readerOf(pool)()
    if (abortWhen === 'connected') pool.onUse = abort
    pool.connectNext()
    if (abortWhen === 'asked') {
      await eventually(() => expect(pool.listeners).toBe(1))
      abort()
    }
    if (error === '') expect((await read).shards).toHaveLength(1)
    else await expect(read).rejects.toThrow(error)
    expect(pool.released).toEqual([isDestroyed])
    expect(pool.listeners).toBe(0)
  })

  it('settles when it is aborted while it waits, and releases the connection that arrives late', async () => {
    const pool = new FakePool(answering)
    const { read, abort } = readerOf(pool)()
    abort()
    await expect(read).rejects.toThrow(LATE)
    expect(pool.released).toEqual([])
    pool.connectNext()
    await eventually(() => expect(pool.released).toEqual([undefined]))
  })

  it('does nothing if it was aborted before', async () => {
    const pool = new FakePool(answering)
    const source = postgresSource({ client: pool, shard: 'pg' })
    await expect(source.read(AbortSignal.abort(new Error('stopped')))).rejects.toThrow('stopped')
    expect(pool.waiting).toEqual([])
  })

  it('waits for two connections at most, and says that connectionTimeoutMillis is missing', async () => {
    const pool = new FakePool(answering)
    const start = readerOf(pool)
    for (let number = 0; number < 2; number++) {
      const { read, abort } = start()
      abort()
      await expect(read).rejects.toThrow(LATE)
    }
    await expect(start().read).rejects.toThrow(
      'PostgreSQL: 2 reads are still waiting for a connection from the Pool: it has no connectionTimeoutMillis, ' +
        'or one that exceeds the poll timeout',
    )
    expect(pool.waiting).toHaveLength(2)
    pool.connectNext()
    pool.waiting.shift()?.reject(new Error('refused'))
    await eventually(() => expect(pool.released).toEqual([undefined]))
    const { read } = start()
    pool.connectNext()
    await read
  })

  it.each([
    ['a minute while all is well', NODE, 60_000],
    ['5 s while a follower is not connected', IDLE_SLOT, 5000],
  ])(
    'keeps a connection for %s: polling would keep it on a server that the address has left',
    async (_, row, limit) => {
      const now = vi.spyOn(performance, 'now').mockReturnValue(1000)
      onTestFinished(() => now.mockRestore())
      const pool = new FakePool(() => Promise.resolve({ rows: [row] }))
      const start = readerOf(pool)
      for (const at of [0, limit - 1, limit, limit + 1]) {
        now.mockReturnValue(1000 + at)
        const { read } = start()
        pool.connectNext()
        await read
      }
      expect(pool.released).toEqual([false, false, true, true])
    },
  )

  it('fails when the Pool stops waiting for a server that never answers, and asks again', async () => {
    const sockets: Socket[] = []
    const server = createServer((socket) => sockets.push(socket.on('error', () => undefined)))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const pool = new pg.Pool({ host: '127.0.0.1', port, max: 1, connectionTimeoutMillis: 50 })
    onTestFinished(() => pool.end())
    const source = postgresSource({ client: pool, shard: 'pg' })
    for (const attempts of [1, 2]) {
      await expect(read(source)).rejects.toThrow(
        /connection timeout .*: check host, port, network, firewall, and the server$/,
      )
      expect(sockets).toHaveLength(attempts)
    }
    for (const socket of sockets) socket.destroy()
  })
})

it('a read through a Client settles only when the server has answered, even if it is aborted', async () => {
  const settle: { resolve?: (value: typeof answer) => void; reject?: (error: Error) => void } = {}
  const query = () =>
    new Promise<typeof answer>((resolve, reject) => Object.assign(settle, { resolve, reject }))
  const start = readerOf({ query })
  const { read, abort } = start()
  let isSettled = false
  void read.finally(() => (isSettled = true))
  abort()
  await new Promise(setImmediate)
  expect(isSettled).toBe(false)
  settle.resolve?.(answer)
  await read
  const second = start()
  second.abort()
  settle.reject?.(new Error('Connection terminated'))
  await expect(second.read).rejects.toThrow('Connection terminated')
})

it('a service that refuses the pg_control functions is read without them, and its epoch is the timeline alone', async () => {
  const texts: string[] = []
  const query = (text: string) => {
    texts.push(text)
    return text.includes('pg_control_')
      ? Promise.reject(new Error('permission denied for function pg_control_system'))
      : Promise.resolve({ rows: [{ ...NODE, system_identifier: 'unknown' }] })
  }
  const start = readerOf({ query })
  for (let poll = 0; poll < 2; poll++) {
    expect((await start().read).shards[0]?.epoch).toBe('unknown/1')
  }
  expect(texts).toHaveLength(3)
})

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
  it.each([
    [
      '28P01',
      'password authentication failed',
      'check the password and the role. In a URL, encode',
    ],
    ['28000', 'no pg_hba.conf entry for host', 'and whether the server wants SSL'],
    ['3D000', 'database "nowhere" does not exist', 'name a database that exists, such as postgres'],
    ['42501', 'permission denied for view pg_stat_replication', 'grant pg_monitor to the role'],
    ['57P03', 'the database system is starting up', 'A standby also needs hot_standby = on'],
    ['53300', 'sorry, too many clients already', 'use fewer connections, or raise max_connections'],
    ['57014', 'canceling statement due to statement timeout', 'raise the statement_timeout'],
    ['42P01', 'relation "pg_stat_replication" does not exist', 'needs PostgreSQL 10 or newer'],
    ['0A000', 'currently not supported for Aurora', 'Aurora replicates in'],
    [
      undefined,
      'SASL: client password must be a string',
      'set: put it into the URL, or set PGPASSWORD',
    ],
    [undefined, 'The server does not support SSL connections', 'or turn on ssl at the server'],
    [undefined, 'Connection terminated due to connection timeout', 'check host, port, network'],
    [undefined, 'timeout exceeded when trying to connect', 'give the source a Pool of its own'],
    [undefined, 'Client has encountered a connection error and is not queryable', 'use a Pool'],
    ['08P01', 'unsupported startup parameter: statement_timeout', 'see ignore_startup_parameters'],
  ])('names server and role, and says what to do: %s %s', async (code, message, advice) => {
    const error = Object.assign(new Error(message), code !== undefined && { code })
    const query = () => Promise.reject(error)
    const client = { host: 'db.example', port: 5433, user: 'monitor', password: 'secret', query }
    const reading = read(postgresSource({ client, shard: 'pg' }))
    const thrown = (await reading.catch((each: unknown) => each)) as NodeJS.ErrnoException
    const text = thrown.message
    expect(text).toMatch(/^PostgreSQL at db\.example:5433, role monitor: /)
    expect(text).toContain(message)
    expect(text).toContain(advice)
    expect(text).not.toContain('secret')
    expect(thrown.code).toBe(code)
  })

  it('may be anything', async () => {
    const client = { query: vi.fn().mockRejectedValue(null) }
    await expect(read(postgresSource({ client, shard: 'pg' }))).rejects.toThrow('PostgreSQL: null')
  })

  const url = (password: string, host: string) => ({
    connectionString: `postgres://monitor:${password}@${host}:1/x`,
  })
  it.each<[pg.PoolConfig, string]>([
    [{ host: '127.0.0.1', port: 1, user: 'monitor', password: 'secret' }, '127.0.0.1'],
    [url('secret', '127.0.0.1'), '127.0.0.1'],
    [url('se%2Fcret', 'localhost'), 'localhost'],
    // The last @ counts.
    [url('se@cret', '127.0.0.1'), '127.0.0.1'],
  ])('of a Pool names host, port and role, never the password: %#', async (config, host) => {
    const message = await messageOf(config)
    expect(message).toMatch(new RegExp(`^PostgreSQL at ${host}:1, role monitor: .*ECONNREFUSED`))
    expect(message).not.toMatch(/cret/)
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
  const PASSWORDS = 'se/cret se@c/ret 12/secret se#cret se?cret@9 9#se@cret 7?secret'.split(' ')
  it.each(PASSWORDS)(
    'with an unencoded password is explained, without any part of it: %s',
    async (password) => {
      const connectionString = `postgres://monitor:${password}@127.0.0.1:1/postgres`
      expect(await messageOf({ connectionString })).toBe(
        'PostgreSQL: the URL has an @ after its host. Encode special characters of the password: ' +
          '%40 for @, %2F for /, %23 for #, %3F for ?',
      )
    },
  )

  it.each<pg.PoolConfig>([
    { connectionString: 'postgres://monitor:secret@h1,h2:5432/x' },
    { connectionString: 'postgres://monitor:secret@h1:5432,h2:5432/x' },
    { connectionString: 'postgres://monitor:secret@/x?host=h1,h2' },
    { host: 'h1,h2' },
  ])('with several hosts is explained: %o', async (config) => {
    expect(await messageOf(config)).toBe(
      'PostgreSQL: pg does not support several hosts in one URL. Use an address that follows the primary, ' +
        'or one source for each host',
    )
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

it('TLS is explained if the certificate is foreign or for another host, and works with sslrootcert', async () => {
  const key = join(cluster.folder, 'tls-key.pem')
  const certificate = join(cluster.folder, 'tls-cert.pem')
  const command = `req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=db.example
      -addext subjectAltName=DNS:localhost -keyout ${key} -out ${certificate}`
  await execa('openssl', command.split(/\s+/))
  await chmod(key, 0o600)
  const user = postgresUser()
  if (user) await chown(key, user.uid, user.gid)
  const conf = { ssl: true, ssl_key_file: key, ssl_cert_file: certificate }
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

const create = (options: unknown) => postgresSource(options as PostgresSourceOptions)
const valid = { client: { query: () => Promise.resolve({ rows: [] }) }, shard: 7 }
describeOptions(create, valid, 'postgres:7', [
  [{ client: undefined }, 'client: expected a Pool or a connected Client of pg, got undefined'],
  [{ client: null }, 'client: expected a Pool or a connected Client of pg, got null'],
  [{ client: { connect: () => 1 } }, 'client: expected a Pool'],
  [{ client: { totalCount: 0, query: 1 } }, 'client: expected a Pool'],
  [{ shard: undefined }, 'shard: expected a non-empty'],
  [{ shard: -1 }, 'shard: expected a non-empty'],
  [{ intermittent: true }, 'intermittent: expected a function, got true'],
  [{ expect: 's1' }, 'expect: expected an array of names, got "s1"'],
  [{ expect: ['s1', ''] }, 'expect: expected an array of names, got an array'],
])

it.each([
  ['postgres://monitor:secret@db/postgres', '"postgres:…"'],
  ['host=db password=secret', '"host=…"'],
  // Drizzle has an object `query`, Prisma and Kysely have other methods.
  [{ query: {}, execute: () => Promise.resolve() }, 'an object'],
  [{ $queryRaw: () => Promise.resolve() }, 'an object'],
])(
  'a string or an ORM is refused as a client, and its password is not shown: %j',
  (client, shown) => {
    expect(() => create({ client, shard: 'a' })).toThrow(
      `client: expected a Pool or a connected Client of pg, got ${shown}`,
    )
  },
)

it.each([
  ['undefined', undefined],
  // Sequelize answers with rows and metadata, TypeORM and pg-promise with the rows.
  ['an array', [[{ role_name: 'monitor' }], {}]],
  ['an object', { rows: 1 }],
])('an ORM that answers with %s is refused at the first read', async (shown, answer) => {
  const source = create({ client: { query: () => Promise.resolve(answer) }, shard: 'a' })
  await expect(source.read(new AbortController().signal)).rejects.toThrow(
    `client: expected a Pool or a connected Client of pg, whose queries return rows, got ${shown}`,
  )
})
