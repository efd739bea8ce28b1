import { formatValue, OncePerSubject } from '../support/log.js'
import { EXPECTED_NAME, type ReplicaId, type ShardId } from '../support/names.js'
import { EXPECTED_SEQNO } from './seqno.js'

/** Counts updates and messages of threads that are not valid, and logs each kind of them once. */
export class RejectedUpdates {
  count = 0
  private readonly warnings = new OncePerSubject()

  /** @param side which of the two positions the value was for. */
  seqno(value: unknown, side: 'leader' | 'applied', shard: ShardId, replica?: ReplicaId): void {
    const named = replica === undefined ? '' : `, replica ${formatValue(replica)}`
    const what = `${side} seqno of shard ${formatValue(shard)}${named}`
    this.reject(what, () => `${what}: expected ${EXPECTED_SEQNO}, got ${formatValue(value)}`)
  }

  /** @param kind what the value should have named. */
  name(value: unknown, kind: 'shard' | 'replica'): void {
    this.reject(kind, () => `${kind}: expected ${EXPECTED_NAME}, got ${formatValue(value)}`)
  }

  /** @param subject is logged about only once. */
  reject(subject: string, message: () => string): void {
    this.count++
    this.warnings.warn(
      subject,
      () => `${message()}; it is ignored (logged once, counted in rejectedUpdates)`,
    )
  }
}
