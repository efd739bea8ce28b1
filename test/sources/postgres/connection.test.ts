import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import pg from 'pg'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { NODE } from './answers.js'

const answer = { rows: [NODE] }

/** A pool whose connections and answers come when the test wants them to. */
class FakePool {
  readonly totalCount = 0
  readonly released: (boolean | undefined)[] = []
  readonly waiting: { resolve: () => void; reject: (error: Error) => void }[] = []
  listeners = 0
  onUse: () => void = () => undefined

  constructor(private readonly query: (text: string) => Promise<{ rows: unknown[] }>) {}

  connect() {
    const connection = {
      query: this.query,
      release: (destroy?: boolean) => void this.released.push(destroy),
      on: () => {
        this.listeners++
        this.onUse()
      },
      off: () => --this.listeners,
    }
    return new Promise<typeof connection>((resolve, reject) => {
      this.waiting.push({ resolve: () => resolve(connection), reject })
    })
  }

  connectNext() {
    this.waiting.shift()?.resolve()
  }
}

function startRead(pool: FakePool) {
  const source = postgresSource({ client: pool, shard: 'pg' })
  return () => {
    const abort = new AbortController()
    const read = source.read(abort.signal)
    read.catch(() => undefined)
    return { read, abort: () => abort.abort(new Error('no time left')) }
  }
}

describe('a read through a Pool', () => {
  it('returns its connection', async () => {
    const pool = new FakePool(() => Promise.resolve(answer))
    const { read } = startRead(pool)()
    pool.connectNext()
    expect((await read).shards).toHaveLength(1)
    expect(pool.released).toEqual([false])
    expect(pool.listeners).toBe(0)
  })

  it('destroys its connection when the query fails', async () => {
    const pool = new FakePool(() => Promise.reject(new Error('broken')))
    const { read } = startRead(pool)()
    pool.connectNext()
    await expect(read).rejects.toThrow('broken')
    expect(pool.released).toEqual([true])
    expect(pool.listeners).toBe(0)
  })

  it('settles when it is aborted during the query, and destroys its connection', async () => {
    const pool = new FakePool(() => new Promise(() => undefined))
    const { read, abort } = startRead(pool)()
    pool.connectNext()
    await eventually(() => expect(pool.listeners).toBe(1))
    abort()
    await expect(read).rejects.toThrow('no time left')
    expect(pool.released).toEqual([true])
    expect(pool.listeners).toBe(0)
  })

  it('settles when it is aborted while it waits, and releases the connection that arrives late', async () => {
    const pool = new FakePool(() => Promise.resolve(answer))
    const { read, abort } = startRead(pool)()
    abort()
    await expect(read).rejects.toThrow('no time left')
    expect(pool.released).toEqual([])
    pool.connectNext()
    await eventually(() => expect(pool.released).toEqual([undefined]))
  })

  it('settles when it is aborted at the moment in which its connection arrives', async () => {
    const pool = new FakePool(() => new Promise(() => undefined))
    const { read, abort } = startRead(pool)()
    pool.onUse = abort
    pool.connectNext()
    await expect(read).rejects.toThrow('no time left')
    expect(pool.released).toEqual([true])
  })

  it('does nothing if it was aborted before', async () => {
    const pool = new FakePool(() => Promise.resolve(answer))
    const source = postgresSource({ client: pool, shard: 'pg' })
    await expect(source.read(AbortSignal.abort(new Error('stopped')))).rejects.toThrow('stopped')
    expect(pool.waiting).toEqual([])
  })

  it('waits for two connections at most, and says that connectionTimeoutMillis is missing', async () => {
    const pool = new FakePool(() => Promise.resolve(answer))
    const start = startRead(pool)
    for (let number = 0; number < 2; number++) {
      const { read, abort } = start()
      abort()
      await expect(read).rejects.toThrow('no time left')
    }
    await expect(start().read).rejects.toThrow(
      'PostgreSQL: 2 reads still wait for a connection of the Pool: it has no connectionTimeoutMillis, ' +
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
})

describe('a read through a Client', () => {
  it('settles only when the server has answered, also if it is aborted', async () => {
    let respond: (value: typeof answer) => void = () => undefined
    const query = () => new Promise<typeof answer>((resolve) => (respond = resolve))
    const abort = new AbortController()
    const read = postgresSource({ client: { query }, shard: 'pg' }).read(abort.signal)
    let isSettled = false
    void read.finally(() => (isSettled = true))
    abort.abort()
    await new Promise(setImmediate)
    expect(isSettled).toBe(false)
    respond(answer)
    await read
  })

  it('rejects if it fails after it was aborted', async () => {
    let fail: (error: Error) => void = () => undefined
    const query = () => new Promise<typeof answer>((_, reject) => (fail = reject))
    const abort = new AbortController()
    const read = postgresSource({ client: { query }, shard: 'pg' }).read(abort.signal)
    abort.abort(new Error('no time left'))
    fail(new Error('Connection terminated'))
    await expect(read).rejects.toThrow('Connection terminated')
  })
})

describe('a service that refuses the pg_control functions', () => {
  it('is read without them, and its epoch is the timeline alone', async () => {
    const texts: string[] = []
    const query = (text: string) => {
      texts.push(text)
      if (text.includes('pg_control_')) {
        return Promise.reject(new Error('permission denied for function pg_control_system'))
      }
      return Promise.resolve({ rows: [{ ...NODE, system_identifier: 'unknown' }] })
    }
    const source = postgresSource({ client: { query }, shard: 'pg' })
    for (let poll = 0; poll < 2; poll++) {
      const { shards } = await source.read(new AbortController().signal)
      expect(shards[0]?.epoch).toBe('unknown/1')
    }
    expect(texts).toHaveLength(3)
  })
})

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
      'check user and password. In a URL, encode special characters (%40 for @)',
    ],
    ['28000', 'no pg_hba.conf entry for host', 'and whether the server wants SSL'],
    ['42501', 'permission denied for view pg_stat_replication', 'grant pg_monitor to the role'],
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
    ['ENOTFOUND', 'getaddrinfo ENOTFOUND db.example', 'check the name of the host'],
    [
      'ETIMEDOUT',
      'connect ETIMEDOUT 10.0.0.1:5432',
      'check host, port, network, firewall, and the server',
    ],
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

  it('of a Pool with an invalid connection string shows no password', async () => {
    const pool = new pg.Pool({ connectionString: 'postgres://monitor:secret@[/x' })
    onTestFinished(() => pool.end())
    const read = postgresSource({ client: pool, shard: 'pg' }).read(new AbortController().signal)
    const error = await read.catch((reason: unknown) => reason as Error)
    expect((error as Error).message).toMatch(/^PostgreSQL: .*Invalid URL/)
    expect((error as Error).message).not.toContain('secret')
  })
})

describe('a server that accepts a connection and never answers', () => {
  it('fails a read when the Pool gives up, and is asked again at the next', async () => {
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
      await expect(source.read(AbortSignal.timeout(10_000))).rejects.toThrow(
        /connection timeout .*: check host, port, network, firewall, and the server$/,
      )
      expect(sockets).toHaveLength(attempts)
    }
    for (const socket of sockets) socket.destroy()
  })
})
