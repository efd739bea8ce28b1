import type { ShardReading } from '../source.js'

/**
 * Remembers the followers of the last reading of all nodes. One that the system has removed since would count as
 * disconnected otherwise, and fall further behind until its retention time is over.
 */
export class RemovedFollowers {
  /** The names of the followers of each shard. */
  private known = new Map<string, ReadonlySet<string>>()

  /** Returns the shards of a reading of all nodes, with the followers that have been removed. */
  addTo(shards: readonly ShardReading[]): ShardReading[] {
    const before = this.known
    this.known = new Map()
    return shards.map((each) => {
      const shard = String(each.shard)
      const now = new Set(each.followers.map(({ replica }) => String(replica)))
      this.known.set(shard, now)
      return { ...each, removed: [...(before.get(shard) ?? [])].filter((name) => !now.has(name)) }
    })
  }
}
