import fc from 'fast-check'
import { mariadbSource } from 'opentelemetry-instrumentation-replication-lag/sources/mariadb'
import { mysqlSource } from 'opentelemetry-instrumentation-replication-lag/sources/mysql'
import { createPool as createCallbackPool } from 'mysql2'
import { createPool } from 'mysql2/promise'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { describeOptions } from '../shared/describe-options.js'
import { validate } from '../shared/fakes.js'
import {
  FakeClient,
  hangAfter,
  mariadb,
  mysql,
  onlyShard,
  read,
  serverError,
  type Row,
} from './fakes.js'

const { FOLLOWER, LEADER, LEADER_UUID: UUID, follower, readNodes, sourceOf } = mysql

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
      `nodes["a"]: ${expected}, not one that uses callbacks`,
    )
    createFrom({ nodes: { a: createPool({}) }, shard: 'a' })
  })
})

describe('a leader that cannot be read', () => {
  const failing = (error: unknown, more: object = {}) => {
    const leader = Object.assign(mysql.leader(), { error }, more)
    return read(sourceOf({ leader, r1: follower() }))
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
    const named = Object.assign(mysql.leader(), { error: new Error('no'), ...pool })
    await expect(readNodes({ 'db:3306': named })).rejects.toThrow(
      /MySQL db:3306, user monitor: no$/,
    )
  })

  it('has no GTIDs', async () => {
    const state = { ...LEADER, gtid_mode: 'OFF', gtid_executed: '' }
    await expect(failing(undefined, { states: [state] })).rejects.toThrow(
      'MySQL leader leader: its gtid_mode is OFF: the source needs GTIDs',
    )
    const reader = follower({ innodb_read_only: '1' }, [])
    await expect(readNodes({ writer: mysql.leader(state), reader })).rejects.toThrow(
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

  it('is not compared with an old position of its own, if its answer comes too late', async () => {
    const answering = hangAfter(2, mysql.leader())
    let count = 0
    const leader = {
      query: async (sql: string) => {
        count++
        await setTimeout(120)
        return answering.query(sql)
      },
    }
    const source = sourceOf({ leader, r1: follower() })
    const { signal } = new AbortController()
    await expect(source.read(signal, 100)).rejects.toThrow('no answer in time')
    await expect.poll(() => count).toBe(2)
    await setTimeout(150)
    await expect(source.read(signal, 100)).rejects.toThrow(
      /^MySQL leader leader: no answer in time/,
    )
  })

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
  ])('is of another kind, and named with what to use: %#', async (create, version, message) => {
    const source = create({ nodes: { a: serverOf(version) }, shard: 'a' })
    await expect(read(source)).rejects.toThrow(message)
  })
})

describe('a follower that cannot be read', () => {
  it('is not connected, has no position, and does not hide others', async () => {
    const r1 = follower({}, new Error('broken'))
    const r2 = follower({ server_uuid: '22222222-2222-2222-2222-222222222222' })
    const { followers } = await readNodes({ leader: mysql.leader(), r1, r2 })
    expect(followers).toEqual({
      r1: { replica: 'r1', connected: false, problem: 'cannot be read: MySQL r1: broken' },
      r2: expect.objectContaining({ connected: true, appliedSeqno: 11n }) as unknown,
    })
  })

  it.each<[error: unknown, appliedSeqno: bigint | undefined, problem: RegExp | undefined]>([
    [serverError(1142, 'ER_TABLEACCESS_DENIED_ERROR', 'no'), 11n, undefined],
    [
      serverError(1146, 'ER_NO_SUCH_TABLE', 'no such table'),
      11n,
      /^its replication state cannot be read: ER_NO_SUCH_TABLE: no such table$/,
    ],
    [serverError(1045, 'ER_ACCESS', 'no'), undefined, /^cannot be read: MySQL r1: ER_ACCESS/],
    [null, undefined, /^cannot be read: MySQL r1: null$/],
  ])('has a position if only its channels are refused: %#', async (error, applied, problem) => {
    const r1 = follower({}, error)
    const found = await mysql.readOne(r1)
    expect(found).toMatchObject({ connected: false })
    expect(found?.appliedSeqno).toBe(applied)
    if (problem) expect(found?.problem).toMatch(problem)
    else expect(found).not.toHaveProperty('problem')
    // A connection that failed is not asked again.
    expect(r1.queries).toHaveLength(applied === undefined ? 1 : 2)
  })
})

