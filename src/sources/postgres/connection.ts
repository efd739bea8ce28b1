import { orAborted } from '../shared/abort.js'
import { optionError } from '../../support/option-errors.js'
import { buildQuery } from './query.js'

/** What is used of a `pg` Client: one connection that is open already. */
export interface PostgresClient {
  query(text: string): Promise<{ rows: unknown[] }>
}

/** What is used of a `pg` Pool. Each read takes one connection from it and returns it. */
export interface PostgresPool {
  readonly totalCount: number
  connect(): Promise<PostgresPoolClient>
}

/** A connection of a pool. */
export interface PostgresPoolClient extends PostgresClient {
  release(destroy?: boolean): void
  on(event: 'error', listener: () => void): unknown
  off(event: 'error', listener: () => void): unknown
}

export const EXPECTED_CLIENT = 'a Pool or a connected Client of pg'

/** Maximum number of pending connection requests. */
const MAX_WAITING = 2

/** @internal Queries a server through a Pool or a Client. */
export class Connection {
  /**
   * How old a connection of a Pool may become. Polling keeps it in use, so that it would stay with one server for as long
   * as that lives, although the address leads to another one since a failover.
   */
  maxAgeMillis = Infinity
  private readonly since = new WeakMap<PostgresPoolClient, number>()
  private waiting = 0
  private control = true
  private serializable = false

  constructor(private readonly client: PostgresPool | PostgresClient) {}

  /** With a Pool it rejects when the signal is aborted. A Client queues, so it waits until the server has answered. */
  async query(signal: AbortSignal): Promise<unknown[]> {
    signal.throwIfAborted()
    const { client, control, serializable } = this
    const text = buildQuery({ control, serializable })
    try {
      const answer = await (isPool(client)
        ? this.queryPool(client, text, signal)
        : client.query(text))
      return rowsOf(answer)
    } catch (error) {
      if (!this.canAvoid(error)) throw error
      return this.query(signal)
    }
  }

  /** Changes the statement so that it avoids what a server has refused. Returns false if nothing can be changed. */
  private canAvoid(error: unknown): boolean {
    const { message = '', detail = '' } = (error ?? {}) as Partial<Record<string, string>>
    // Only the epoch needs these functions, which a managed service may refuse.
    const refusesControl = this.control && message.includes('pg_control_')
    // The message may be in another language. The detail names the setting.
    const refusesSerializable =
      !this.serializable && /default_transaction_isolation.*serializable/.test(detail)
    if (refusesControl) this.control = false
    if (refusesSerializable) this.serializable = true
    return refusesControl || refusesSerializable
  }

  private async queryPool(pool: PostgresPool, text: string, signal: AbortSignal): Promise<unknown> {
    const connecting = this.connect(pool)
    const connection = await orAborted(connecting, signal).catch((error: unknown) => {
      connecting.then((late) => late.release(), ignore)
      throw error
    })
    const since = this.since.get(connection) ?? performance.now()
    this.since.set(connection, since)
    // Without a listener, a connection that breaks while it is in use would end the process.
    connection.on('error', ignore)
    let isBroken = true
    try {
      const answer = await orAborted(connection.query(text), signal)
      isBroken = false
      return answer
    } finally {
      connection.off('error', ignore)
      // At the deadline it is destroyed: nothing else ends a hanging query, and the server may be gone.
      connection.release(isBroken || performance.now() - since >= this.maxAgeMillis)
    }
  }

  private async connect(pool: PostgresPool): Promise<PostgresPoolClient> {
    if (this.waiting === MAX_WAITING) {
      throw new Error(`${MAX_WAITING} reads are still waiting for a connection from the Pool`)
    }
    this.waiting++
    try {
      return await pool.connect()
    } finally {
      this.waiting--
    }
  }
}

/** Returns the rows of the last statement. */
function rowsOf(answer: unknown): unknown[] {
  const result = (Array.isArray(answer) ? answer.at(-1) : answer) as { rows?: unknown } | undefined
  if (Array.isArray(result?.rows)) return result.rows as unknown[]
  throw optionError('client', `${EXPECTED_CLIENT}, whose queries return rows`, answer)
}

function ignore(): void {
  // The query in progress has been rejected with the same error.
}

export function isPool(client: PostgresPool | PostgresClient): client is PostgresPool {
  return 'totalCount' in client
}
