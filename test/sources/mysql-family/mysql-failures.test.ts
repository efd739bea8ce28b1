import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { createPool as createCallbackPool } from 'mysql2'
import { createPool } from 'mysql2/promise'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { describeOptions } from '../shared/describe-options.js'
import { FakeClient, hangAfter, mysql, onlyShard, read, serverError, type Row } from './fakes.js'

const { CHANNEL, FOLLOWER, LEADER } = mysql
const follower = (change: Row = {}) => new FakeClient([{ ...FOLLOWER, ...change }], [CHANNEL])

const client = { query: () => Promise.resolve([]) }
const nodes = { a: client }

describe.each([
  ['mysql', mysqlSource],
  ['mariadb', mariadbSource],
] as const)('options of the source of %s', (system, create) => {
  const createFrom = (options: unknown) => create(options as never)

  const expected = 'expected a Pool or a Connection of mysql2/promise or mariadb'
  describeOptions(create, { nodes, shard: 7 }, `${system}:7`, [
    [{ nodes: undefined }, 'nodes: expected an object, got undefined'],
    [{ nodes: {} }, 'nodes: expected at least one client'],
    [{ nodes: { r1: 1 } }, `nodes["r1"]: ${expected}, got 1`],
    [{ nodes: { r1: {} } }, `nodes["r1"]: ${expected}, got an object`],
    [{ nodes: { r1: 'mysql://u:secret@db' } }, `nodes["r1"]: ${expected}, got "mysql:…"`],
    [{ nodes: { '': client } }, 'nodes: expected'],
    [{ shard: undefined }, 'shard: expected a non-empty'],
    // Options of earlier versions.
    [{ leader: client }, 'leader: list all servers in the option nodes'],
    [{ followers: nodes }, 'followers: list all servers in the option nodes'],
  ])

  it('refuse a client that takes callbacks, and say what to use', () => {
    const pool = createCallbackPool({})
    expect(() => createFrom({ nodes: { a: pool }, shard: 'a' })).toThrow(
      'nodes["a"]: expected a Pool or a Connection of mysql2/promise or mariadb, not one that uses callbacks',
    )
    createFrom({ nodes: { a: createPool({}) }, shard: 'a' })
  })
})

describe('a leader that cannot be read', () => {
  const failing = (error: unknown, more: object = {}) => {
    const leader = Object.assign(new FakeClient([LEADER]), { error }, more)
    return read(mysqlSource({ nodes: { leader, r1: follower() }, shard: 'a' }))
  }
  const denied = serverError(1045, 'ER_ACCESS_DENIED_ERROR', "Access denied for user 'monitor'@'h'")

  it.each<[unknown, RegExp]>([
    [
      denied,
      /^MySQL: no node that answers leads, and leader cannot be read\. MySQL leader: ER_ACCESS_DENIED_ERROR: Access denied.*: check the user, its password/,
    ],
    [
      // A pool of mariadb gives the reason as the cause.
      Object.assign(serverError(45028, 'ER_GET_CONNECTION_TIMEOUT', 'pool failed'), {
        cause: denied,
      }),
      /pool failed .*Access denied.*: check the user/,
    ],
    [new Error('connect ECONNREFUSED 127.0.0.1:1'), /: check host and port/],
    [new Error("Can't add new command when connection is in closed state"), /use a Pool$/],
    [new Error('a new kind of error'), /MySQL leader: a new kind of error$/],
    [undefined, /MySQL leader: field server_uuid is missing$/],
    ['text', /MySQL leader: "text"$/],
    [null, /MySQL leader: null$/],
  ])('is described with what to do about it: %#', async (error, message) => {
    const more = error === undefined ? { states: [{}] } : {}
    await expect(failing(error, more)).rejects.toThrow(message)
  })

  it('is named with address and user, and without the password, if a client of mysql2 has them', async () => {
    const config = { host: 'db', port: 3306, user: 'monitor', password: 'secret' }
    const message = /MySQL leader at db:3306, user monitor: no$/
    const pool = { pool: { config: { connectionConfig: config } } }
    await expect(failing(new Error('no'), pool)).rejects.toThrow(message)
    await expect(failing(new Error('no'), { connection: { config } })).rejects.toThrow(message)
    const nobody = { connection: { config: { ...config, user: undefined } } }
    await expect(failing(new Error('no'), nobody)).rejects.toThrow(/MySQL leader at db:3306: no$/)
    // Its name may be its address.
    const client = Object.assign(new FakeClient([LEADER]), { error: new Error('no'), ...pool })
    const source = mysqlSource({ nodes: { 'db:3306': client }, shard: 'a' })
    await expect(read(source)).rejects.toThrow(/MySQL db:3306, user monitor: no$/)
  })

  it('has no GTIDs', async () => {
    const state = { ...LEADER, gtid_mode: 'OFF', gtid_executed: '' }
    await expect(failing(undefined, { states: [state] })).rejects.toThrow(
      'MySQL leader leader: its gtid_mode is OFF: the source needs GTIDs',
    )
    const reader = new FakeClient([{ ...FOLLOWER, innodb_read_only: '1' }], [])
    const source = mysqlSource({ nodes: { writer: new FakeClient([state]), reader }, shard: 'a' })
    await expect(read(source)).rejects.toThrow(
      'MySQL leader writer: its gtid_mode is OFF: other nodes read its storage (innodb_read_only), as readers of Aurora do: watch AuroraReplicaLag instead',
    )
  })

  it.each([undefined, {}, 'rows', { rows: [] }])(
    'has a client that answers with something else than rows: %#',
    async (answer) => {
      const query = () => Promise.resolve(answer)
      await expect(failing(undefined, { query })).rejects.toThrow(
        /client: expected .*, whose queries return rows, got/,
      )
    },
  )
})

