import type { PostgresRow } from './postgres-query.js'

/** What is remembered of a slot for as long as it exists. */
interface Slot {
  /** What the standby had replayed when it was last connected, as u64 bytes since `0/0`. */
  applied: bigint | undefined
  /** Whether it is held by what only receives WAL and applies nothing, such as `pg_receivewal`. */
  isReceiver: boolean
  /** The name under which it was reported as a follower, if it was. */
  reportedAs: string | undefined
}

/**
 * What a source remembers of the slots of one node from read to read. A physical slot of its own tells the WAL that it
 * holds, which is what the standby has received: neither whether anybody applies it nor how far.
 */
export class PostgresSlots {
  #epoch: string | undefined
  #slots = new Map<string, Slot>()

  /** Takes in a reading: forgets the slots that are no more, or all if their positions are of another history. */
  see(rows: readonly PostgresRow[], epoch: string): void {
    const before = epoch === this.#epoch ? this.#slots : new Map<string, Slot>()
    this.#epoch = epoch
    this.#slots = new Map()
    for (const { slot_name, slot_type, connection, state, applied } of rows) {
      if (slot_name === null) continue
      const slot = before.get(slot_name) ?? {
        applied: undefined,
        isReceiver: false,
        reportedAs: undefined,
      }
      this.#slots.set(slot_name, slot)
      if (slot_type !== 'physical' || connection === null) continue
      if (applied !== null) {
        slot.isReceiver = false
        slot.applied = BigInt(applied)
      } else if (state === 'streaming') {
        // Not in its first moments, when a standby has told nothing yet either.
        slot.isReceiver = true
        slot.applied = undefined
      }
    }
  }

  /** Whether nobody applies what the slot holds, by what was last seen. */
  isReceiver({ slot_name }: PostgresRow): boolean {
    return slot_name !== null && this.#slots.get(slot_name)?.isReceiver === true
  }

  /** What the follower has applied; of one that is not connected no more than when it last was. */
  appliedOf({ slot_name, connection, applied }: PostgresRow): bigint | undefined {
    if (applied === null) return undefined
    const seen = BigInt(applied)
    const last = slot_name === null || connection !== null ? undefined : this.#slots.get(slot_name)
    return last?.applied !== undefined && last.applied < seen ? last.applied : seen
  }

  /** Remembers under which name a slot was reported. */
  reported({ slot_name }: PostgresRow, name: string): void {
    const slot = slot_name === null ? undefined : this.#slots.get(slot_name)
    if (slot) slot.reportedAs = name
  }

  /** The names of those that were reported as followers and have turned out to be none; each once. */
  takeRetracted(): string[] {
    const names: string[] = []
    for (const slot of this.#slots.values()) {
      if (!slot.isReceiver || slot.reportedAs === undefined) continue
      names.push(slot.reportedAs)
      slot.reportedAs = undefined
    }
    return names
  }
}
