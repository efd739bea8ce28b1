/**
 * Stands in for PeerChannel where a test decides when messages arrive:
 * `vi.mock('../src/peer-channel.js', () => import('./support/simulated-channel.js'))`.
 */
export class PeerChannel {
  readonly #network: PeerChannel[]
  readonly #receive: (message: unknown) => void
  /** What each of the others has sent and has not arrived, in the order in which it was sent. */
  readonly #underWay = new Map<PeerChannel, unknown[]>()
  readonly #arrived: unknown[] = []
  /** Whether the next drain comes just before what has arrived, and finds nothing. */
  missesNextDrain = false

  constructor(
    readonly name: string,
    receive: (message: unknown) => void,
  ) {
    this.#receive = receive
    this.#network = networks.get(name) ?? []
    networks.set(name, this.#network)
    this.#network.push(this)
  }

  send(message: unknown): void {
    for (const peer of this.#network) if (peer !== this) peer.#queueOf(this).push(message)
  }

  /** The next message of one of the others arrives, if there is one. Returns whether there was. */
  deliver(from: PeerChannel): boolean {
    const queue = this.#queueOf(from)
    if (queue.length === 0) return false
    this.#arrived.push(queue.shift())
    return true
  }

  /** All messages arrive. Returns whether there were any. */
  deliverAll(): boolean {
    let any = false
    // Also of those that are closed now.
    for (const peer of this.#underWay.keys()) while (this.deliver(peer)) any = true
    return any
  }

  drain(): boolean {
    if (this.missesNextDrain) {
      this.missesNextDrain = false
      return false
    }
    const messages = this.#arrived.splice(0)
    for (const message of messages) this.#receive(message)
    return messages.length > 0
  }

  /** It is sent nothing any more; what it has sent still arrives. */
  close(): void {
    this.#network.splice(this.#network.indexOf(this), 1)
  }

  #queueOf(from: PeerChannel): unknown[] {
    const queue = this.#underWay.get(from) ?? []
    this.#underWay.set(from, queue)
    return queue
  }
}

/** The channels of each name, in the order in which they were opened. */
export const networks = new Map<string, PeerChannel[]>()