describe('a leader whose answer comes too late', () => {
  it('is not compared with an old position of its own', async () => {
    const answering = hangAfter(2, new FakeClient([LEADER]))
    let count = 0
    const leader = {
      query: async (sql: string) => {
        count++
        await setTimeout(120)
        return answering.query(sql)
      },
    }
    const source = mysqlSource({ nodes: { leader, r1: follower() }, shard: 'a' })
    const { signal } = new AbortController()
    await expect(source.read(signal, 100)).rejects.toThrow('no answer in time')
    await expect.poll(() => count).toBe(2)
    await setTimeout(150)
    await expect(source.read(signal, 100)).rejects.toThrow(
      /^MySQL leader leader: no answer in time/,
    )
  })
})

describe('a server of another kind', () => {
  const unknown = serverError(1193, 'ER_UNKNOWN_SYSTEM_VARIABLE', 'Unknown system variable')
  const serverOf = (version: unknown) => ({
    query: (sql: string) => {
      if (sql.includes('version()')) return Promise.resolve(version === '' ? [] : [{ version }])
      return sql.includes('@@global') ? Promise.reject(unknown) : Promise.resolve([])
    },
  })

  it.each<[typeof mysqlSource | typeof mariadbSource, unknown, string]>([
    [mysqlSource, '10.11.19-MariaDB', 'its version is 10.11.19-MariaDB: use mariadbSource'],
    [mysqlSource, '5.6.51', 'its version is 5.6.51: mysqlSource needs MySQL 5.7 or newer'],
    [mysqlSource, null, 'its version is unknown: mysqlSource needs'],
    // It answers without a row.
    [mysqlSource, '', 'its version is unknown: mysqlSource needs'],
    [mariadbSource, '9.7.4', 'its version is 9.7.4: use mysqlSource for MySQL'],
    [mariadbSource, '10.1.48-MariaDB', 'mariadbSource needs MariaDB 10.2 or newer'],
  ])('is named with what to use: %#', async (create, version, message) => {
    const source = create({ nodes: { a: serverOf(version) }, shard: 'a' })
    await expect(read(source)).rejects.toThrow(message)
  })
})

describe('a follower that cannot be read', () => {
  it('is not connected, has no position, and does not hide others', async () => {
    const broken = new FakeClient([FOLLOWER], new Error('broken'))
    const r2 = follower({ server_uuid: '22222222-2222-2222-2222-222222222222' })
    const nodes = { leader: new FakeClient([LEADER]), r1: broken, r2 }
    const { followers } = onlyShard(await read(mysqlSource({ nodes, shard: 'a' })))
    expect(followers).toEqual({
      r1: { replica: 'r1', connected: false, problem: 'cannot be read: MySQL r1: broken' },
      r2: expect.objectContaining({ connected: true, appliedSeqno: 11n }) as unknown,
    })
  })
})

describe('the question for channels', () => {
  it('can be refused, and the position is still read', async () => {
    const r1 = follower()
    const source = mysqlSource({ nodes: { leader: new FakeClient([LEADER]), r1 }, shard: 'a' })
    const found = async (links: unknown) => {
      r1.links = links
      return onlyShard(await read(source)).followers['r1']
    }
    expect(await found(serverError(1142, 'ER_TABLEACCESS_DENIED_ERROR', 'no'))).toMatchObject({
      connected: false,
      appliedSeqno: 11n,
    })
    expect(await found(serverError(1146, 'ER_NO_SUCH_TABLE', 'no such table'))).toMatchObject({
      connected: false,
      appliedSeqno: 11n,
      problem: 'its replication state cannot be read: ER_NO_SUCH_TABLE: no such table',
    })
    // A connection that failed is not asked again.
    r1.queries.length = 0
    expect(await found(serverError(1045, 'ER_ACCESS_DENIED_ERROR', 'no'))).toMatchObject({
      connected: false,
      problem: expect.stringMatching(/^cannot be read: MySQL r1: ER_ACCESS_DENIED_ERROR/) as string,
    })
    expect(r1.queries).toHaveLength(1)
    expect(await found(null)).toEqual({
      replica: 'r1',
      connected: false,
      problem: 'cannot be read: MySQL r1: null',
    })
  })
})

describe('a read that is aborted', () => {
  it('rejects with the reason, while it asks which nodes are in a cluster', async () => {
    let isAsked: () => void = () => undefined
    const asked = new Promise<void>((resolve) => (isAsked = resolve))
    const rival = (id: string) => {
      const answering = new FakeClient([{ ...LEADER, server_uuid: id, address: id }])
      return {
        query: (sql: string) => {
          if (!sql.includes('wsrep')) return answering.query(sql)
          isAsked()
          return new Promise<never>(() => undefined)
        },
      }
    }
    const source = mysqlSource({ nodes: { a: rival('a'), b: rival('b') }, shard: 'a' })
    const reason = new Error('the deadline has passed')
    const controller = new AbortController()
    const reading = source.read(controller.signal)
    await asked
    controller.abort(reason)
    await expect(reading).rejects.toBe(reason)
  })
})
