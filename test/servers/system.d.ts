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
  /** The name of the leader, as a source reports it that takes it for a follower. */
  readonly leaderName?: string
  /** Whether the others elect another leader when the leader hangs. Default: they do not. */
  readonly elects?: boolean
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

  // The contract skips what the servers of a system cannot show.

  /** Kills the leader and makes one of the followers the leader of the other. Returns the name of that other one. */
  failOver?(options?: { readonly keepsData: boolean }): Promise<string>
  /** Stops a follower with SIGSTOP. Its connections stay open. */
  pause?(follower: string): Promise<void>
  /** Ends `pause`. */
  resume?(follower: string): Promise<void>
  /** Adds another follower, which the source must find by itself. Returns its name when it has caught up. */
  addFollower?(): Promise<string>
  /** Removes for good the follower that `addFollower` has added, as the users of the system do. */
  removeFollower?(follower: string): Promise<void>
  /** Kills a follower, removes its data, starts it again empty, and waits until it has joined its leader. */
  wipe?(follower: string): Promise<void>
  /** Makes a follower a leader too, while the leader keeps leading the other one. */
  claimLead?(follower: string): Promise<void>
  /** Makes it a follower of the leader again, and waits until it has joined. */
  followAgain?(follower: string): Promise<void>

  // What the chaos runner needs too.

  /** What its source can know of followers. Default: it asks each of them. */
  readonly knows?: Knowledge
  /** All nodes, with the leader. */
  readonly nodes?: readonly string[]
  /** Where clients reach each node, and what the URL names, past all gates. Default: the URL has gates. */
  readonly ports?: Readonly<Record<string, number>>
  /** The gates of the URL, by the nodes behind them. */
  readonly gates?: Readonly<Record<string, Gate>>
  /** What a node says of itself, past all gates. */
  stateOf?(node: string): Promise<NodeState>
  /** Lets through only so much of what a follower gets from its leader. */
  throttle?(follower: string, bytesPerSecond: number): unknown
  /** Kills the leader. No other one takes over. */
  killLeader?(): Promise<unknown>
  /** Ends `killLeader`. */
  startLeader?(): Promise<unknown>
  /** Removes the old part of the log, or begins a new file of it. */
  truncate?(): Promise<unknown>
  /** Removes the shard, and creates it again. */
  recreate?(): Promise<unknown>
  /** Makes a follower receive, and apply nothing. */
  pauseApplying?(follower: string): Promise<unknown>
  /** Ends `pauseApplying`. */
  resumeApplying?(follower: string): Promise<unknown>
  /** Gives a follower another name in the metrics, or its own again. Returns that name. */
  rename?(follower: string): Promise<string>
  /** Changes what else identifies a follower, or changes it back. Its name in the metrics stays. */
  changeIdentity?(follower: string): Promise<unknown>
  /** Takes the privilege away from the user of the URL. */
  revoke?(): Promise<unknown>
  /** Ends `revoke`. */
  grant?(): Promise<unknown>
  /** Leaves no connection to the user of the URL. Those that are open stay. */
  exhaust?(): Promise<unknown>
  /** Ends `exhaust`. */
  relieve?(): Promise<unknown>
  /** Changes the password of the user of the URL. Default: to the one of the URL. */
  changePassword?(password?: string): Promise<unknown>
}

export interface Knowledge {
  /** Whether one node says where all followers are. */
  readonly fromOneNode?: boolean
  /** Whether that node knows only what followers say over their links. */
  readonly overLinks?: boolean
  /** How long the system takes to notice that a follower is gone. */
  readonly lostMillis?: number
}

export interface NodeState {
  /** `undefined` while it has no position. */
  readonly position: bigint | undefined
  /** What a follower has received. `undefined` if it does not say that. */
  readonly received?: bigint | undefined
  readonly leads: boolean
  /** Whether it is connected to its leader. Of a leader it says nothing. */
  readonly linked: boolean
  /** Names the history that the position belongs to, where positions of two histories are not comparable. */
  readonly history?: string
  /** Of two nodes that claim to lead, the one with the higher term does. */
  readonly term?: number
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
  /** What passes between the clients and each node, by its name. */
  readonly gates?: Readonly<Record<string, Gate>>
  /** Closes the clients. */
  close(): Promise<void>
}
