import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { createPool as createCallbackPool } from 'mysql2'
import { createPool } from 'mysql2/promise'
import { describe, expect, it, onTestFinished } from 'vitest'
import { recordDiag } from '../../support/diag.js'
import { FakeClient, read, serverError } from './fakes.js'
import { FOLLOWER, LEADER } from './mysql-answers.js'

const client = { query: () => Promise.resolve([]) }
const followers = { r1: client }

describe.each([
  ['mysql', mysqlSource],
  ['mariadb', mariadbSource],
] as const)('options of the source of %s', (system, create) => {
  const createFrom = (options: unknown) => create(options as never)

  it.each<[unknown, RegExp]>([
    [undefined, /^options: expected an object, got undefined/],
    [{ followers, shard: 'a' }, /^leader: expected a Pool or a Connection of .*, got undefined/],
    [{ leader: {}, followers, shard: 'a' }, /^leader: expected a Pool or .*, got an object/],
    [{ leader: 'mysql://u:secret@db', followers, shard: 'a' }, /^leader: .*, got "mysql:…"$/],
    [{ leader: client, shard: 'a' }, /^followers: expected an object, got undefined/],
    [{ leader: client, followers: { r1: 1 }, shard: 'a' }, /^followers\["r1"\]: .*, got 1/],
    [{ leader: client, followers: { '': client }, shard: 'a' }, /^followers: .*, got ""/],
    [{ leader: client, followers }, /^shard: expected a non-empty, .*, got undefined/],
    [{ leader: client, followers, shard: -1 }, /^shard: expected .*, got -1/],
    [{ leader: client, followers, shard: 'a', name: '' }, /^name: expected .*, got ""/],
    [{ leader: client, followers, shard: 'a', filter: 1 }, /^filter: expected a function, got 1/],
  ])('that are invalid are refused with a TypeError that names them: %#', (options, message) => {
    expect(() => createFrom(options)).toThrow(TypeError)
    expect(() => createFrom(options)).toThrow(message)
  })

  it('refuse a client that takes callbacks, and say what to use', () => {
    const pool = createCallbackPool({})
    expect(() => createFrom({ leader: pool, followers, shard: 'a' })).toThrow(
      'leader: expected a Pool or a Connection of mysql2/promise or mariadb, not one that takes callbacks',
    )
    createFrom({ leader: createPool({}), followers, shard: 'a' })
  })

  it('name the source after the shard unless a name is set', () => {
    expect(create({ leader: client, followers, shard: 7 }).name).toBe(`${system}:7`)
    expect(create({ leader: client, followers, shard: 7, name: 'n' }).name).toBe('n')
  })

  it('are logged and ignored if they are unknown', () => {
    const log = recordDiag()
    onTestFinished(() => log.stop())
    createFrom({ leader: client, followers, shard: 'a', client })
    expect(log.messages).toEqual([
      expect.stringContaining(`${system}Source: there is no option "client"; it is ignored`),
    ])
  })
})

describe('a filter that does not return a boolean', () => {
  it('is refused', async () => {
    const source = mysqlSource({
      leader: new FakeClient([LEADER]),
      followers: { r1: new FakeClient([FOLLOWER]) },
      shard: 'a',
      filter: (() => 'yes') as unknown as () => boolean,
    })
    await expect(read(source)).rejects.toThrow(
      'filter: expected a function that returns a boolean, got "yes"',
    )
  })
})

