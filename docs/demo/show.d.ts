import type {
  FollowerLag,
  ReplicationLagGauge,
} from 'opentelemetry-instrumentation-replication-lag'

/** What the demo shows: servers that are running, and a service that reports how far followers are behind. */
export interface Show {
  /** What runs where, in one line. */
  readonly servers: string
  /** Of the lag: `bytes`. */
  readonly unit: string
  readonly followers: readonly string[]
  readonly gauge: ReplicationLagGauge
  /** The address of the metrics. */
  readonly url: string
  readonly scenes: readonly Scene[]
  /** Writes a little. */
  write(): Promise<unknown>
  stop(): Promise<unknown>
}

/** Something that breaks, and is mended. */
export interface Scene {
  /** The key that starts it, and ends it. */
  readonly key: string
  /** What the key does, in a word: `cut`. */
  readonly name: string
  /** What is the matter meanwhile, in two words: `link cut`. */
  readonly title: string
  /** The follower that it is about. */
  readonly replica: string
  /** Whether nothing is written meanwhile. */
  readonly isIdle?: boolean
  begin(): unknown
  end(): unknown
  /** What is the matter, and how it shows: two lines that fit a terminal. */
  describe(lag: FollowerLag | undefined): string | Promise<string>
}
