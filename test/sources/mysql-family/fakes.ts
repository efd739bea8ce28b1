import type {
  ReplicationReading,
  ReplicationSource,
} from 'opentelemetry-instrumentation-replication-lag'
import { expect } from 'vitest'

/** A row of an answer, as clients return it. */
export type Row = Readonly<Record<string, unknown>>

/** A client whose server answers with what was recorded, in the form of mysql2 or of mariadb. */
export class FakeClient {
  readonly queries: string[] = []
  /** Thrown by the next queries. */
  error: unknown
  /** The answer to the question whether it is in a Galera cluster, or the error. */
  galera: unknown = []

  /**
   * @param states the answers to the question for its positions, one after another. The last one is repeated.
   * @param links the answer to the question for its connections, or the error. `null` is an error too
   */
  constructor(
    readonly states: unknown[],
    public links: unknown = [],
    readonly form: 'mysql2' | 'mariadb' = 'mysql2',
  ) {}

  async query(sql: string): Promise<unknown> {
    this.queries.push(sql)
    await Promise.resolve()
    if (this.error !== undefined) throw this.error as Error
    if (sql.includes('wsrep')) return this.answer(this.galera)
    const isState = sql.includes('@@global')
    const [state] = this.states.length > 1 && isState ? this.states.splice(0, 1) : this.states
    return this.answer(isState ? [state] : this.links)
  }

  private answer(rows: unknown): unknown {
    if (rows instanceof Error || rows === null) throw rows as Error
    return this.form === 'mysql2' ? [rows, []] : rows
  }
}

/** An error of a server, as both clients throw it. */
export function serverError(errno: number, code: string, message: string): Error {
  return Object.assign(new Error(message), { errno, code, sqlMessage: message })
}

export function read(source: ReplicationSource): Promise<ReplicationReading> {
  return source.read(new AbortController().signal)
}

/** The only shard of a reading, and its followers by name. */
export function onlyShard({ shards }: ReplicationReading) {
  const [shard, another] = shards
  if (!shard || another) throw new Error(`expected one shard, got ${shards.length}`)
  const followers = shard.followers.map((each) => [String(each.replica), each] as const)
  return { ...shard, followers: Object.fromEntries(followers) }
}

/** When a leader was read, in a reading that is compared with an expected one. */
export const AT = expect.any(Number) as number

/** Throws unless a reading is valid: names are distinct, and positions are unsigned 64-bit integers. */
export function checkReading({ shards }: ReplicationReading): void {
  const names = shards.map(({ shard }) => shard)
  if (new Set(names).size < names.length) throw new Error('two shards of one name')
  for (const { leaderSeqno, followers } of shards) {
    const replicas = followers.map(({ replica }) => replica)
    if (new Set(replicas).size < replicas.length) throw new Error('two followers of one name')
    const positions = followers.flatMap((each) =>
      [each.appliedSeqno, each.appliedUpTo, each.receivedSeqno, each.comparedWith?.leaderSeqno].map(
        (seqno) => seqno ?? 0n,
      ),
    )
    for (const seqno of [leaderSeqno ?? 0n, ...positions]) {
      const isValid = typeof seqno === 'bigint' && BigInt.asUintN(64, seqno) === seqno
      if (!isValid || seqno > BigInt(leaderSeqno ?? 0)) throw new Error(`position ${seqno}`)
    }
  }
}
