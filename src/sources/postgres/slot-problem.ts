import type { Row } from './answer.js'

const PROBLEMS: Readonly<Record<string, string>> = {
  creating:
    'is being created: that waits for older transactions to end, and keeps WAL in the meantime',
  extended: 'keeps more WAL than max_wal_size: if nothing needs it, drop it',
  unreserved: 'needs WAL that the server removes at the next checkpoint: it is almost lost',
  wal_removed:
    'is lost: the server has removed WAL that it needs. Restore that WAL from an archive, or rebuild the follower',
  idle_timeout:
    'is lost: it was not used for idle_replication_slot_timeout. If its follower is gone, drop it. Otherwise create it again, and rebuild the follower if it is logical, or if WAL that it needs was removed',
  streaming:
    'was lost, and keeps no WAL for its follower, which streams again: stop that, drop the slot, and create it again',
}

/** Returns what is wrong with the slot of a follower, and what to do. */
export function describeSlotProblem({ slot_name, ...row }: Row): string | undefined {
  const { lost, wal_status, slot_type, applied, retained, received } = row
  if (slot_name === undefined) return undefined
  const isNew = slot_type === 'logical' && applied === undefined && retained !== undefined
  // Before PostgreSQL 18, a standby can use a slot that was invalidated.
  const isUsed = lost !== undefined && slot_type === 'physical' && received !== undefined
  const state = isUsed ? 'streaming' : (lost ?? (isNew ? 'creating' : (wal_status ?? '')))
  const invalidated =
    lost && `is lost: the server has invalidated it (${lost}). Rebuild the follower`
  const problem = PROBLEMS[state] ?? invalidated
  return problem && `its slot ${slot_name} ${problem}`
}
