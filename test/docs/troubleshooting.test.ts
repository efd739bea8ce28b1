import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { ReplicationLagMetricProducer } from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import type pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '../servers/postgres/processes.mjs'
import { eventually } from '../support/eventually.js'
import { pointsOf } from '../support/polling.js'
import { recordLog } from '../support/postgres-monitor.js'
import { createLogin, createPool, startCluster } from '../support/postgres.js'
import { readText } from '../support/repository.js'
import { findTableRows } from './pages.js'

const { cluster, primary } = await startCluster()
await createLogin(cluster, primary, 'refused', 'right')
await primary.query('create role plain login')

/** Pools that fail, by the cause that the page names. */
const MISTAKES: Partial<Record<string, () => Promise<pg.Pool>>> = {
  'the host or port is wrong, or the server is down': async () =>
    poolWith({ port: await freePort() }),
  'the name of the host does not exist': () => poolWith({ host: 'no-such-host.invalid' }),
  'the password is wrong': () => poolWith({ user: 'refused', password: 'wrong' }),
  'the role does not exist, or may not log in from here': () => poolWith({ user: 'missing' }),
  "the database does not exist: pg takes the role's name": () => poolWith({ database: 'plain' }),
  'the role may not see the positions of followers': async () => {
    await cluster.startStandby({ name: 'standby_1', of: primary })
    return poolWith({ user: 'plain' })
  },
  'the application has all connections in use': async () => {
    const pool = await poolWith({ max: 1, connectionTimeoutMillis: 200 })
    const connection = await pool.connect()
    onTestFinished(() => connection.release())
    return pool
  },
  'the server accepts a connection and does not answer': async () => {
    const server = createServer((socket) => socket.on('error', () => undefined))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    return poolWith({ port, connectionTimeoutMillis: 200 })
  },
}

function poolWith(config: pg.PoolConfig): Promise<pg.Pool> {
  return Promise.resolve(createPool(primary, config))
}

const path = 'docs/troubleshooting.md'
const rows = findTableRows({ path, text: readText(path) })
const start = rows.findIndex(([heading]) => heading === 'in the log') + 1
const end = rows.findIndex(([text], index) => index > start && text?.startsWith('symptom'))
const symptoms = rows
  .slice(start, end)
  .map(([logged = '', cause = '']) => ({ logged: logged.split(', '), cause }))

test('every cause of a source that cannot be read is tried', () => {
  expect(symptoms.map(({ cause }) => cause).sort()).toEqual(Object.keys(MISTAKES).sort())
})

test.each(symptoms)('the log has what the page says: $cause', async ({ logged, cause }) => {
  const log = recordLog()
  const pool = await MISTAKES[cause]?.()
  if (!pool) throw new Error(`no pool for ${cause}`)
  const source = postgresSource({ client: pool, shard: 'orders' })
  const producer = new ReplicationLagMetricProducer({ sources: [source] })
  onTestFinished(() => producer.shutdown())
  await eventually(() => expect(log.matching('error: ')).not.toEqual([]))
  const [message = ''] = log.matching('error: ')
  expect(message).toContain('source "postgres:orders" cannot be read: PostgreSQL at ')
  expect(logged.filter((text) => !message.includes(text))).toEqual([])
  expect(message).not.toContain('wrong')
  expect(await pointsOf(producer, 'replication_source_up')).toEqual({ 'postgres:orders': 0 })
})
