import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import pg from 'pg'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { eventually } from '../../support/eventually.js'
import { IDLE_SLOT, NODE } from './answers.js'

const answer = { rows: [NODE] }

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
})

describe('a read through a Client', () => {
  it('settles only when the server has answered, even if it is aborted', async () => {
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

describe('the age of a connection of a Pool', () => {
  const disconnected = { rows: [IDLE_SLOT] }

  it.each([
    ['a minute while all is well', answer, 60_000],
    ['5 s while a follower is not connected', disconnected, 5000],
  ])(
    'is at most %s: polling would keep it on a server that the address has left',
    async (_, rows, limit) => {
      const now = vi.spyOn(performance, 'now').mockReturnValue(1000)
      onTestFinished(() => now.mockRestore())
      const pool = new FakePool(() => Promise.resolve(rows))
      const start = startRead(pool)
      for (const at of [0, limit - 1, limit, limit + 1]) {
        now.mockReturnValue(1000 + at)
        const { read } = start()
        pool.connectNext()
        await read
      }
      expect(pool.released).toEqual([false, false, true, true])
    },
  )
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

describe('a server that accepts a connection and never answers', () => {
  it('fails a read when the Pool stops waiting, and is asked again at the next', async () => {
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
