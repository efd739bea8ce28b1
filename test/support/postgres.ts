import type {
  ReplicationReading,
  ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import {
  postgresSource,
  type PostgresSourceOptions,
} from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import { createHash } from 'node:crypto'
import { readFile, realpath, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, expect, onTestFinished } from 'vitest'
import {
  findBinaries,
  majorOf,
  postgresUser,
  type Binaries,
} from '../servers/postgres/binaries.mjs'
import { PostgresCluster } from '../servers/postgres/cluster.mjs'
import type { PostgresNode } from '../servers/postgres/node.mjs'
import { Gate } from '../servers/gate.mjs'
import { eventually } from './eventually.js'

export type { PostgresNode }

/**
 * The folder with the programs of another version of PostgreSQL, for tests that run on several. Default: the newest, which
 * npm installed.
 */
const folder = process.env['POSTGRES_BINARIES']

const binaries: Binaries =
  folder === undefined
    ? await findBinaries()
    : { initdb: join(folder, 'initdb'), postgres: join(folder, 'postgres') }

/** The major version of PostgreSQL that the tests run on. */
export const major = await majorOf(binaries)

/** initdb takes as long as several tests, so its result stays in the temporary folder for all of them. */
const template = join(
  await realpath(tmpdir()),
  `replication-lag-template-${postgresUser()?.uid ?? process.getuid?.()}-` +
    createHash('sha256').update(binaries.initdb).digest('hex').slice(0, 16),
)

type ClusterOptions = NonNullable<Parameters<typeof PostgresCluster.create>[0]>
type PrimaryOptions = NonNullable<Parameters<PostgresCluster['startPrimary']>[0]>
type StandbyOptions = Parameters<PostgresCluster['startStandby']>[0]

/**
 * Real PostgreSQL servers for the tests of one file. What a test starts ends with that test, even when it fails. Names of
 * nodes must differ within a file.
 */
export class TestCluster {
  private readonly cluster: PostgresCluster

  private constructor(cluster: PostgresCluster) {
    this.cluster = cluster
  }

  /** Call `stop` in an `afterAll`. */
  static async create(options: ClusterOptions = {}): Promise<TestCluster> {
    return new TestCluster(await PostgresCluster.create({ ...options, binaries, template }))
  }

  get folder(): string {
    return this.cluster.folder
  }

  /** Starts a primary for all tests of the file. */
  startSharedPrimary(options?: PrimaryOptions): Promise<PostgresNode> {
    return this.cluster.startPrimary(options)
  }

  async startPrimary(options?: PrimaryOptions): Promise<PostgresNode> {
    const node = await this.cluster.startPrimary(options)
    onTestFinished(() => node.discard())
    return node
  }

  async startStandby(options: StandbyOptions): Promise<PostgresNode> {
    const node = await this.addStandby(options)
    await node.start()
    await node.untilStreaming()
    return node
  }

  /** Creates a standby that the test starts itself. */
  async addStandby(options: StandbyOptions): Promise<PostgresNode> {
    const { of, slot } = options
    const node = await this.cluster.addStandby(options)
    onTestFinished(async () => {
      await node.discard()
      if (of.pid === undefined) return
      await untilGone(of, options.applicationName ?? options.name)
      if (slot !== undefined) await dropSlot(of, slot)
    })
    return node
  }

  /** Lets a former primary follow another node after its next start. */
  follow(node: PostgresNode, options: Parameters<PostgresCluster['follow']>[1]): Promise<void> {
    return this.cluster.follow(node, options)
  }

  stop(): Promise<void> {
    return this.cluster.stop()
  }
}

/** Starts a primary for all tests of a file. Call it at the top of the file. */
export async function startCluster(): Promise<{ cluster: TestCluster; primary: PostgresNode }> {
  const cluster = await TestCluster.create()
  afterAll(() => cluster.stop())
  return { cluster, primary: await cluster.startSharedPrimary() }
}

/** Creates a role with pg_monitor, which must log in with its password. */
export async function createLogin(
  { folder }: TestCluster,
  node: PostgresNode,
  role: string,
  password: string,
): Promise<void> {
  await node.query(`create role ${role} login password '${password}' in role pg_monitor`)
  const rules = join(folder, node.name, 'pg_hba.conf')
  const rule = `host all ${role} 127.0.0.1/32 scram-sha-256\n`
  await writeFile(rules, rule + (await readFile(rules, 'utf8')))
  await node.query('select pg_reload_conf()')
}

/** Opens the network between a standby and its upstream. It ends with the test. */
export async function openLink(node: PostgresNode): Promise<Gate> {
  const link = await Gate.open(node.port)
  onTestFinished(() => link.stop())
  return link
}

/** Ends what is left of a follower's connection at its server, so that the next test does not see it. */
async function untilGone(node: PostgresNode, applicationName: string): Promise<void> {
  await eventually(async () => {
    const senders = await node.query(
      'select pg_terminate_backend(pid) from pg_stat_replication where application_name = $1',
      [applicationName],
    )
    if (senders.length > 0)
      throw new Error(`${node.name} still has a connection of ${applicationName}`)
  })
}

/** Drops a slot once it has no connection. */
export async function dropSlot(node: PostgresNode, slot: string): Promise<void> {
  await eventually(async () => {
    await node.query(
      'select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1',
      [slot],
    )
  })
}

/** Creates a pool of connections to a node. As an application should, it listens to errors of idle connections. */
export function createPool(node: PostgresNode, config: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({
    connectionTimeoutMillis: 10_000,
    ...node.connectionConfig(),
    ...config,
  })
  pool.on('error', () => undefined)
  onTestFinished(() => void pool.end())
  return pool
}

/** Connects a client to a node. */
export async function connect(
  node: PostgresNode,
  config: pg.ClientConfig = {},
): Promise<pg.Client> {
  const client = new pg.Client({ ...node.connectionConfig(), ...config })
  client.on('error', () => undefined)
  await client.connect()
  onTestFinished(() => client.end())
  return client
}

/** Connects as a program does that receives WAL. */
export function connectReplication(
  node: PostgresNode,
  application_name: string,
  replication: 'true' | 'database' = 'true',
): Promise<pg.Client> {
  return connect(node, { application_name, replication } as pg.ClientConfig)
}

/** Creates a source that reads a node through a pool. */
export function createSource(
  node: PostgresNode,
  options: Partial<PostgresSourceOptions> = {},
  config?: pg.PoolConfig,
): ReplicationSource {
  return postgresSource({ client: createPool(node, config), shard: 'pg', ...options })
}

/** Reads a source once. */
export function read(source: ReplicationSource): Promise<ReplicationReading> {
  return source.read(AbortSignal.timeout(10_000))
}

/** What one follower of a reading shows, with its lag in bytes. */
export interface Seen {
  readonly connected: boolean | undefined
  readonly lag: number | undefined
  readonly problem?: string
}

/** Reads a source once, and returns its followers by name. */
export async function readFollowers(source: ReplicationSource): Promise<Record<string, Seen>> {
  const { shards } = await read(source)
  const followers = shards.flatMap(({ leaderSeqno, followers }) =>
    followers.map(({ replica = '', appliedSeqno, connected, problem }) => {
      const lag =
        appliedSeqno === undefined
          ? undefined
          : Number(BigInt(leaderSeqno ?? 0) - BigInt(appliedSeqno))
      return [replica, { connected, lag, ...(problem !== undefined && { problem }) }] as const
    }),
  )
  return Object.fromEntries(followers)
}

/** Reads a source once, and returns the lag of its followers in bytes by name. */
export async function readLags(
  source: ReplicationSource,
): Promise<Record<string, number | undefined>> {
  const followers = Object.entries(await readFollowers(source))
  return Object.fromEntries(followers.map(([name, { lag }]) => [name, lag]))
}

/** Waits until a source reports these followers, with these lags in bytes. */
export function untilLags(source: ReplicationSource, lags: Record<string, number>): Promise<void> {
  return eventually(async () => expect(await readLags(source)).toStrictEqual(lags))
}

/** Waits until a source reports exactly this of its followers. */
export function untilFollowers(
  source: ReplicationSource,
  followers: Record<string, Seen>,
): Promise<void> {
  return eventually(async () => expect(await readFollowers(source)).toEqual(followers))
}

const matching = (test: (lag: number) => boolean) =>
  ({ asymmetricMatch: (lag: unknown) => typeof lag === 'number' && test(lag) }) as unknown as number

/** The lag of a follower that does not have what `write` has written, in an expectation. */
export const BEHIND = matching((lag) => lag > 100_000)

/** The lag of a follower that misses no more than what a server writes by itself. */
export const NEAR = matching((lag) => lag >= 0 && lag < 10_000)

/** Writes a good 100 kB of WAL. */
export async function write(node: PostgresNode): Promise<void> {
  await node.query('create table if not exists written (text text)')
  await node.query("insert into written select repeat('x', 100) from generate_series(1, 1000)")
}
