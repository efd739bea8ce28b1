import type { ReplicationSource } from 'opentelemetry-instrumentation-replication-lag'
import type { Gate } from './gate.mjs'
import type { Servers } from './servers.mjs'

/** A replicated system that can be started on this machine, for the demo and for the tests of its source. */
export interface SystemKind {
  /** What users call it: `Redis`. */
  readonly title: string
  /** The unit of its lag: `bytes`. */
  readonly unit: string
  /** How to install its server, for users that have none: one line. */
  readonly install: string
  /** Whether its server is installed here. */
  isInstalled(): Promise<boolean>
  /** Starts a leader and two followers that have caught up. What it starts ends with `servers.stop()`. */
  start(servers: Servers): Promise<System>
}

/** One leader and two followers. */
export interface System {
  /** The names of the two followers, as the source reports them. They change where another leader is elected. */
  readonly followers: readonly [string, string]
  /** The shard that the source reports them under. */
  readonly shard: string
  /** Its URL in `REPLICATION_LAG_SOURCES`. */
  readonly url: string
  /** Connects clients to the leader, wherever that is now, and creates a source. Default client: the first of its names. */
  connect(options?: ConnectOptions): Promise<Connected>
  /** Writes. In systems whose unit is a count, the leader's position rises by exactly this count. */
  write(count: number): Promise<void>
  /** The position of the leader or of a follower, as that node itself says, without the source. */
  position(follower?: string): Promise<bigint>
  /** Cuts a follower off from its leader: it lives and answers, and receives nothing. Connections stay open. */
  cut(follower: string): Promise<void>
  /** Ends `cut`. */
  mend(follower: string): Promise<void>
  /** Kills a follower with SIGKILL, and waits until its leader has noticed. */
  kill(follower: string): Promise<void>
  /** Starts it again, and waits until it has joined its leader. */
  restart(follower: string): Promise<void>
  /** Stops the leader with SIGSTOP. Its connections stay open. */
  freeze(): Promise<void>
  /** Ends `freeze`. */
  thaw(): Promise<void>
  /** Kills the leader and makes one of the followers the leader of the other. Returns the name of that other one. */
  failOver(): Promise<string>
}

export interface ConnectOptions {
  /** Which client library, by its package name, where the source takes two. */
  readonly client?: string
  /** What is wrong with the credentials. Not for systems without any. */
  readonly fault?: 'wrong password' | 'missing right'
  /** Options of the source. */
  readonly source?: Record<string, unknown>
}

/** A source and its clients. */
export interface Connected {
  readonly source: ReplicationSource
  /** What passes between the clients and the leader, or all nodes if the source asks them over HTTP. */
  readonly gate: Gate
  /** Closes the clients. */
  close(): Promise<void>
}
