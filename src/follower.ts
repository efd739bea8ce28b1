/** A shard's name: one replicated log. `7` and `'7'` are the same shard. */
export type ShardId = string | number

/** A follower's name among the followers of one shard. `1` and `'1'` are the same replica. */
export type ReplicaId = string | number

/**
 * Which follower: of which shard and, where the shard has several, which of them.
 * Its fields are also the attributes of the follower's metrics, so one object serves every collection.
 */
export type FollowerId = Readonly<{ shard: string; replica?: string }>

/** Longest shard or replica name, in UTF-16 code units: over the longest of any system (Kafka's 249), under any label limit. */
export const MAX_NAME_LENGTH = 1024

/**
 * The name behind a shard or replica id.
 *
 * @returns the name, or `undefined` for what can be none: an empty string (in Prometheus that is the same as no label),
 * one over {@link MAX_NAME_LENGTH}, one with a lone surrogate (it has no UTF-8 form), a number that is not a non-negative
 * safe integer, or any other type. Never throws.
 */
export function parseName(id: unknown): string | undefined {
  if (typeof id === 'number') return Number.isSafeInteger(id) && id >= 0 ? String(id) : undefined
  if (typeof id !== 'string' || id.length === 0 || id.length > MAX_NAME_LENGTH) return undefined
  return id.isWellFormed() ? id : undefined
}

/** The id of a follower; without a replica name, of the shard's one unnamed follower. Frozen: SDKs keep it as attributes. */
export function followerId(shard: string, replica: string | undefined): FollowerId {
  return Object.freeze(replica === undefined ? { shard } : { shard, replica })
}
