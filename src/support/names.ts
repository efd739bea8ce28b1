/** The name of a shard, one replicated log. `7` and `'7'` are the same shard. */
export type ShardId = string | number

/** The name of a follower among the followers of its shard. `1` and `'1'` are the same replica. */
export type ReplicaId = string | number

/** Longest name, in UTF-16 code units. It exceeds the longest name of any system (249 in Kafka) and fits any label limit. */
const MAX_NAME_LENGTH = 1024

/** What a name must be, for error messages. */
export const EXPECTED_NAME = `a non-empty, well-formed string of at most ${MAX_NAME_LENGTH} characters or a non-negative safe integer`

/**
 * Returns the name for a shard or replica id, or `undefined` if the id is not valid. Never throws.
 * Invalid are: an empty string (Prometheus treats it as a missing label), a longer one than the limit, one with a lone
 * surrogate (it has no UTF-8 form), a number that is not a non-negative safe integer, and every other type.
 */
export function parseName(id: unknown): string | undefined {
  if (typeof id === 'number') return Number.isSafeInteger(id) && id >= 0 ? String(id) : undefined
  if (typeof id !== 'string' || id.length === 0 || id.length > MAX_NAME_LENGTH) return undefined
  return id.isWellFormed() ? id : undefined
}