it('a read that is aborted rejects with the reason, while it asks which nodes are in a cluster', async () => {
  let isAsked: () => void = () => undefined
  const asked = new Promise<void>((resolve) => (isAsked = resolve))
  const rival = (id: string) => {
    const answering = mysql.leader({ server_uuid: id, address: id })
    return {
      query: (sql: string) => {
        if (!sql.includes('wsrep')) return answering.query(sql)
        isAsked()
        return new Promise<never>(() => undefined)
      },
    }
  }
  const controller = new AbortController()
  const reading = sourceOf({ a: rival('a'), b: rival('b') }).read(controller.signal)
  await asked
  const reason = new Error('the deadline has passed')
  controller.abort(reason)
  await expect(reading).rejects.toBe(reason)
})

/** The columns of a system, by what happens if one of them is invalid. */
const COLUMNS = [
  {
    ...mysql,
    title: 'MySQL',
    applied: 11n,
    needed: ['server_uuid', 'gtid_mode', 'gtid_executed'],
    neededByLeader: [] as string[],
    leftOut: [] as string[],
    optional: ['gtid_owned', 'address', 'read_only', 'innodb_read_only'],
    ofLink: ['source_uuid', 'service_state', 'last_error_number', 'received_transaction_set'],
    received: 'received_transaction_set',
    state: 'service_state',
    values: [LEADER, FOLLOWER, mysql.ERRANT].map((row) => String(row.gtid_executed)),
    others: ['ON', 'OFF', '0', Buffer.from('x')],
    characters: /^[0f19:, \nbA-]{0,9}$/,
    leaders: [LEADER],
    followers: [mysql.ERRANT],
  },
  {
    ...mariadb,
    title: 'MariaDB',
    applied: 7n,
    needed: ['server_id'],
    neededByLeader: ['gtid_binlog_pos'],
    leftOut: ['gtid_slave_pos', 'gtid_binlog_state'],
    optional: ['address', 'gtid_domain_id', 'log_bin', 'read_only'],
    ofLink: [
      ...['Master_Server_Id', 'Slave_IO_Running', 'Slave_SQL_Running', 'Last_IO_Errno'],
      ...[
        'Last_SQL_Errno',
        'Gtid_IO_Pos',
        'Replicate_Do_Domain_Ids',
        'Replicate_Ignore_Domain_Ids',
      ],
    ],
    received: 'Gtid_IO_Pos',
    state: 'Slave_IO_Running',
    values: ['0-1-107', '0-1-7', '7-1-2,0-1-107', '0-2-8,0-1-7,0-9-40', '0-1-106'],
    others: ['Yes', 'No', '0', '7'],
    characters: /^[0-9, \n-]{0,6}$/,
    leaders: [mariadb.LEADER, mariadb.DOMAINS],
    followers: [mariadb.FOLLOWER, mariadb.ERRANT],
  },
]

