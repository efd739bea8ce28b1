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

/** How many connections of a Pool are waited for at once. */
const MAX_WAITING = 2

/** Queries a server through a Pool or a Client. */
export class Connection {
  private waiting = 0
  private text = buildQuery(true)

  constructor(private readonly client: PostgresPool | PostgresClient) {}

  /** With a Pool it rejects when the signal is aborted. A Client queues, so it waits until the server has answered. */
  async query(signal: AbortSignal): Promise<unknown[]> {
    signal.throwIfAborted()
    const { client } = this
    const querying = isPool(client) ? this.queryPool(client, signal) : client.query(this.text)
    try {
      const answer = (await querying) as { rows?: unknown } | undefined
      if (Array.isArray(answer?.rows)) return answer.rows as unknown[]
      throw optionError('client', `${EXPECTED_CLIENT}, which answers with rows`, answer)
    } catch (error) {
      const text = buildQuery(false)
      // Only the epoch needs these functions, which a managed service may refuse.
      if (this.text === text || !String(error).includes('pg_control_')) throw error
      this.text = text
      return this.query(signal)
    }
  }

  private async queryPool(pool: PostgresPool, signal: AbortSignal): Promise<unknown> {
    const connecting = this.connect(pool)
    const connection = await orAborted(connecting, signal).catch((error: unknown) => {
      connecting.then((late) => late.release(), ignore)
      throw error
    })
    // Without a listener, a connection that breaks while it is in use would end the process.
    connection.on('error', ignore)
    let isBroken = true
    try {
      const answer = await orAborted(connection.query(this.text), signal)
      isBroken = false
      return answer
    } finally {
      connection.off('error', ignore)
      // At the deadline it is destroyed: nothing else ends a hanging query, and the server may be gone.
      connection.release(isBroken)
    }
  }

  private async connect(pool: PostgresPool): Promise<PostgresPoolClient> {
    if (this.waiting === MAX_WAITING) {
      throw new Error(`${MAX_WAITING} reads still wait for a connection of the Pool`)
    }
    this.waiting++
    try {
      return await pool.connect()
    } finally {
      this.waiting--
    }
  }
}

function ignore(): void {
  // The query in progress has been rejected with the same error.
}

export function isPool(client: PostgresPool | PostgresClient): client is PostgresPool {
  return 'totalCount' in client
}
