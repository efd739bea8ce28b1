import type { ConsumerState } from './view.js'

/**
 * Remembers up to which sequence each consumer had applied everything. Its lag is a count, and the messages that it waits
 * for can be anywhere among those that it does not want.
 */
export class CaughtUp {
  private readonly positions = new Map<string, bigint>()
  private readonly seen = new Set<string>()

  /**
   * Returns a sequence up to which a consumer has certainly applied everything, and notes it for later readings.
   *
   * @param consumer names the consumer and its stream, and the histories of both.
   */
  upTo(consumer: string, state: ConsumerState, lastSeq: bigint): bigint {
    const { pending, unacknowledged, delivered, ackFloor } = state
    const position =
      pending + unacknowledged === 0n
        ? lastSeq
        : unacknowledged === 0n
          ? max(delivered, ackFloor)
          : ackFloor
    const newest = max(position, this.positions.get(consumer) ?? 0n)
    this.positions.set(consumer, newest)
    this.seen.add(consumer)
    return newest
  }

  /** Forgets the consumers that were not in this reading. @param isComplete whether they were removed. */
  endReading(isComplete: boolean): void {
    for (const each of this.positions.keys()) {
      if (isComplete && !this.seen.has(each)) this.positions.delete(each)
    }
    this.seen.clear()
  }
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
