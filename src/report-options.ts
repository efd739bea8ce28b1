import { checkBoolean, checkTimer } from './option-errors.js'

/** What to report of a lag map, whichever way. */
export interface ReportOptions {
  /**
   * Whether to report `replication_lag_seconds` as well; if not, it costs nothing. Default: true.
   */
  readonly lagSeconds?: boolean
  /**
   * How often to look where the leaders are, to measure lag in seconds by, in milliseconds, 1 … 2^31 − 1. Leaders that are
   * polled are looked at when they were. Where several report one gauge, the shortest holds for all. Default: 1000.
   */
  readonly sampleIntervalMillis?: number
  /**
   * Whether to report the positions themselves as well, `replication_leader_seqno` and `replication_applied_seqno`: for a
   * leader and followers that are in different processes. A leader without a follower has no lag then. Default: false.
   */
  readonly positions?: boolean
}

/**
 * @returns the options with the defaults filled in.
 * @throws TypeError that names the option and what was expected.
 */
export function resolveReport({
  lagSeconds = true,
  sampleIntervalMillis = 1000,
  positions = false,
}: { [Name in keyof ReportOptions]: ReportOptions[Name] | undefined }): Required<ReportOptions> {
  checkBoolean('lagSeconds', lagSeconds)
  checkTimer('sampleIntervalMillis', sampleIntervalMillis)
  checkBoolean('positions', positions)
  return { lagSeconds, sampleIntervalMillis, positions }
}
