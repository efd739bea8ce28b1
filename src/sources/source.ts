import type { ReplicationReading } from '../lag-map/reading.js'

export type {
  FollowerReading,
  LeaderMoment,
  ReplicationReading,
  ShardReading,
} from '../lag-map/reading.js'

/**
 * An adapter that reads leader and applied seqnos from a running system.
 * A poller reads it at an interval: one read at a time, each with a deadline.
 */
export interface ReplicationSource {
  /** The `source` attribute of its metrics. Each source of a gauge needs its own name. */
  readonly name: string
  /**
   * Reads the positions once.
   *
   * @param signal is aborted when the deadline has passed or polling stops. Settle soon after that: the next read starts
   * only when this one has settled.
   * @param timeoutMillis how long the read may take: the poll timeout.
   * @returns what was read. It rejects with an error that says what to do if the system cannot be read.
   */
  read(signal: AbortSignal, timeoutMillis?: number): Promise<ReplicationReading>
}
