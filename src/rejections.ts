import { tell } from './diagnostics.js'
import { MAX_NAME_LENGTH, type FollowerId } from './follower.js'
import { EXPECTED_SEQNO } from './seqno.js'
import { show } from './show.js'

/** How many different followers are told about by name; those beyond are only counted, so that memory stays bounded. */
const MAX_TOLD = 1000

/**
 * Updates that could not be taken: counted always, told once a follower through `diag`.
 * Whoever updates a lag map must never be stopped by it, so nothing here throws.
 */
export class Rejections {
  #count = 0
  readonly #told = new Set<string>()

  /** Updates refused so far. */
  get count(): number {
    return this.#count
  }

  /** A seqno that is none. `side` tells which of the two positions it was meant for. */
  seqno(value: unknown, side: 'leader' | 'applied', { shard, replica }: FollowerId): void {
    const of =
      replica === undefined
        ? `shard ${show(shard)}`
        : `shard ${show(shard)}, replica ${show(replica)}`
    this.#reject(
      `${side} ${of}`,
      () => `${side} seqno of ${of}: expected ${EXPECTED_SEQNO}, got ${show(value)}`,
    )
  }

  /** A shard or replica id that can be no name. */
  name(value: unknown, kind: 'shard' | 'replica'): void {
    this.#reject(
      kind,
      () =>
        `${kind}: expected a non-empty, well-formed string of at most ${MAX_NAME_LENGTH} characters ` +
        `or a non-negative safe integer, got ${show(value)}`,
    )
  }

  #reject(subject: string, message: () => string): void {
    this.#count++
    if (this.#told.size >= MAX_TOLD || this.#told.has(subject)) return
    this.#told.add(subject)
    tell('warn', `${message()}; the update is left out (told once, counted in rejectedUpdates)`)
  }
}