describe('a leader that cannot be read', () => {
  const failing = (error: unknown, more: object = {}) => {
    const leader = Object.assign(new FakeClient([LEADER]), { error }, more)
    return read(mysqlSource({ leader, followers: { r1: new FakeClient([FOLLOWER]) }, shard: 'a' }))
  }
  const denied = serverError(1045, 'ER_ACCESS_DENIED_ERROR', "Access denied for user 'monitor'@'h'")

  it.each<[unknown, RegExp]>([
    [
      denied,
      /^MySQL leader: ER_ACCESS_DENIED_ERROR: Access denied.*: check the user, its password/,
    ],
    [
      // A pool of mariadb gives the reason as the cause.
      Object.assign(serverError(45028, 'ER_GET_CONNECTION_TIMEOUT', 'pool failed'), {
        cause: denied,
      }),
      /pool failed .*Access denied.*: check the user/,
    ],
    [
      serverError(1193, 'ER_UNKNOWN_SYSTEM_VARIABLE', "Unknown system variable 'server_uuid'"),
      /: use mariadbSource for MariaDB/,
    ],
    [new Error('connect ECONNREFUSED 127.0.0.1:1'), /: check host and port/],
    [new Error("Can't add new command when connection is in closed state"), /use a Pool$/],
    [new Error('a new kind of error'), /^MySQL leader: a new kind of error$/],
    [undefined, /^MySQL leader: field server_uuid is missing$/],
    ['text', /^MySQL leader: "text"$/],
    [null, /^MySQL leader: null$/],
  ])('is described with what to do about it: %#', async (error, message) => {
    const more = error === undefined ? { states: [{}] } : {}
    await expect(failing(error, more)).rejects.toThrow(message)
  })

  it('is named with address and user, and without the password, if a client of mysql2 has them', async () => {
    const config = { host: 'db', port: 3306, user: 'monitor', password: 'secret' }
    const message = /^MySQL leader at db:3306, user monitor: no$/
    const pool = { pool: { config: { connectionConfig: config } } }
    await expect(failing(new Error('no'), pool)).rejects.toThrow(message)
    await expect(failing(new Error('no'), { connection: { config } })).rejects.toThrow(message)
    const nobody = { connection: { config: { ...config, user: undefined } } }
    await expect(failing(new Error('no'), nobody)).rejects.toThrow(/^MySQL leader at db:3306: no$/)
  })

  it.each<[object, RegExp]>([
    [{ ...LEADER, gtid_mode: 'OFF', gtid_executed: '' }, /its gtid_mode is OFF: the source needs/],
    [{ ...LEADER, gtid_executed: '' }, /its gtid_executed is empty: nothing was written yet/],
  ])('has no GTIDs: %#', async (state, message) => {
    await expect(failing(undefined, { states: [state] })).rejects.toThrow(message)
  })

  it.each([undefined, {}, 'rows', { rows: [] }])(
    'has a client that answers with something else than rows: %#',
    async (answer) => {
      const query = () => Promise.resolve(answer)
      await expect(failing(undefined, { query })).rejects.toThrow(
        /client: expected .*, which answers with rows, got/,
      )
    },
  )
})

describe('a follower that cannot be read', () => {
  it('is not connected, has no position, and does not hide others', async () => {
    const broken = new FakeClient([FOLLOWER], new Error('broken'))
    const source = mysqlSource({
      leader: new FakeClient([LEADER]),
      followers: { r1: broken, r2: new FakeClient([FOLLOWER]) },
      shard: 'a',
    })
    expect((await read(source)).shards).toMatchObject([
      { followers: [{ replica: 'r1' }, { replica: 'r2', appliedSeqno: 11n }] },
    ])
    expect((await read(source)).shards[0]?.followers[0]).toEqual({
      replica: 'r1',
      connected: false,
      problem: 'cannot be read: MySQL: broken',
    })
  })
})

describe('a right that is missing', () => {
  it('is the only error of the second question that a follower is read with', async () => {
    const follower = new FakeClient([FOLLOWER])
    const source = mysqlSource({
      leader: new FakeClient([LEADER]),
      followers: { r1: follower },
      shard: 'a',
    })
    const isConnected = async (links: unknown) => {
      follower.links = links
      return (await read(source)).shards[0]?.followers[0]?.connected
    }
    expect(await isConnected(serverError(1142, 'ER_TABLEACCESS_DENIED_ERROR', 'no'))).toBe(true)
    expect(await isConnected(serverError(1227, 'ER_SPECIFIC_ACCESS_DENIED_ERROR', 'no'))).toBe(true)
    expect(await isConnected(serverError(1146, 'ER_NO_SUCH_TABLE', 'no'))).toBe(false)
    expect(await isConnected(null)).toBe(false)
  })
})

describe('a read that is given up', () => {
  it.each(['leader', 'follower'])('rejects with the reason, while a %s hangs', async (hanging) => {
    const hang = { query: () => new Promise<never>(() => undefined) }
    const source = mysqlSource({
      leader: hanging === 'leader' ? hang : new FakeClient([LEADER]),
      followers: { r1: hanging === 'leader' ? new FakeClient([FOLLOWER]) : hang },
      shard: 'a',
    })
    const reason = new Error('the deadline has passed')
    const controller = new AbortController()
    const reading = source.read(controller.signal)
    setImmediate(() => controller.abort(reason))
    await expect(reading).rejects.toBe(reason)
  })
})
