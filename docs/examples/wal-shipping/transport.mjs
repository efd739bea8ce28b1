/** @import { Readable, Writable } from 'node:stream' */
import { PassThrough } from 'node:stream'

/** How many segments can be in transit to a follower before the shipper has to wait. */
const MAX_IN_TRANSIT = 8

/** Simulates a network: delivers segments to followers asynchronously, in order and with backpressure. */
export class Transport {
  #onConnect
  #closed = false
  /** @type {Set<PassThrough>} */
  #streams = new Set()

  /** @param {(stream: Writable, after: bigint) => void} onConnect the leader's side */
  constructor(onConnect) {
    this.#onConnect = onConnect
  }

  /**
   * The follower's side: requests the segments after a seqno.
   *
   * @param {bigint} after
   * @returns {Readable} the segments; closing it ends the connection
   */
  connect(after) {
    if (this.#closed) throw new Error('the transport is closed')
    const stream = new PassThrough({ objectMode: true, highWaterMark: MAX_IN_TRANSIT })
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    // The reader of the stream gets its error. Without a listener, it would end the process while no reader is waiting.
    stream.on('error', () => undefined)
    setImmediate(() => this.#onConnect(stream, after))
    return stream
  }

  /** Breaks all connections. Segments in transit are lost. */
  close() {
    this.#closed = true
    for (const stream of this.#streams) stream.destroy()
  }
}
