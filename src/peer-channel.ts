import { BroadcastChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads'

/** At most so many messages are taken at once, so that others who never stop sending do not hold up a collection. */
const MAX_DRAINED = 100_000

/** Channels of those that are garbage would stay open, and hold a port each. */
const abandoned = new FinalizationRegistry<BroadcastChannel>((channel) => channel.close())

/**
 * The threads of this process that go by one name tell each other everything. What one sends arrives in the order in
 * which it was sent, and has arrived everywhere when `send` returns. Keeps neither the process nor its owner alive.
 */
export class PeerChannel {
  readonly name: string
  readonly #channel: BroadcastChannel
  /** Takes each message: from the event loop, or within {@link drain}. */
  readonly receive: (message: unknown) => void

  constructor(name: string, receive: (message: unknown) => void) {
    this.name = name
    this.receive = receive
    this.#channel = new BroadcastChannel(name)
    const self = new WeakRef(this)
    // Also while nobody drains it, as in a thread that never collects, messages must not pile up.
    this.#channel.onmessage = ({ data }) => self.deref()?.receive(data)
    this.#channel.unref()
    abandoned.register(this, this.#channel)
  }

  /** Sends to all others. */
  send(message: unknown): void {
    this.#channel.postMessage(message)
  }

  /** Takes what has arrived by now. Returns whether there was anything. */
  drain(): boolean {
    // It takes a channel as well; its types do not say so.
    const port = this.#channel as unknown as MessagePort
    let drained = 0
    for (
      let received;
      drained < MAX_DRAINED && (received = receiveMessageOnPort(port));
      drained++
    ) {
      this.receive(received.message)
    }
    return drained > 0
  }
}