describe.each(COLUMNS)('a column of $title', (system) => {
  const { title, applied, LINK } = system
  const BAD = [null, undefined, 1.5, true, {}]
  const fault = (column: string) => `field ${column} (is missing|has an invalid value)`

  it.each([...system.needed, ...system.neededByLeader])('must have a value: %s', async (column) => {
    for (const value of BAD) {
      const change = { [column]: value }
      const reading = system.readOne(system.follower(), system.leader(change))
      await expect(reading).rejects.toThrow(new RegExp(`${title} leader.*: ${fault(column)}`))
      if (system.neededByLeader.some((each) => each === column)) continue
      expect(await system.readOne(system.follower(change))).toMatchObject({
        connected: false,
        problem: expect.stringMatching(`^cannot be read: ${title} r1: ${fault(column)}`) as string,
      })
    }
  })

  it.each([...system.optional, ...system.leftOut])(
    'that is invalid is left out and named: %s',
    async (column) => {
      const change = { [column]: 1.5 }
      const problem = `field ${column} has an invalid value: 1.5`
      const found = await system.readOne(system.follower(change))
      expect(found).toMatchObject({ connected: true, problem })
      expect(found?.appliedSeqno).toBe(column === 'gtid_slave_pos' ? undefined : applied)
      const reading = await system.readNodes({ leader: system.leader(change) })
      expect(reading.problem).toBe(`leader leader: ${problem}`)
    },
  )

  it.each(system.optional)('need not have a value: %s', async (column) => {
    for (const value of [null, undefined]) {
      const change = { [column]: value }
      const found = await system.readOne(system.follower(change), system.leader(change))
      expect(found).toMatchObject({ connected: true, appliedSeqno: applied })
      expect(found).not.toHaveProperty('problem')
    }
  })

  it.each(system.ofLink)('of a link is named in the problem: %s', async (column) => {
    for (const value of [undefined, null, 1.5]) {
      const found = await system.readOne(system.follower({}, [{ ...LINK, [column]: value }]))
      expect(found).toMatchObject({
        connected: column !== system.state,
        appliedSeqno: applied,
        problem: expect.stringMatching(`^${fault(column)}`) as string,
      })
      expect('receivedSeqno' in (found ?? {})).toBe(column !== system.received)
    }
  })

  it('of a link that is missing does not make its node the leader', async () => {
    const problem = expect.stringMatching(`^field ${system.ofLink[0]} is missing, `) as string
    const r1 = system.follower({ read_only: '0' }, [{}])
    expect(await system.readOne(r1)).toMatchObject({ connected: false, problem })
  })

  it('is ignored if it is not known', async () => {
    const more = { more: 1 }
    const r1 = system.follower(more, [{ ...LINK, ...more }])
    expect(await system.readOne(r1, system.leader(more))).toMatchObject({ appliedSeqno: applied })
  })

  it('can have any value, which makes a valid reading, or an error that names a field', async () => {
    const { values, others, characters, leaders, followers } = system
    /** A recorded text, cut short or with other characters in it. */
    const changed = fc
      .tuple(fc.constantFrom(...values), fc.nat(80), fc.nat(3), fc.stringMatching(characters))
      .map(([all, at, count, more]) => all.slice(0, at) + more + all.slice(at + count))
    const constants = [...values, ...others, 2 ** 60, null, undefined, '', 7n, -1]
    const any = fc.oneof(changed, fc.constantFrom<unknown>(...constants), fc.anything())
    const changedRow = (row: Row) => {
      const change = fc.tuple(fc.constantFrom(...Object.keys(row)), any)
      const changes = fc.array(change, { maxLength: 3 })
      return changes.map((each): Row => ({ ...row, ...Object.fromEntries(each) }))
    }
    const state = (rows: typeof leaders) =>
      fc.oneof(
        { weight: 9, arbitrary: fc.oneof(...rows.map((row) => changedRow(row))) },
        fc.anything(),
      )
    const links = fc.oneof(fc.array(changedRow(LINK), { maxLength: 3 }), fc.anything())
    await fc.assert(
      fc.asyncProperty(state(leaders), state(followers), links, async (first, other, rows) => {
        const r1 = new FakeClient([other], rows)
        const source = system.sourceOf({ leader: new FakeClient([first]), r1 })
        validate(
          await read(source).catch((error: unknown) => error),
          /^(MySQL|MariaDB)( leader \w+: (field |its gtid_)|: no node that answers leads, |: no node leads|: which node leads)/,
        )
      }),
      { numRuns: 500 },
    )
  })
})

it.each([
  'x',
  UUID,
  `${UUID}:`,
  `${UUID}:0`,
  `${UUID}:3-1`,
  `${UUID}:1-`,
  `${UUID}:-1`,
  `${UUID}:1.5`,
  `${UUID}:tag`,
  `${UUID}:1:tag`,
  `${UUID}:t-g:1`,
  `${UUID}:${'t'.repeat(33)}:1`,
  `${UUID}:1;${UUID}:2`,
  `${UUID.slice(1)}:1`,
  `${UUID}:1-99999999999999999999`,
  // More than 2^64 in all.
  `${UUID}:1-9223372036854775806:a:1-9223372036854775806:b:1-9223372036854775806`,
])('this is not a GTID set: %s', async (gtid_executed) => {
  await expect(readNodes({ leader: mysql.leader({ gtid_executed }) })).rejects.toThrow(
    'field gtid_executed has an invalid value',
  )
})

it.each([
  ...['x', '0-1', '0-1-', '0-1-1-1', '0-1--1', '0-1-1;0-1-2', '0-1-1.5', '12345678901-1-1'],
  '0-1-18446744073709551616',
  // One domain twice.
  '0-1-1,0-2-2',
])('this is not a position of MariaDB: %s', async (position) => {
  const leader = mariadb.leader({ gtid_binlog_pos: position })
  await expect(mariadb.readNodes({ leader })).rejects.toThrow(
    'field gtid_binlog_pos has an invalid value',
  )
  const found = await mariadb.readOne(mariadb.follower({ gtid_slave_pos: position }))
  expect(found?.problem).toMatch(/^field gtid_slave_pos has an invalid value/)
  expect(found).not.toHaveProperty('appliedSeqno')
})

it('numbers of MariaDB may come as numbers or as strings', async () => {
  const link = { ...mariadb.LINK, Master_Server_Id: '1', Last_IO_Errno: 0n, Last_SQL_Errno: '0' }
  const leader = mariadb.leader({ server_id: 1, gtid_domain_id: 0n })
  const found = await mariadb.readOne(mariadb.follower({ server_id: 2n }, [link]), leader)
  expect(found).toMatchObject({ connected: true, appliedSeqno: 7n, receivedSeqno: 106n })
  expect(onlyShard(await read(mariadb.sourceOf({ leader }))).leaderSeqno).toBe(107n)
})
