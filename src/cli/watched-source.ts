import { parseReading, type ReplicationReading } from '../lag-map/reading.js'
import type { ReplicationSource } from '../sources/source.js'
import { describeError } from '../support/log.js'

/** A source that remembers how its last read ended. */
export class WatchedSource implements ReplicationSource {
  /** `undefined` until the first read has ended. */
  isUp: boolean | undefined
  /** Why the last read failed. */
  failure = ''
  reading: ReplicationReading | undefined

  constructor(private readonly source: ReplicationSource) {}

  get name(): string {
    return this.source.name
  }

  async read(signal: AbortSignal, timeoutMillis?: number): Promise<ReplicationReading> {
    // A read that hangs is over at its deadline.
    signal.addEventListener('abort', () => this.fail(signal.reason))
    try {
      const reading = await this.source.read(signal, timeoutMillis)
      parseReading(reading)
      if (!signal.aborted) {
        this.isUp = true
        this.reading = reading
      }
      return reading
    } catch (error) {
      if (!signal.aborted) this.fail(error)
      throw error
    }
  }

  private fail(error: unknown): void {
    this.isUp = false
    this.failure = describeError(error)
  }
}

/** The systems whose seqnos are bytes. */
const BYTES = /^(?:postgres|redis):/

/** Returns the names of the shards whose seqnos are bytes. */
export function findByteShards(sources: readonly WatchedSource[]): Set<string> {
  const ofBytes = sources.filter(({ name }) => BYTES.test(name))
  return new Set(
    ofBytes.flatMap(({ reading }) => reading?.shards.map(({ shard }) => String(shard)) ?? []),
  )
}

/** Says what is wrong with a source, a line for each problem. None while its first read is in flight. */
export function describeSource({ name, isUp, failure, reading }: WatchedSource): string[] {
  if (isUp === undefined) return []
  if (!isUp) return [`${name} cannot be read: ${failure}`]
  const shards = reading?.shards ?? []
  const unread = shards.filter(({ leaderSeqno }) => leaderSeqno === undefined)
  if (unread.length > 0) {
    return unread.map(({ shard, problem = 'its leader cannot be read' }) => `${shard}: ${problem}`)
  }
  const hasFollowers = shards.some(({ followers }) => followers.length > 0)
  return hasFollowers ? [] : [`${name} has no replica. Is this the leader?`]
}
