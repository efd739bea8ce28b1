import type { ShardReading } from '../source.js'

/** Remembers the last reading, for what only a comparison shows. */
export class KafkaHistory {
  private last: ReadonlyMap<string, ShardReading> = new Map()
  /** How often the log of a shard has become shorter. */
  private readonly falls = new Map<string, number>()

  /**
   * Returns the epoch of a shard. Another one begins with another topic of the same name, which not every client can tell,
   * and when records are lost. Both make the log shorter.
   */
  epochOf(shard: string, end: bigint, topicId?: string): string {
    const last = this.last.get(shard)?.leaderSeqno ?? 0n
    let falls = this.falls.get(shard) ?? 0
    if (end < BigInt(last)) this.falls.set(shard, ++falls)
    return topicId === undefined ? `${falls}` : `${topicId}/${falls}`
  }

  /**
   * Adds who is not there any more: a group whose commits have expired or were deleted, a broker that has no copy any more.
   * They have no position, and would count as disconnected and ever further behind otherwise.
   */
  addRemoved(shards: readonly ShardReading[]): ShardReading[] {
    const now = new Map(shards.map((each) => [String(each.shard), each]))
    const gone = [...this.last].filter(([shard]) => !now.has(shard))
    const ended = gone.map(([, each]) => ({ ...each, followers: [] }))
    const all = [...shards, ...ended].map((each) => {
      const names = new Set(each.followers.map(({ replica }) => replica))
      const before = this.last.get(String(each.shard))?.followers ?? []
      const removed = before.flatMap(({ replica }) =>
        replica === undefined || names.has(replica) ? [] : [replica],
      )
      return removed.length === 0 ? each : { ...each, removed }
    })
    this.last = now
    return all
  }
}
