/** What one server answers about itself and its streams. */
export interface ServerView {
  readonly server: string
  /** It changes at each start. */
  readonly id: string
  readonly hasJetStream: boolean
  /** Whether it has started, so that it lists everything that it holds. */
  readonly isSettled: boolean
  /** The group of all servers that have JetStream. A server that is not in a cluster has none. */
  readonly members: Members | undefined
  /** Its streams, by their keys. */
  readonly streams: ReadonlyMap<string, StreamView>
  /** What is invalid, and belongs to no stream. */
  readonly faults: readonly string[]
}

/** The group of all servers that have JetStream, as one of them sees it. Only its leader knows all of them. */
export interface Members {
  readonly leader: string | undefined
  readonly names: readonly string[]
  readonly size: number
}

/** What one server answers about one stream. Only the leader of the stream knows more than the state of its own copy. */
export interface StreamView {
  /** The server that answers. */
  readonly server: string
  /** The id of the account and the name of the stream. Streams of several accounts can have the same name. */
  readonly key: string
  readonly account: Account
  readonly stream: string
  /** The name of the server that leads it, if it has a leader. */
  readonly leader: string | undefined
  /** Its position, if that is valid. */
  readonly state: StreamState | undefined
  readonly replicas: readonly ReplicaView[]
  readonly consumers: readonly ConsumerView[]
  readonly mirror: MirrorView | undefined
  /** Whether there are other servers that hold it, whose names are not known. */
  readonly hasUnknown: boolean
  /** What is invalid, and was left out. */
  readonly faults: readonly string[]
}

export interface Account {
  readonly id: string
  readonly name: string
}

export interface StreamState {
  readonly created: string
  readonly lastSeq: bigint
  readonly messages: bigint
  /** When its last message was stored, in milliseconds since 1970. 0 or NaN if it has none. */
  readonly lastTime: number
}

export interface ReplicaView {
  readonly name: string
  readonly isAlive: boolean
}

export interface ConsumerView {
  readonly name: string
  readonly created: string
  readonly leader: string | undefined
  readonly isDurable: boolean
  /** Its position, if that is valid. */
  readonly state: ConsumerState | undefined
  readonly faults: readonly string[]
}

export interface ConsumerState {
  /** Messages that it has not been sent, and those that it has not acknowledged. */
  readonly pending: bigint
  readonly unacknowledged: bigint
  /** The stream sequence of the last message that it has been sent, and of the last one before the first that it has not acknowledged. */
  readonly delivered: bigint
  readonly ackFloor: bigint
}

export interface MirrorView {
  /** The key of the stream that it copies. `undefined` if it copies only a part, or a stream of another domain. */
  readonly upstream: string | undefined
  readonly isAlive: boolean
  readonly error: string | undefined
}
