import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import { postgresSource } from 'opentelemetry-instrumentation-replication-lag/sources/postgres'
import pg from 'pg'
import { PostgresCluster } from '../../docs/examples/postgres/cluster.mjs'
import type { PostgresNode } from '../../docs/examples/postgres/node.mjs'

export type { PostgresNode }

/** A real PostgreSQL cluster for one test, and the clients that are to be closed with it. */
export class TestCluster implements AsyncDisposable {
  readonly #cluster: PostgresCluster
  readonly #clients: { end(): Promise<void> }[] = []

  private constructor(cluster: PostgresCluster) {
    this.#cluster = cluster
  }

  /** Use with `await using`: it stops every server and client when the test is over, also when it fails. */
  static async create(): Promise<TestCluster> {
    return new TestCluster(await PostgresCluster.create())
  }

  startPrimary(options?: Parameters<PostgresCluster['startPrimary']>[0]): Promise<PostgresNode> {
    return this.#cluster.startPrimary(options)
  }

  startStandby(options: Parameters<PostgresCluster['startStandby']>[0]): Promise<PostgresNode> {
    return this.#cluster.startStandby(options)
  }

  /** A pool of connections to a node; as an application should, it listens to the errors of idle ones. */
  pool(node: PostgresNode, config: pg.PoolConfig = {}): pg.Pool {
    const pool = new pg.Pool({ ...node.connectionConfig(), ...config })
    pool.on('error', () => undefined)
    this.#clients.push(pool)
    return pool
  }

  /** A connected client of a node. */
  async client(node: PostgresNode, config: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client({ ...node.connectionConfig(), ...config })
    client.on('error', () => undefined)
    await client.connect()
    this.#clients.push(client)
    return client
  }

  /** A source that reads a node through a pool. */
  source(node: PostgresNode, config?: pg.PoolConfig): ReplicationSource {
    return postgresSource({ client: this.pool(node, config), shard: 'pg' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = Promise.allSettled(this.#clients.map((client) => client.end()))
    await this.#cluster.stop()
    await ended
  }
}

/** Followers as `name: lag in bytes`, from one read; `undefined` for one whose position is not known. */
export async function readLags(
  source: ReplicationSource,
): Promise<Record<string, number | undefined>> {
  const { shards } = await source.read(AbortSignal.timeout(10_000))
  const lags = shards.flatMap(({ leaderSeqno, followers }) =>
    followers.map(({ replica, appliedSeqno }) => [
      replica ?? '',
      appliedSeqno === undefined ? undefined : Number(BigInt(leaderSeqno) - BigInt(appliedSeqno)),
    ]),
  )
  return Object.fromEntries(lags) as Record<string, number | undefined>
}

/** Writes a good 100 kB of WAL. */
export async function write(node: PostgresNode): Promise<void> {
  await node.query('create table if not exists written (text text)')
  await node.query("insert into written select repeat('x', 100) from generate_series(1, 1000)")
}
