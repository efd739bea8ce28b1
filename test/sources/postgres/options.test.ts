import {
  postgresSource,
  type PostgresSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { recordDiag } from '../../support/diag.js'

const client = { query: () => Promise.resolve({ rows: [] }) }
const create = (options: unknown) => postgresSource(options as PostgresSourceOptions)

it.each<[unknown, RegExp]>([
  [undefined, /^options: expected an object, got undefined/],
  [null, /^options: expected an object, got null/],
  [{ shard: 'a' }, /^client: expected a Pool or a connected Client of pg, got undefined/],
  [{ client: null, shard: 'a' }, /^client: expected a Pool or .*, got null/],
  [{ client: { connect: () => 1 }, shard: 'a' }, /^client: expected a Pool or .*, got an object/],
  [
    { client: { totalCount: 0, query: 1 }, shard: 'a' },
    /^client: expected a Pool or .*, got an object/,
  ],
  [{ client }, /^shard: expected a non-empty, .*, got undefined/],
  [{ client, shard: '' }, /^shard: expected .*, got ""/],
  [{ client, shard: -1 }, /^shard: expected .*, got -1/],
  [{ client, shard: 'a', name: '' }, /^name: expected .*, got ""/],
  [{ client, shard: 'a', name: 7 }, /^name: expected .*, got 7/],
  [{ client, shard: 'a', filter: 's1' }, /^filter: expected a function, got "s1"/],
  [{ client, shard: 'a', intermittent: true }, /^intermittent: expected a function, got true/],
  [{ client, shard: 'a', expect: 's1' }, /^expect: expected an array of names, got "s1"/],
  [{ client, shard: 'a', expect: ['s1', ''] }, /^expect: expected an array of names, got an array/],
])('an invalid option is refused with a TypeError that names it: %#', (options, message) => {
  expect(() => create(options)).toThrow(TypeError)
  expect(() => create(options)).toThrow(message)
})

it.each([
  ['postgres://monitor:secret@db/postgres', '"postgres:…"'],
  ['host=db password=secret', '"host=…"'],
])(
  'a connection string is refused as a client, and its password is not shown: %s',
  (client, shown) => {
    expect(() => create({ client, shard: 'a' })).toThrow(`got ${shown}`)
  },
)

it.each([
  // Drizzle has an object `query`, Prisma and Kysely have other methods.
  { query: {}, execute: () => Promise.resolve() },
  { $queryRaw: () => Promise.resolve() },
])('an ORM without a query() is refused as a client: %#', (client) => {
  expect(() => create({ client, shard: 'a' })).toThrow(
    'client: expected a Pool or a connected Client',
  )
})

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

it('an unknown option is logged and ignored', () => {
  const log = recordDiag()
  onTestFinished(() => log.stop())
  expect(create({ client, shard: 'a', slot: 'b' }).name).toBe('postgres:a')
  expect(log.messages).toEqual([
    expect.stringMatching(/^warn: .*postgresSource: unknown option "slot" is ignored/),
  ])
})

it('the name is that of the shard unless it is set', () => {
  expect(create({ client, shard: 7 }).name).toBe('postgres:7')
  expect(create({ client, shard: 7, name: 'node-1' }).name).toBe('node-1')
})
