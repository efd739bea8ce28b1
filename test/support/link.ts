import { once } from 'node:events'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type {
  ReplicationLagGauge,
  SubscribeOptions,
} from 'opentelemetry-instrumentation-replication-lag'

/** Lets messages arrive. It waits for no time, so it also works while timers are faked. */
export const turnOfEventLoop = () => new Promise(setImmediate)

/** One gauge publishes to another through a real MessageChannel, as if they were in two threads. */
export class Link {
  /** The publisher's end and the subscriber's. */
  readonly port1: MessagePort
  readonly port2: MessagePort
  /** Stops publishing. */
  unpublish: () => void
  private sent = 0
  private received = 0
  private readonly publisher: ReplicationLagGauge

  constructor(
    publisher: ReplicationLagGauge,
    subscriber: ReplicationLagGauge,
    options?: SubscribeOptions,
  ) {
    const { port1, port2 } = new MessageChannel()
    const postMessage = port1.postMessage.bind(port1)
    port1.postMessage = (message: unknown) => {
      this.sent++
      postMessage(message)
    }
    this.port1 = port1
    this.port2 = port2
    subscriber.subscribe(port2, options)
    // After the listener of the gauge.
    port2.on('message', () => this.received++)
    port2.unref()
    this.publisher = publisher
    this.unpublish = publisher.publish(port1)
  }

  /** Publishes at the same port again. */
  publish(): void {
    this.unpublish = this.publisher.publish(this.port1)
  }

  /** Waits until the subscriber has received everything that was sent. */
  async delivered(): Promise<void> {
    do await turnOfEventLoop()
    while (this.received < this.sent)
  }

  /** Closes the port, as the end of the publishing thread does, and waits until the subscriber has noticed. */
  async close(): Promise<void> {
    const closed = once(this.port2, 'close')
    this.port1.close()
    await closed
  }
}
